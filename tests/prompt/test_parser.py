"""Text to tree and back: every prompt survives, every notation of a number means the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ParseError, PromptValueError
from dfprompt.prompt import DFPrompt, EffectRange, Span, Weight, format_prompt, parse_prompt
from dfprompt.prompt.effect import RANGE_WORDS
from dfprompt.prompt.escapes import escape_field
from dfprompt.prompt.exact import format_decimal
from prompt_strategies import prompts, ranges, texts, weights, words

# Generated text looks like other tools' control by chance; what that does is tested by itself.
pytestmark = pytest.mark.filterwarnings("ignore::dfprompt.errors.DFPromptWarning")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ()),
        ("a red house", ("a red house",)),
        ("[beauty:0.5->0:0.75]", (Span("beauty", "late", "0.75"),)),
        (
            "portrait of a forest goddess, [beauty:0.5->0:0.75], [esoteric:early:0.5]",
            (
                "portrait of a forest goddess, ",
                Span("beauty", "late", "0.75"),
                ", ",
                Span("esoteric", "early", "0.5"),
            ),
        ),
        ("[x:0.5->0]", (Span("x", "late"),)),
        ("[x::1.3]", (Span("x", "full", "1.3"),)),
        ("[x:full]", (Span("x"),)),
        ("[x:0.7→0.3]", (Span("x", EffectRange("0.7", "0.3")),)),
        ("[x:0.7↦0.3]", (Span("x", EffectRange("0.7", "0.3")),)),
        ("[neon:1->0:0.5->1.5]", (Span("neon", "full", Weight("0.5", "1.5")),)),
        ("[ x : early : 2 ]", (Span(" x ", "early", 2),)),
        ("[a:early][b:late]", (Span("a", "early"), Span("b", "late"))),
        (r"\[x\] at 12:30 \\ \( \q", (r"[x] at 12:30 \ \( \q",)),
        (r"[12\:30 \[sic\] \\:late]", (Span(r"12:30 [sic] " + "\\", "late"),)),
        ("a\\", ("a\\",)),
        ("[a\nb:late]\n", (Span("a\nb", "late"), "\n")),
        ("[x:.5->0:05.50]", (Span("x", "late", "5.5"),)),
        ("[x:1.->0]", (Span("x"),)),
    ],
)
def test_hand_written_prompts(text: str, pieces: tuple[str | Span, ...]) -> None:
    assert parse_prompt(text).spans == pieces


@given(prompts)
def test_text_form_round_trip(prompt: DFPrompt) -> None:
    assert parse_prompt(format_prompt(prompt)) == prompt
    assert format_prompt(parse_prompt(str(prompt))) == str(prompt)


@given(texts(60))
def test_plain_text_escapes_and_comes_back(text: str) -> None:
    assert parse_prompt(str(DFPrompt.from_plain(text))).spans == ((text,) if text else ())


def test_backslashes_are_doubled_only_where_they_would_escape() -> None:
    assert str(DFPrompt.from_plain(r"\(x\) [y\]")) == r"\(x\) \[y\\\]"
    assert str(DFPrompt([Span("a\\"), "b"])) == r"[a\\:full]b"


@given(texts(60))
def test_what_parses_is_canonical_after_one_printing(text: str) -> None:
    try:
        prompt = parse_prompt(text)
    except ParseError:
        return
    assert parse_prompt(str(prompt)) == prompt


@st.composite
def notations(draw: st.DrawFn, digits: str) -> str:
    """The same number with zeros and spaces that mean nothing."""
    sign, digits = ("-", digits[1:]) if digits[0] == "-" else ("", digits)
    text = digits if "." in digits or not draw(st.booleans()) else digits + "."
    if "." in text:
        text += "0" * draw(st.integers(0, 9))
    if text.startswith("0.") and len(text) > 2 and draw(st.booleans()):
        text = text[1:]
    before, after = (" " * draw(st.integers(0, 2)) for _ in "ab")
    return before + sign + "0" * draw(st.integers(0, 3)) + text + after


@given(words, ranges, weights, st.data())
def test_a_prompt_is_independent_of_how_its_numbers_are_written(
    text: str, effect: EffectRange, weight: Weight, data: st.DataObject
) -> None:
    def number(value: object) -> str:
        return data.draw(notations(format_decimal(value)))  # type: ignore[arg-type]

    arrow = data.draw(st.sampled_from(["->", "→", "↦"]))
    fields = [f"{number(effect.start)}{arrow}{number(effect.end)}"]
    named = [word for word, known in RANGE_WORDS.items() if known == effect]
    if named and data.draw(st.booleans()):
        fields = [f" {named[0]} "]
    control = (
        f"{number(weight.first)}{arrow}{number(weight.last)}" if weight.is_ramp else number(weight.first)
    )
    assert parse_prompt(f"[{escape_field(text)}:{fields[0]}:{control}]").spans == (
        Span(text, effect, weight),
    )


@pytest.mark.parametrize("value", [b"a cat", None, 3, ["a"]])
def test_only_strings_are_prompts(value: object) -> None:
    with pytest.raises(PromptValueError, match="must be a string"):
        parse_prompt(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "]" * 100_000,
        "[a:" * 30_000,
        "[a" * 50_000 + "]" * 50_000,
        "[x:" + "0" * 100_000 + "]",
        "[x:early:" + "9" * 100_000 + "]",
        "[x:" + "->" * 50_000 + "]",
        "[x:" + "-" * 100_000 + "]",
        "[x:1" + ":1" * 50_000 + "]",
        "[" + " " * 100_000 + ":late]",
        "[x:" + "e" * 100_000 + "]",
    ],
    ids=lambda text: text[:8],
)
def test_a_hundred_kilobytes_of_nonsense_are_one_error(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_prompt(text)
    assert max(map(len, str(caught.value).splitlines())) < 400


@pytest.mark.parametrize(
    "text",
    [
        "(" * 50_000 + ":1)" * 20_000,
        "{" * 50_000 + "|}" * 20_000,
        "\\" * 100_000,
        "__a" * 30_000,
        "a)1(" * 25_000,
    ],
    ids=lambda text: text[:8],
)
def test_a_hundred_kilobytes_without_brackets_are_words(text: str) -> None:
    assert parse_prompt(text).plain_text.replace("\\", "") == text.replace("\\", "")


def test_ten_thousand_spans_are_ten_thousand_spans() -> None:
    text = ", ".join(f"[word {number}:0.{number % 9 + 1}->0:{number % 10}.5]" for number in range(10_000))
    assert len(parse_prompt(text).controls) == 10_000
    assert str(parse_prompt(str(parse_prompt(text)))) == str(parse_prompt(text))
