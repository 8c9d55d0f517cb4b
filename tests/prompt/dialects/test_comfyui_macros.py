"""prompt-control's DEF: hand-worked expansions, and bounds on what macros may grow to."""

from __future__ import annotations

import pytest

from dfprompt.errors import ConversionError
from dfprompt.prompt.dialects import convert_prompt
from dfprompt.prompt.dialects.comfyui_macros import expand_macros
from dfprompt.prompt.dialects.overlay import Budget


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("a cat", "a cat"),
        ("DEF(SKY=blue sky) SKY, SKYLINE", "blue sky, SKYLINE"),
        ("DEF(P=$1 by $2) P(a; b) P(a) P() P", "a by b a by $2  by $2 $1 by $2"),
        ("DEF(P(x; y)=$1-$2) P P(a) P(;b)", "x-y a-y -b"),
        ("DEF(A=one B) DEF(B=two) A", "one two"),
        ('DEF(A=x) "A dog", A', '"A dog", x'),
        ("DEF(A=$1$10) A(z)", "z$10"),
        ("DEF(nothing) DEF(=x) a", "a"),
        ("DEF(A=(b:1.2)) [A:c:0.5]", "[(b:1.2):c:0.5]"),
    ],
)
def test_expansions(text: str, expanded: str) -> None:
    assert expand_macros(text, Budget()) == expanded


def test_a_macro_that_makes_a_schedule_is_read_as_one() -> None:
    found = convert_prompt("DEF(NIGHT=[dusk:night:$1]) a harbour, NIGHT(0.4)", "comfyui", "native")
    assert found.text == "a harbour, [dusk:1->0.6][night:0.6->0]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("DEF(A=so B) DEF(B=so A) A", "ten rounds"),
        ("DEF(A=x", "not closed"),
        ("DEF(A=x) A(b", "not closed"),
        ("DEF(a b=x) a b", "more than one word"),
        (r"DEF(A=$1) A(\1)", "backslash"),
        ("DEF(A=$1)" * 101, "more than 100 macros"),
        ("DEF(A=B B B B) DEF(B=C C C C) DEF(C=D D D D) DEF(D=" + "word " * 200 + ") A", "longer than 20,000"),
        ("DEF(A=A A) A", "longer than 20,000|ten rounds"),
    ],
)
def test_what_cannot_end_or_grows_without_end_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConversionError, match=problem):
        expand_macros(text, Budget())
