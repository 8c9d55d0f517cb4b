"""One way in for every command: native text, plain words, or a dialect with its remarks."""

from __future__ import annotations

import pytest

from dfprompt.errors import ConversionError, DFPromptWarning, InputError, ParseError
from dfprompt.prompt import DFPrompt, Span
from dfprompt.prompt.reading import read_prompt


def test_native_is_the_default() -> None:
    assert read_prompt("[x:late]") == DFPrompt([Span("x", "late")])
    with pytest.raises(ParseError):
        read_prompt("[x", strict=True)


def test_plain_takes_every_character_as_words() -> None:
    assert read_prompt("[x:late] (y:1.2)", plain=True).spans == ("[x:late] (y:1.2)",)
    with pytest.raises(InputError, match="plain words have no dialect"):
        read_prompt("x", plain=True, dialect="a1111")


def test_a_dialect_is_read_and_says_what_it_assumed() -> None:
    assert read_prompt("[x:0-0.5:1.5]", dialect="pae") == DFPrompt([Span("x", "late", "1.5")])
    with pytest.warns(DFPromptWarning, match="from comfyui, assumed: percents count steps"):
        read_prompt("[x:0.5]", dialect="comfyui")


def test_what_a_dialect_cannot_express_is_an_error_when_strict() -> None:
    with pytest.warns(DFPromptWarning, match=r"from a1111, lost: .* weight of the whole prompt"):
        read_prompt("a cat:1.5", dialect="a1111")
    with pytest.raises(ConversionError, match=r"from a1111: .* weight of the whole prompt"):
        read_prompt("a cat:1.5", dialect="a1111", strict=True)


def test_steps_reach_the_dialect() -> None:
    (first, second) = read_prompt("[a:b:0.5]", dialect="a1111", num_inference_steps=20).controls
    # 20 steps: 11 of a, 9 of b, because the first entry lasts one step longer than its number.
    assert str(first.effect_range) == "1->0.45"
    assert str(second.effect_range) == "0.45->0"


def test_an_unknown_dialect_is_named() -> None:
    with pytest.raises(InputError, match="klingon"):
        read_prompt("x", dialect="klingon")
