"""Weights land on exactly the right tokens: every step of any prompt against two naive references."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_pipelines
from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.cache import EncodingCache
from dfprompt.conditioning.encoder_layout import Conditioning
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.tokens import assign_weights, find_covered, tokenize
from dfprompt.prompt import make_plan, parse_prompt
from prompt_strategies import prompts
from property_profiles import examples

CLIP = tiny_pipelines.clip_tokenizer()
T5 = tiny_pipelines.t5_tokenizer()
QWEN = tiny_pipelines.qwen_tokenizer()

# One token, several, other scripts, bytes of one character, a repeated word; and words with punctuation.
WORDS = ["red", "a", "goddess", "snow", "crème", "雪", "🎉", "1999", "horse", "red"]
MARKED = [*WORDS, "x-ray", "it's", "!!", "(old)"]
# Ranges with the steps of ten that they hold, counted by hand.
RANGES = {"full": range(10), "early": range(5), "late": range(5, 10), "0.8->0.3": range(2, 7)}


def by_characters(text: str, places: Any, stretches: Any) -> list[float]:
    """Every character of a token votes for the stretch it stands in; spaces at its edges have no vote."""
    owner = dict.fromkeys(range(len(text)))
    for number, (start, end, _) in enumerate(stretches):
        owner |= dict.fromkeys(range(start, end), number)
    weights = []
    for start, end in places:
        own = list(range(start, end))
        if text[start:end].strip():
            while text[own[0]].isspace():
                own.pop(0)
            while text[own[-1]].isspace():
                own.pop()
        votes = Counter(owner[at] for at in own if owner[at] is not None)
        weights.append(stretches[votes.most_common(1)[0][0]][2] if votes else 1.0)
    return weights


@settings(max_examples=examples(60))
@given(prompt=prompts, absence=st.sampled_from(["delete", "mask"]))
def test_every_step_of_any_prompt_equals_a_vote_of_characters(prompt, absence):
    for step in set(make_plan(prompt, 10, absence=absence).steps):
        stretches = [(part.start, part.end, float(part.weight)) for part in step.weights]
        for tokenizer in (CLIP, T5, QWEN):
            (tokens,) = tokenize(tokenizer, [step.text])
            found = assign_weights(step.text, tokens.places, stretches)
            assert found == by_characters(step.text, tokens.places, stretches)
            hidden = [sum(start <= at < end for start, end in step.hidden) for at in range(len(step.text))]
            for place, covered in zip(
                tokens.places, find_covered(step.text, tokens.places, step.hidden), strict=True
            ):
                inside = {hidden[at] for at in range(*place) if not step.text[at].isspace()}
                assert covered or inside != {1}
                assert not covered or inside != {0}


def spanned(words: list[str], marks: list[tuple[float, str]]) -> str:
    """The words with a space between them, each in brackets if its weight or range asks for it."""
    return " ".join(
        word if mark == (1.0, "full") else f"[{word}:{mark[1]}:{mark[0]:g}]"
        for word, mark in zip(words, marks, strict=False)
    )


MARKS = st.lists(
    st.tuples(st.sampled_from([1.0, 0.5, 1.5]), st.sampled_from(list(RANGES))), min_size=9, max_size=9
)


@given(
    words=st.lists(st.sampled_from(MARKED), min_size=1, max_size=9),
    marks=MARKS,
    tokenizer=st.sampled_from([CLIP, T5]),
)
def test_after_deletions_the_words_that_are_left_keep_their_weights(words, marks, tokenizer):
    """The naive way: drop the words that are away, tokenise the others one by one."""
    steps = make_plan(parse_prompt(spanned(words, marks)), 10).steps
    for number, step in enumerate(steps):
        expected = [
            (token, weight)
            for word, (weight, name) in zip(words, marks, strict=False)
            if number in RANGES[name]
            for token in tokenizer(word, add_special_tokens=False).input_ids
        ]
        (tokens,) = tokenize(tokenizer, [step.text])
        stretches = [(part.start, part.end, float(part.weight)) for part in step.weights]
        weights = assign_weights(step.text, tokens.places, stretches)
        assert list(zip(tokens.ids, weights, strict=True)) == expected


@cache
def stable_diffusion() -> TextAdapter:
    return adapter_for(tiny_pipelines.build("sd1"))


def vectors(words: list[str], weights: list[float]) -> list[float]:
    """The weight of each vector of the encoding, counted word by word: windows of 75 between two marks."""
    windows: list[list[float]] = [[]]
    for word, weight in zip(words, weights, strict=True):
        count = len(CLIP(word, add_special_tokens=False).input_ids)
        if len(windows[-1]) + count > 75:
            windows.append([])
        windows[-1] += [weight] * count
    return [each for window in windows for each in [1.0, *window, *[1.0] * (76 - len(window))]]


@settings(max_examples=examples(25))
@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=60),
    marks=st.lists(st.sampled_from([1.0, 1.0, 0.5, 1.5]), min_size=60, max_size=60),
)
def test_exactly_the_right_vectors_of_the_encoding_are_scaled(words, marks):
    """Through encoder and windows: every vector is its weight times what it is without any weight."""
    (step,) = make_plan(parse_prompt(spanned(words, [(mark, "full") for mark in marks])), 1).steps
    stretches = tuple((part.start, part.end, float(part.weight)) for part in step.weights)
    asked = [Conditioning(step.text), Conditioning(step.text, stretches)]
    bank = stable_diffusion().encode(asked, "scale", cache=EncodingCache(max_bytes=0))
    plain, heavy = bank.take(bank.entries)["prompt_embeds"]
    expected = torch.tensor(vectors(words, marks[: len(words)]))
    assert torch.equal(heavy, plain * expected[:, None])


@pytest.mark.parametrize(
    ("prompt", "evaluation", "heavy"),
    [
        # `a` is vector 1; `very` falls into 4 letters, `goddess` into 7.
        ("a [very:early] [red::1.5] horse", 0, [6]),
        ("a [very:early] [red::1.5] horse", 9, [2]),
        ("[goddess:late] horse, [horse::1.5]", 0, [3]),
        ("[goddess:late] horse, [horse::1.5]", 9, [10]),
        # A comma goes with the span before it, so the house moves up by three.
        ("a [cat, dog:early], [house::1.5]", 0, [6]),
        ("a [cat, dog:early], [house::1.5]", 9, [3]),
    ],
)
def test_positions_counted_by_hand(prompt, evaluation, heavy):
    step = make_plan(parse_prompt(prompt), 10).steps[evaluation]
    stretches = tuple((part.start, part.end, float(part.weight)) for part in step.weights)
    asked = [Conditioning(step.text), Conditioning(step.text, stretches)]
    bank = stable_diffusion().encode(asked, "scale", cache=EncodingCache(max_bytes=0))
    plain, weighted = bank.take(bank.entries)["prompt_embeds"]
    assert (plain != weighted).any(dim=1).nonzero().flatten().tolist() == heavy
