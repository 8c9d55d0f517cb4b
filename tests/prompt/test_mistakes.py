"""Errors point at the place, say what was expected, and offer corrections that really parse."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import DFPromptError, InputError, ParseError
from dfprompt.prompt import parse_prompt

pytestmark = pytest.mark.filterwarnings("ignore::dfprompt.errors.DFPromptWarning")


def error_of(text: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_prompt(text)
    return caught.value


# text, the stretch the caret marks, part of the problem, the corrected brackets offered
CASES = [
    ("a [x:0-0.5:1.2]", "0-0.5", "has no arrow", ["[x:0.5->0:1.2]", "[x:1->0.5:1.2]"]),
    ("[x:0.5-1]", "0.5-1", "has no arrow", ["[x:1->0.5]", "[x:0.5->0]"]),
    ("[x:0-1]", "0-1", "has no arrow", ["[x:1->0]"]),
    ("[x:1-0.5]", "1-0.5", "has no arrow", ["[x:1->0.5]"]),
    ("[x:1 => 0.5]", "1 => 0.5", "has no arrow", ["[x:1->0.5]"]),
    ("[x:0.2–0.6]", "0.2–0.6", "has no arrow", ["[x:0.6->0.2]", "[x:0.8->0.4]"]),
    ("[x:0->0.5]", "0->0.5", "reversed", ["[x:0.5->0]", "[x:1->0.5]", "[x::0->0.5]"]),
    ("[x:0.5->0.5]", "0.5->0.5", "empty", ["[x::0.5->0.5]", "\\[x:0.5->0.5\\]"]),
    ("[x:1.5->0]", "1.5->0", "more than 1", ["[x::1.5->0]", "\\[x:1.5->0\\]"]),
    ("[x:50->0]", "50->0", "more than 1", ["[x:0.5->0]"]),
    ("[x:50%->0%:2]", "50%->0%", "plain decimal", ["[x:0.5->0:2]"]),
    ("[x:0,5->0]", "0,5->0", "plain decimal", ["[x:0.5->0]"]),
    ("[x:0.1234567->0]", "0.1234567->0", "6 decimal places", ["[x:0.123457->0]"]),
    ("[x:->0.5]", "->0.5", "lacks its start", ["[x:1->0.5]"]),
    ("[x:0.5->]", "0.5->", "lacks its end", ["[x:0.5->0]"]),
    ("[x: Early :2]", "Early", "not a range", ["[x:early:2]"]),
    ("[x:erly]", "erly", "not a range", ["[x:early]"]),
    ("[x:-0.5->0]", "-0.5->0", "negative", ["[x::-0.5->0]", "\\[x:-0.5->0\\]"]),
    ("[x:0.5]", "0.5", "one number", ["[x:late]"]),
    ("[x:1.3]", "1.3", "one number", ["[x::1.3]", "\\[x:1.3\\]"]),
    ("[x:1.2:early]", "1.2", "one number", ["[x:early:1.2]", "\\[x:1.2:early\\]"]),
    ("[a:b:0.3]", "b", "not a range", ["[a:1->0.7][b:0.7->0]"]),
    ("[(x:1.2):early]", "1.2)", "not a range", ["[x:early:1.2]"]),
    ("[time 12:30]", "30", "one number", ["\\[time 12:30\\]"]),
    ("[x:]", "]", "range is missing", ["[x:full]"]),
    ("[x:early:]", "]", "weight is missing", ["[x:early:1]"]),
    ("[x:early:-11]", "-11", "less than -10", ["\\[x:early:-11\\]"]),
    ("[x::nan]", "nan", "finite", ["\\[x::nan\\]"]),
    ("[x::1e-1]", "1e-1", "plain decimal", ["[x::0.1]"]),
    ("[x::150%]", "150%", "plain decimal", ["[x::1.5]"]),
    ("[x::x1.5]", "x1.5", "plain decimal", ["[x::1.5]"]),
    ("[x::130]", "130", "more than 10", ["[x::1.3]"]),
    ("[x::12]", "12", "more than 10", ["\\[x::12\\]"]),
    ("[x::0.5-1.5]", "0.5-1.5", "not a ramp", ["[x::0.5->1.5]"]),
    ("[x::0.5->11]", "0.5->11", "more than 10", ["\\[x::0.5->11\\]"]),
    ("[]", "[]", "neither a range nor a weight", ["\\[\\]"]),
    ("[x]", "[x]", "neither a range nor a weight", ["[x::0.909091]"]),
    ("[a|b]", "[a|b]", "neither a range nor a weight", ["\\[a|b\\]"]),
    ("[:late]", "[:late]", "no words", ["\\[:late\\]"]),
    ("[ :late]", "[ :late]", "no words", ["\\[ :late\\]"]),
    ("[:b:0.3]", "[:b:0.3]", "no words", ["[b:0.7->0]"]),
    ("[a:b:early:1.2]", "[a:b:early:1.2]", "4 fields", ["[a\\:b:early:1.2]", "\\[a:b:early:1.2\\]"]),
    ("[a:b:c:late]", "[a:b:c:late]", "4 fields", ["[a\\:b\\:c:late]", "\\[a:b:c:late\\]"]),
    ("a ] b", "]", "nothing is open", ["\\]"]),
    ("[a:early, [b:late]", "[b", "bracket inside", ["[a:early]"]),
    ("[a [b:early]:late]", "[b", "bracket inside", []),
    ("x [a:early:1.2, foo", "[a", "never closed", ["[a:early:1.2]", "\\["]),
    ("x [a:early", "[a", "never closed", ["[a:early]", "\\["]),
    ("x [a", "[a", "never closed", ["\\["]),
]


@pytest.mark.parametrize(("text", "marked", "problem", "corrections"), CASES, ids=[case[0] for case in CASES])
def test_every_mistake_is_placed_named_and_corrected(
    text: str, marked: str, problem: str, corrections: list[str]
) -> None:
    error = error_of(text)
    assert text[error.offset :].startswith(marked)
    assert problem in error.problem
    assert [fix.replacement for fix in error.fixes] == corrections
    assert error.expected
    assert error.fixes or error.advice


@pytest.mark.parametrize("text", [case[0] for case in CASES])
def test_every_correction_parses(text: str) -> None:
    for fix in error_of(text).fixes:
        parse_prompt(fix.apply(text))


CONTROL = (
    *"early late full Early 0.5 0 1 1.5 0.3 50 2e1 -1 0,5 50% nan x | ( ) (x 1.2)".split(),
    *"-> - → : : : [ ] [ ] \\ , . ;".split(),
    "\n",
)


def outcome(text: str) -> ParseError | None:
    try:
        parse_prompt(text)
    except ParseError as error:
        return error
    return None


@given(st.lists(st.sampled_from(CONTROL), max_size=14).map("".join))
def test_corrections_are_right_as_far_as_they_reach(text: str) -> None:
    """A correction mends its own place: what is wrong after it, if anything, lies further on."""
    error = outcome(text)
    if error is None:
        return
    assert 0 <= error.offset <= len(text)
    for fix in error.fixes:
        mended = fix.apply(text)
        later = outcome(mended)
        assert mended != text
        assert later is None or later.offset >= fix.start + len(fix.replacement)


def test_the_hyphen_message_quotes_both_readings() -> None:
    assert str(error_of("a [x:0-0.5:1.2]")) == (
        '"0-0.5" has no arrow, at character 5\n'
        "  a [x:0-0.5:1.2]\n"
        "       ^^^^^\n"
        "  expected: START->END in time left, 1 (noise) to 0 (image), or early, late, full\n"
        "  try: [x:0.5->0:1.2]   (late half: as the published code has it, dialect pae)\n"
        "  try: [x:1->0.5:1.2]   (early half: if the numbers are steps done)"
    )


def test_a_negative_weight_is_a_weight_and_a_negative_range_an_error() -> None:
    assert parse_prompt("[rain::-1]").controls[0].weight.first == -1
    assert parse_prompt("[rain::1->-2.5]").controls[0].weight.is_signed
    assert "negative" in str(error_of("[rain:-1->0:1]"))


def test_offsets_count_characters_and_lines() -> None:
    error = error_of("猫猫\n猫 [x:0.5]")
    assert (error.offset, error.length) == (8, 3)
    assert "line 2, column 6" in str(error)


def test_a_parse_error_is_bad_input_and_survives_a_process_border() -> None:
    error = error_of("[x:0-0.5]")
    assert isinstance(error, InputError)
    assert isinstance(error, DFPromptError)
    assert error.exit_code == 2
    twin = pickle.loads(pickle.dumps(error))
    assert (str(twin), twin.fixes, twin.suggestion) == (str(error), error.fixes, error.suggestion)


def test_json_names_place_expectation_and_the_whole_corrected_text() -> None:
    assert error_of("a [x:erly] b").to_json() == {
        "message": '"erly" is not a range',
        "offset": 5,
        "length": 4,
        "expected": "START->END in time left, 1 (noise) to 0 (image), or early, late, full",
        "suggestion": "a [x:early] b",
    }


def test_a_correction_drops_no_range() -> None:
    with pytest.raises(ParseError) as caught:
        parse_prompt("[x:0.5:early]")
    assert "[x:early:0.5]" in [fix.replacement for fix in caught.value.fixes]
    assert "[x:0.5->0]" not in [fix.replacement for fix in caught.value.fixes]
