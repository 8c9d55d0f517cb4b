"""Hypothesis strategies for the language: any text, any number it can write, any prompt."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from dfprompt.prompt import DFPrompt, EffectRange, Span, Weight

SPECIALS = "[]:\\->→↦ .,;()|+{}_\n\t"
MICRO = 10**6


def micro(number: int) -> Decimal:
    """So many millionths, exactly."""
    return Decimal(number).scaleb(-6)


def texts(max_size: int = 24) -> st.SearchStrategy[str]:
    """Any str at all: lone surrogates, controls, right-to-left, and many brackets."""
    character = st.one_of(
        st.sampled_from(SPECIALS),
        st.characters(exclude_categories=()),
        st.sampled_from("aB9 猫é😀\u202e\u05d0\x00"),
    )
    return st.text(character, max_size=max_size)


tags = st.builds(
    "<{}:{}>".format,
    st.sampled_from(["lora", "lyco", "hypernet", "emb", "é"]),
    st.one_of(st.sampled_from(["fur:0.8", "n (v2):1", "a[b]:1"]), st.text("ab[]:\\-<(", min_size=1)),
)
words = texts().filter(lambda text: bool(text) and not text.isspace())
shares = st.one_of(st.sampled_from([0, 500_000, MICRO, 150_000]), st.integers(0, MICRO))
weights = st.one_of(
    st.sampled_from([Weight(1), Weight("1.5"), Weight(0)]),
    st.builds(
        lambda first, last: Weight(micro(first), micro(last)), *[st.integers(-10 * MICRO, 10 * MICRO)] * 2
    ),
    st.integers(-10 * MICRO, 10 * MICRO).map(lambda number: Weight(micro(number))),
)
ranges = (
    st.tuples(shares, shares)
    .filter(lambda ends: ends[0] != ends[1])
    .map(lambda ends: EffectRange(micro(max(ends)), micro(min(ends))))
)
spans = st.builds(Span, st.one_of(words, tags), ranges, weights)
prompts = st.lists(st.one_of(texts(), tags, tags.map(Span), spans), max_size=6).map(DFPrompt)
