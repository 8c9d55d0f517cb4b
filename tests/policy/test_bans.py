"""Bans: whole words in any casing and width, parts of words, patterns; what they do not touch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ConfigError
from dfprompt.policy import Bans
from dfprompt.policy.bans import split_words
from dfprompt.policy.wordlists import LISTS, read_wordlist


@pytest.mark.parametrize(
    "text",
    [
        "gore",
        "GORE",
        "extreme Gore!",
        "ｇｏｒｅ",
        "go\u200bre",
        "gore-free",
        "x_gore_y",
        "gore's",
        "blood/gore",
    ],
)
def test_a_banned_word_is_found_however_it_is_written(text: str) -> None:
    assert Bans(words=["Gore"]).find(text) == "gore"


@pytest.mark.parametrize("text", ["gorgeous", "gores", "al gorey", "g o r e", ""])
def test_other_words_stay(text: str) -> None:
    assert Bans(words=["gore"]).find(text) is None


@pytest.mark.parametrize("text", ["oil painting", "Oil-Painting", "an oil  painting of it"])
def test_several_words_match_in_a_row(text: str) -> None:
    assert Bans(words=["oil painting"]).find(text) == "oil painting"


@pytest.mark.parametrize("text", ["oil, and painting", "painting oil", "oily painting", "oil paintings"])
def test_several_words_match_only_in_a_row(text: str) -> None:
    assert Bans(words=["oil painting"]).find(text) is None


def test_german_sharp_s_folds() -> None:
    assert Bans(words=["STRASSE"]).find("Straße") == "strasse"


def test_substrings_reach_into_words() -> None:
    assert Bans(substrings=["Gor"]).find("gorgeous") == "gor"
    assert Bans(substrings=["++"]).find("neon++") == "++"


def test_patterns_search_the_normalized_text() -> None:
    assert Bans(patterns=[r"^by \w+"]).find("BY Rembrandt") == r"^by \w+"
    assert Bans(patterns=[r"^by \w+"]).find("nearby lake") is None


@pytest.mark.parametrize(
    "text", ["by greg rutkowski", "art by Jane Roe", "Studio Ghibli", "in the style of Foo"]
)
def test_the_artist_list_finds_names_and_places_of_names(text: str) -> None:
    assert Bans(artists=True).find(text) is not None


@pytest.mark.parametrize("text", ["lit by the sun", "seen by night", "a nearby lake", "oil painting"])
def test_the_artist_list_leaves_the_rest(text: str) -> None:
    assert Bans(artists=True).find(text) is None


def test_every_broken_ban_is_named_once() -> None:
    bans = Bans(words=["gore", "blood"], substrings=["oo"])
    assert bans.find_all(["blood", "gore and blood"]) == ["blood", "oo", "gore"]
    assert not Bans()


@pytest.mark.parametrize(
    "wrong", [{"words": [""]}, {"words": ["!!"]}, {"substrings": [" "]}, {"patterns": ["("]}]
)
def test_what_bans_nothing_is_refused(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigError):
        Bans(**wrong)  # type: ignore[arg-type]


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_text_with_the_word_is_always_found(before: str, after: str) -> None:
    assert Bans(words=["gore"]).find(f"{before} GoRe {after}") == "gore"


@given(st.text(max_size=30))
def test_words_are_bare_letters_and_digits(text: str) -> None:
    assert all(word.isalnum() for word in split_words(text))


@pytest.mark.parametrize("name", LISTS)
def test_the_lists_hold_distinct_words(name: str) -> None:
    entries = read_wordlist(name)
    assert len(set(entries)) == len(entries)
    assert all(entry == entry.lower() and split_words(entry) for entry in entries)
