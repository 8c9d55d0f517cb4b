"""Cleaning: what each filter removes and why, what is given with a row, and that no row is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.data.cleaning import Removed, iter_pairs, make_pair
from dfprompt.data.records import Pair, PromptRecord
from dfprompt.data.settings import CleaningSettings, ShortFormSettings
from dfprompt.errors import ConfigError


def clean(prompts: list[str], **settings: Any) -> list[Pair | Removed]:
    records = [PromptRecord(prompt, f"row {number}") for number, prompt in enumerate(prompts)]
    return list(iter_pairs(records, ShortFormSettings(), CleaningSettings(**settings)))


def reasons(prompts: list[str], **settings: Any) -> list[tuple[str, str] | None]:
    return [
        (each.by, each.reason) if isinstance(each, Removed) else None for each in clean(prompts, **settings)
    ]


def test_duplicates_are_found_whatever_their_casing_and_syntax() -> None:
    found = reasons(["a cat, 8k", "A  Cat, 8K", "(a cat:1.2), 8k", "a cat, 9k"])
    assert found == [None, ("duplicate", "the same as row 0"), ("duplicate", "the same as row 0"), None]
    assert reasons(["a cat, 8k", "a cat, 8k"], deduplicate=False) == [None, None]


def test_words_that_are_not_safe_remove_the_row() -> None:
    assert reasons(["a NUDE cat, 8k", "a cat, extreme gore", "a nudge, 8k"]) == [
        ("words", "nude"), ("words", "gore"), None,
    ]  # fmt: skip
    assert reasons(["a nude cat, 8k"], wordlists=()) == [None]


def test_lists_and_patterns_of_ones_own(tmp_path: Path) -> None:
    words = tmp_path / "mine.txt"
    words.write_text("# mine\nbanana split\n")
    found = reasons(["a Banana-Split, 8k", "a cat, 8k"], wordlists=(str(words),))
    assert found == [("words", "banana split"), None]
    assert reasons(["a cat, 8k"], patterns=(r"\d+k$",)) == [("words", r"\d+k$")]
    with pytest.raises(ConfigError, match="packaged word list"):
        clean(["a"], wordlists=("nothing",))


def test_lengths_are_in_words() -> None:
    assert reasons(["cat, 8k"], min_short_words=2) == [("length", "the short form has 1 words")]
    assert reasons(["a b c d, e"], max_words=4) == [("length", "5 words")]
    assert reasons(["a cat"]) == [("modifiers", "too few modifiers")]
    assert reasons(["a cat"], min_modifiers=0) == [None]
    assert reasons(["<lora:snow:1>"]) == [("empty", "no short form is left")]


def test_modifiers_beyond_the_most_are_left_out_and_said_once() -> None:
    (pair,) = clean(["a cat, 8k, bokeh, 8K, mist"], max_modifiers=2)
    assert isinstance(pair, Pair)
    assert pair.modifiers == ("8k", "bokeh")


def test_artists_can_be_kept_taken_out_or_remove_the_row() -> None:
    text = "a cat, by Greg Rutkowski, 8k"
    kept, dropped = clean([text])[0], clean([text], artists="drop_modifiers")[0]
    assert isinstance(kept, Pair)
    assert isinstance(dropped, Pair)
    assert kept.modifiers == ("by Greg Rutkowski", "8k")
    assert dropped.modifiers == ("8k",)
    assert reasons([text], artists="drop_rows") == [("artists", "greg rutkowski")]


def test_a_rows_own_short_form_is_taken() -> None:
    record = PromptRecord("a cat, red, 8k", "1", short="a cat, red", modifiers=("8k", "(mist:1.2)"))
    pair = make_pair(record, ShortFormSettings())
    assert (pair.short, pair.modifiers) == ("a cat, red", ("8k", "mist"))
    rest = make_pair(PromptRecord("a cat, red, 8k", "1", short="a cat, red"), ShortFormSettings())
    assert rest.modifiers == ("8k",)
    split = make_pair(record, ShortFormSettings(use_given=False))
    assert (split.short, split.modifiers) == ("a cat", ("red", "8k"))


@given(st.lists(st.text(max_size=20), max_size=8))
def test_no_row_is_lost_and_the_order_stays(prompts: list[str]) -> None:
    found = clean(prompts)
    assert [each.record.prompt for each in found] == prompts
