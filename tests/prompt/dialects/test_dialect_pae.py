"""The published code's form, against its own step rule counted by hand: lo < i <= hi, i from N down to 1."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ConversionError, ParseError
from dfprompt.prompt import DFPrompt, Span, parse_prompt
from dfprompt.prompt.dialects import export_prompt, import_prompt
from dialect_steps import steps_of


def naive_active(low: str, high: str, steps: int) -> list[int]:
    lo, hi = int(Fraction(low) * steps), int(Fraction(high) * steps)
    return [steps - i for i in range(steps, 0, -1) if lo < i <= hi]


@pytest.mark.parametrize(
    ("limits", "steps", "active"),
    [
        ("0.5-1", 10, [0, 1, 2, 3, 4]),
        ("0-0.5", 10, [5, 6, 7, 8, 9]),
        ("0.85-1", 10, [0, 1]),
        ("0.5-1", 7, [0, 1, 2, 3]),
        ("0-0.5", 7, [4, 5, 6]),
        ("0.5-1", 25, list(range(13))),
        ("0.85-1", 50, list(range(8))),
        ("0-0.29", 100, list(range(71, 100))),  # 29 steps: floats would make it 28
    ],
)
def test_the_step_tables_of_the_paper(limits: str, steps: int, active: list[int]) -> None:
    low, high = limits.split("-")
    table = steps_of(import_prompt(f"x, [a:{limits}:1.5]", "pae").prompt, steps)
    native = steps_of(parse_prompt(f"x, [a:{high}->{low}:1.5]"), steps)
    assert [i for i, step in enumerate(table) if ("a", 1.5) in step] == active
    assert table == native


_SHARES = st.tuples(st.integers(0, 1000), st.integers(0, 1000)).filter(lambda pair: pair[0] < pair[1])
_PHRASES = st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), min_size=1).filter(
    str.strip
)


@given(_SHARES, st.integers(1, 60), st.sampled_from(["0.5", "1", "1.25"]))
def test_every_range_runs_at_the_steps_of_the_rule(shares: tuple[int, int], steps: int, weight: str) -> None:
    low, high = (f"{share / 1000:.3f}" for share in shares)
    table = steps_of(import_prompt(f"x [a:{low}-{high}:{weight}]", "pae").prompt, steps)
    assert [i for i, step in enumerate(table) if len(step) == 2] == naive_active(low, high, steps)


@given(st.lists(st.one_of(_PHRASES, st.tuples(_PHRASES, _SHARES, st.integers(1, 1000))), max_size=5))
def test_export_and_import_are_inverse(parts: list) -> None:  # type: ignore[type-arg]
    prompt = DFPrompt(
        part
        if isinstance(part, str)
        else Span(
            part[0],
            parse_prompt(f"[x:{part[1][1] / 1000}->{part[1][0] / 1000}]").controls[0].effect_range,
            part[2] / 100,
        )
        for part in parts
    )
    written = export_prompt(prompt, "pae")
    assert written.lost == ()
    assert import_prompt(written.text, "pae").prompt == prompt


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("a [b:0-1:1", 2),
        ("a ] b", 2),
        ("[a [b:0-1:1]:0-1:1]", 3),
        ("[a:0-1]", 0),
        ("[a:0-1:x]", 7),
        ("[a:0-1:99]", 7),
        ("[a:0.5-0.5:1]", 3),
        ("[a:1-0.5:1]", 3),
        ("[a:half:1]", 3),
        ("[ :0-1:1]", 0),
    ],
)
def test_what_the_published_code_swallows_is_an_error_with_its_place(text: str, offset: int) -> None:
    with pytest.raises(ParseError) as caught:
        import_prompt(text, "pae")
    assert caught.value.offset == offset


def test_a_reversed_range_comes_with_its_correction() -> None:
    with pytest.raises(ParseError) as caught:
        import_prompt("[a:1-0.5:1]", "pae")
    assert caught.value.suggestion == "[a:0.5-1:1]"


def test_brackets_in_words_are_a_loss_and_ramps_too() -> None:
    written = export_prompt(parse_prompt(r"\[sic\], [neon::0.5->1.5]"), "pae")
    assert written.text == "(sic), [neon:0-1:1]"
    assert len(written.lost) == 2


def test_a_weight_that_the_published_code_does_not_read_is_refused() -> None:
    with pytest.raises(ConversionError, match='"-1" is no number from 0 to 10'):
        export_prompt(parse_prompt("[blue::-1] x"), "pae")
