"""A search may not touch kept words, whatever list it has and whatever it tries."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import InputError
from dfprompt.prompt import DFPrompt, Span
from dfprompt.prompt.keeping import is_kept
from dfprompt.search.candidates import ModifierSpace, Proposal, SpanSpace
from dfprompt.search.keeping import keep_in
from dfprompt.search.lexicon import Entry, Lexicon

WORDS = ("film grain", "red light", "a house at dusk", "8k", "in the style of zorblax")


def _lexicon(words: tuple[str, ...]) -> Lexicon:
    return Lexicon(tuple(Entry("all", Span(word, "late")) for word in words), "list")


@given(
    st.lists(st.sampled_from(WORDS), min_size=1, unique=True),
    st.integers(0, 5),
    st.sampled_from(["zorblax", "red", "house"]),
)
def test_no_arm_of_a_search_touches_a_kept_word(words: list[str], seed: int, keep: str) -> None:
    base = DFPrompt.from_plain("a red house by zorblax")
    proposals = [Proposal((Span("zorblax red", "early", 1.5), Span("grain")), "policy")]
    inner = ModifierSpace(base, _lexicon((*words, "sharp")), seed, proposals)
    space = keep_in(inner, [keep])
    first = space.first(40)
    touched = [arm for arm in inner.first(80) if not is_kept(arm.prompt, [keep])]
    assert touched or keep == "house"  # the test would see what it forbids
    tried = [*first, *(other for arm in first[:6] for other in space.variants(arm))]
    tried += [space.make((*one.spans, *two.spans)) for one, two in pairwise(first)]
    assert tried
    assert all(is_kept(arm.prompt, [keep]) for arm in tried)
    assert len(space.first(3)) == 3


def test_a_span_that_is_tuned_cannot_be_kept() -> None:
    space = SpanSpace(DFPrompt(["a red ", Span("house", "late"), ", sharp"]), "house")
    assert keep_in(space, ["red"]).first(2)
    with pytest.raises(InputError, match='--keep "house": the prompt has no such words'):
        keep_in(space, ["house"])


def test_words_that_are_not_there_or_controlled_are_refused() -> None:
    space = ModifierSpace(DFPrompt(["a ", Span("red", "late"), " house"]), _lexicon(("8k",)))
    assert keep_in(space, []) is space
    with pytest.raises(InputError, match="no such words"):
        keep_in(space, ["cat"])
    with pytest.raises(InputError, match="a span of the prompt controls it"):
        keep_in(space, ["red"])
    only = keep_in(ModifierSpace(DFPrompt.from_plain("a house"), _lexicon(("house light",))), ["house"])
    assert [arm.prompt.is_plain for arm in only.first(9)] == [True]  # as words, and never with a control
