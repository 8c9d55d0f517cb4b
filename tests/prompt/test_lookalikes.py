"""Other tools' control in a DF-Prompt stands as it is, is named once, and is an error when strict."""

from __future__ import annotations

import warnings

import pytest

from dfprompt.errors import DFPromptWarning, ParseError
from dfprompt.prompt import parse_prompt

# text, the look-alike, what it is called, the dialect or advice named
LOOKALIKES = [
    ("a (red house:1.2), sharp", "(red house:1.2)", "emphasis", "a1111"),
    ("a ((red)) house", "((red))", "emphasis", "a1111"),
    ("a red++ house", "d++", "compel's weight", "compel"),
    ("(a red)++ house", ")++", "compel's weight", "compel"),
    ("a (red)1.2 house", ")1", "compel's weight", "compel"),
    ("a cat BREAK a dog", "BREAK", "keyword BREAK", "a1111"),
    ("a cat AND a dog", "AND", "keyword AND", "a1111"),
    ("a cat, embedding:easy", "embedding:", "embedding reference", "comfyui"),
    ("a {red|blue} cat", "{red|blue}", "random choice", "expand"),
    ("a __colour/dark__ cat", "__colour/dark__", "wildcard", "expand"),
    ("x, [soft ((light)) fur:late]", "((light))", "emphasis", "a1111"),
]


@pytest.mark.parametrize(("text", "found", "what", "how"), LOOKALIKES, ids=[case[0] for case in LOOKALIKES])
def test_each_is_named_with_its_place_and_used_as_it_stands(
    text: str, found: str, what: str, how: str
) -> None:
    with pytest.warns(DFPromptWarning) as caught:
        prompt = parse_prompt(text)
    (warning,) = caught
    message = str(warning.message)
    assert found in message
    assert what in message
    assert how in message
    assert f"at character {text.index(found)}" in message
    assert found in prompt.plain_text


@pytest.mark.parametrize(
    ("text", "found"), [case[:2] for case in LOOKALIKES], ids=[case[0] for case in LOOKALIKES]
)
def test_strict_makes_it_an_error_at_its_place(text: str, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_prompt(text, strict=True)
    assert (caught.value.offset, caught.value.length) == (text.index(found), len(found))


@pytest.mark.parametrize(
    "text",
    [
        "a red + blue flag",
        "1 ++ 2",
        "a band and a BANDANA",
        "a BREAKFAST",
        "Andy AND1 shoes",
        "no embedding here: none",
        "{a set} of | bars",
        "snake_case __ and __",
        "[12\\:30 (x\\:1.2\\):late]",
        "less < more, <b>",
    ],
)
def test_ordinary_text_is_left_in_peace(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_prompt(text, strict=True)


@pytest.mark.parametrize(
    ("text", "tool", "dialect"),
    [
        ("a cat (grey) in the snow", "AUTOMATIC1111", "a1111"),
        ("a cat ((", "AUTOMATIC1111", "a1111"),
        ("(cat:12)", "AUTOMATIC1111", "a1111"),
        ("(cat:1.2", "AUTOMATIC1111", "a1111"),
        (r"a \(b\)", "AUTOMATIC1111", "a1111"),
        ("a cat # not this", "AUTOMATIC1111", "a1111"),
        ("a cat --ar 16:9", "AUTOMATIC1111", "a1111"),
        ("a COUPLE b", "ComfyUI", "comfyui"),
        ("a STYLE(A1111)", "ComfyUI", "comfyui"),
        ("a AVG(0.5) b", "ComfyUI", "comfyui"),
        ("a.swap(b)", "compel", "compel"),
        ("withLora(ink, 0.5) cat", "compel", "compel"),
        ("grade A+ work", "compel", "compel"),
    ],
)
def test_whatever_another_tool_would_obey_is_named_once(text: str, tool: str, dialect: str) -> None:
    with pytest.warns(DFPromptWarning) as caught:
        parse_prompt(text)
    (warning,) = caught
    assert tool in str(warning.message)
    assert f"dialect {dialect}" in str(warning.message)
    with pytest.raises(ParseError, match=tool):
        parse_prompt(text, strict=True)


def test_each_kind_is_named_once() -> None:
    with pytest.warns(DFPromptWarning) as caught:
        parse_prompt("(a:1.2), (b:1.3), c++, d++, (e:1.4)")
    assert [str(warning.message).split('"')[1] for warning in caught] == ["(a:1.2)", "c++"]


def test_emphasis_offers_the_span_it_means() -> None:
    with pytest.raises(ParseError) as caught:
        parse_prompt("a (red house:1.2), sharp", strict=True)
    assert caught.value.suggestion == "a [red house::1.2], sharp"
    with pytest.raises(ParseError) as caught:
        parse_prompt("(a, [b:late], c:1.2)", strict=True)
    assert caught.value.fixes == ()


def test_the_warning_points_at_the_caller() -> None:
    with pytest.warns(DFPromptWarning) as caught:
        parse_prompt("(a:1.2)")
    assert caught[0].filename == __file__
