"""The caret stands under the place, whatever the characters around it are."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from dfprompt.excerpt import WINDOW, columns, line_and_column, point_at, printable, quote
from prompt_strategies import texts


def test_caret_under_a_word() -> None:
    assert point_at("a red cat", 2, 3) == ("a red cat", "  ^^^")


def test_a_long_line_is_cut_on_both_sides() -> None:
    text = "x" * 5000 + "HERE" + "y" * 5000
    line, carets = point_at(text, 5000, 4)
    assert line.startswith("...")
    assert line.endswith("...")
    assert line[carets.index("^") : carets.rindex("^") + 1] == "HERE"
    assert len(line) <= WINDOW + 6


def test_wide_combining_and_control_characters() -> None:
    assert point_at("猫猫[", 2) == ("猫猫[", "    ^")
    assert point_at("e\u0301[", 2) == ("e\u0301[", " ^")
    assert point_at("\t\x1b[", 2) == ("\\t\\x1b[", "      ^")
    assert point_at("\ud800[", 1) == ("\\ud800[", "      ^")
    assert point_at("\u202e[", 1) == ("\\u202e[", "      ^")
    assert point_at("猫[", 1, ascii_only=True) == ("\\u732b[", "      ^")


def test_only_the_line_of_the_place_is_shown() -> None:
    assert point_at("one\ntwo [\nthree", 8) == ("two [", "    ^")
    assert line_and_column("one\ntwo [\nthree", 8) == (2, 5)
    assert point_at("one\n", 3) == ("one", "   ^")
    assert point_at("", 0) == ("", "^")


@given(texts(200), st.data(), st.booleans())
def test_the_caret_marks_the_character_for_any_text(text: str, data: st.DataObject, ascii_only: bool) -> None:
    offset = data.draw(st.integers(0, len(text)))
    line, carets = point_at(text, offset, ascii_only=ascii_only)
    assert line.isprintable()
    assert line.isascii() or not ascii_only
    assert columns(line) <= WINDOW + 6
    before = carets.index("^")
    place = text[offset : offset + 1]
    if place and place != "\n":
        # Walk the line to the caret's column: the character standing there is the one meant.
        width, at = 0, 0
        while width < before:
            width += columns(line[at])
            at += 1
        while at < len(line) and columns(line[at]) == 0 and not unicodedata.combining(place):
            at += 1
        assert line[at:].startswith(printable(place, ascii_only=ascii_only)) or columns(place) == 0


def test_quotations_are_short_and_printable() -> None:
    assert quote("a" * 100) == '"' + "a" * 37 + '..."'
    assert quote("\x07\ud800") == '"\\x07\\ud800"'
    assert quote(10**5000) == "a huge int"
    assert len(quote(list(range(10_000)))) < 100
