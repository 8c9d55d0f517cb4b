"""Kept words: found whole, never dropped, moved or weighted, whatever a rewrite does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import InputError
from dfprompt.prompt import DFPrompt, Span
from dfprompt.prompt.keeping import check_keep, find_kept, is_kept, keep_words

WORDS = ("red", "house", "zorblax", "Cat", "cat", "red house", "ö", "8k")
words = st.sampled_from(WORDS)
plains = st.lists(st.sampled_from([*WORDS, "a", "of", "party"]), min_size=1, max_size=6).map(" ".join)
pieces = st.one_of(
    st.lists(st.sampled_from([*WORDS, "a", ",", "dawn"]), max_size=4).map(" ".join),
    st.builds(
        Span,
        st.lists(st.sampled_from([*WORDS, "film grain"]), min_size=1, max_size=3).map(" ".join),
        st.sampled_from(["early", "late", "full"]),
        st.sampled_from([1, "1.5", 0, "0.5"]),
    ),
)
rewrites = st.lists(pieces, max_size=5).map(DFPrompt)


@given(plains, rewrites, st.lists(words, max_size=3))
def test_kept_words_stand_in_their_order_without_control(
    plain: str, rewrite: DFPrompt, keep: list[str]
) -> None:
    kept = find_kept(plain, keep)
    found = keep_words(plain, rewrite, kept)
    assert is_kept(found, kept)
    always = "".join(p if isinstance(p, str) else p.text if p.is_neutral else "\n" for p in found.spans)
    for word in kept:
        assert f" {word} " in f" {always.replace(',', ' ').replace(chr(10), ' ')} "
        for span in found.controls:
            assert span.is_neutral or f" {word} " not in f" {span.text} "
    assert keep_words(plain, found, kept) == found
    if is_kept(rewrite, kept):
        assert found == rewrite
    lost = [span.text for span in rewrite.controls if span.text not in found.plain_text]
    assert not lost  # control may go, words stay


@given(plains, st.lists(words, max_size=3))
def test_the_plain_prompt_keeps_its_own_words(plain: str, keep: list[str]) -> None:
    assert is_kept(DFPrompt.from_plain(plain), find_kept(plain, keep))


@pytest.mark.parametrize(
    ("rewrite", "result"),
    [
        (DFPrompt(["a zorblax cat at dawn"]), "a zorblax cat at dawn"),
        (DFPrompt(["a ", Span("zorblax", "late", 1.5), " cat"]), "a zorblax cat"),
        (DFPrompt(["a ", Span("big zorblax", "early"), " cat"]), "a big zorblax cat"),
        (DFPrompt(["a cat, zorblax"]), "a zorblax cat, a cat, zorblax"),
        (DFPrompt(["a zorblaxian cat"]), "a zorblax cat, a zorblaxian cat"),
        (DFPrompt(["a Zorblax Cat"]), "a zorblax cat, a Zorblax Cat"),
        (DFPrompt([]), "a zorblax cat, "),
    ],
)
def test_what_is_mended_and_how(rewrite: DFPrompt, result: str) -> None:
    assert str(keep_words("a zorblax cat", rewrite, ["zorblax", "cat"])) == result


@pytest.mark.parametrize("word", ["", "  ", "a\nb"])
def test_words_that_stand_in_no_prompt_are_refused(word: str) -> None:
    with pytest.raises(InputError, match="--keep takes words"):
        check_keep([word])
