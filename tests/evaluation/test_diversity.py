"""Modifiers found in rewrites, and how varied they are, against naive loops and hand-worked numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.evaluation.diversity import compute_self_similarity, measure_diversity
from dfprompt.evaluation.modifiers import find_modifiers, split_phrases
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.prompt import DFPrompt, Span, parse_prompt


@pytest.mark.parametrize(
    ("plain", "text", "expected"),
    [
        ("a cat", "a cat", []),
        ("a cat", "a cat, 8k, [grain:late:1.5]", [Span("8k"), Span("grain", "late", 1.5)]),
        ("a cat, in snow", "a cat, in snow, in snow", [Span("in snow")]),
        ("A Cat.", "a cat. [mist:early]", [Span("mist", "early")]),
        ("a cat", "[glow:late], a cat", [Span("glow", "late")]),
        ("a cat", "[a cat:full:1.5], 8k", [Span("8k")]),
        ("a cat", "a majestic cat; oil", [Span("a majestic cat"), Span("oil")]),
        ("a cat", "a cat, shot at f/1.8", [Span("shot at f/1.8")]),
    ],
)
def test_modifiers_are_what_the_rewrite_adds(plain: str, text: str, expected: list[Span]) -> None:
    assert find_modifiers(plain, parse_prompt(text)) == expected


_words = st.text("abcdef ", min_size=1, max_size=8).filter(str.strip)
_spans = st.builds(
    Span, _words.map(str.strip), st.sampled_from(["early", "late", "full"]), st.sampled_from([0.5, 1.5])
)


@given(_words, st.lists(_spans, max_size=4))
def test_what_a_policy_appends_is_found_again(plain: str, spans: list[Span]) -> None:
    spans = [span for span in spans if span.text.split() != plain.split()]
    assert find_modifiers(plain, append_modifiers(DFPrompt.from_plain(plain), spans)) == spans


def test_phrases_end_at_separators() -> None:
    assert split_phrases(" , a;b.\nc. d.e ,,") == ["a", "b", "c", "d.e"]


def test_by_hand() -> None:
    """Sets {8k, grain}, {8k}, {mist}: overlaps 1/2, 0, 0."""
    found = measure_diversity(
        [[Span("8k"), Span("grain", "late")], [], [Span("8K", "early")], [Span("mist"), Span("mist")]]
    )
    assert (found.rewrites, found.modifiers, found.distinct) == (4, 5, 3)
    assert found.distinct_share == pytest.approx(3 / 5)
    assert found.self_similarity == pytest.approx(0.5 / 3)
    assert found.default_share == pytest.approx(3 / 5)
    assert found.unchanged_share == pytest.approx(1 / 4)


def test_one_suffix_for_all_is_similarity_one() -> None:
    found = measure_diversity([[Span("8k"), Span("hdr")]] * 5)
    assert found.self_similarity == pytest.approx(1.0)
    assert found.distinct_share == pytest.approx(2 / 10)


def test_nothing_said_has_no_similarity() -> None:
    found = measure_diversity([[], []])
    assert (found.self_similarity, found.default_share, found.distinct_share) == (None, None, None)
    assert found.unchanged_share == 1.0
    assert measure_diversity([]).unchanged_share == 0.0


def test_against_double_loops() -> None:
    generator = np.random.default_rng(1)
    sets = [
        {f"w{word}" for word in generator.choice(9, size=generator.integers(1, 6), replace=False)}
        for _ in range(25)
    ]
    overlaps = [len(a & b) / len(a | b) for a, b in itertools.combinations(sets, 2)]
    assert compute_self_similarity(sets) == pytest.approx(sum(overlaps) / len(overlaps))
