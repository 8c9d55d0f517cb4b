"""Weights must land on the right tokens, whatever the words are and whatever stands around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_pipelines
from dfprompt.conditioning.tokens import (
    TokenizedText,
    assign_weights,
    expand_inversions,
    find_covered,
    split_chunks,
    tokenize,
)
from dfprompt.errors import PromptValueError, UnsupportedPipelineError
from dfprompt.prompt import make_plan, parse_prompt

CLIP = tiny_pipelines.clip_tokenizer()
T5 = tiny_pipelines.t5_tokenizer()
QWEN = tiny_pipelines.qwen_tokenizer()


def weighted_tokens(tokenizer, prompt: str, step: int = 0, steps: int = 10) -> list[tuple[str, float]]:
    """(token, weight) of one step of a DF-Prompt."""
    planned = make_plan(parse_prompt(prompt), steps).steps[step]
    (tokens,) = tokenize(tokenizer, [planned.text])
    stretches = [(part.start, part.end, float(part.weight)) for part in planned.weights]
    weights = assign_weights(planned.text, tokens.places, stretches)
    return list(zip(tokenizer.convert_ids_to_tokens(list(tokens.ids)), weights, strict=True))


def heavy(tokenizer, prompt: str, step: int = 0) -> str:
    """The tokens of a step whose weight is not 1, joined, without word marks."""
    joined = " ".join(token for token, weight in weighted_tokens(tokenizer, prompt, step) if weight != 1)
    return joined.replace("</w>", "").replace("▁", "").replace("Ġ", "")


def test_a_word_of_many_tokens_is_weighted_whole():
    tokens = weighted_tokens(CLIP, "a [goddess::1.5] on a horse")
    assert [weight for _, weight in tokens] == [1, *[1.5] * (len(tokens) - 4), 1, 1, 1]
    assert "".join(token for token, weight in tokens if weight == 1.5) == "goddess</w>"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red cat, [red::1.5] dog", "red"),  # the second of two equal words only
        ("[a::1.5] cat and a dog", "a"),
        ("a [cat, dog::1.5], house", "c at , d o g"),  # the comma inside belongs to the span
        ("a cat[, old::1.5] film", ", old"),
        ("photo[ anime ::1.5]style", "anime"),  # spaces at the edges weigh nothing
        ("a [café::0.5] in snow", "c a f Ã ©"),  # every byte of a character
        ("a [🎉::0.5] dog", "ð Ł İ ī"),
        ("an (a)[red::1.3]!house", "red"),
        ("A [RED::1.3] HOUSE", "red"),
    ],
)
def test_clip_weights_by_hand(prompt, expected):
    found = heavy(CLIP, prompt).replace(" ", "")
    assert found == expected.replace(" ", "")


def test_positions_move_when_words_before_them_are_gone():
    """The published code keeps the positions of the full text: its weights land on other words later."""
    prompt = "a [very old:early] house, [red::1.5] horse"
    assert heavy(CLIP, prompt, step=0) == "red"
    assert heavy(CLIP, prompt, step=9) == "red"
    early, late = weighted_tokens(CLIP, prompt, 0), weighted_tokens(CLIP, prompt, 9)
    assert [w for _, w in early].index(1.5) > [w for _, w in late].index(1.5)


def test_t5_and_qwen_glue_the_space_to_the_word_and_still_get_it_right():
    for tokenizer in (T5, QWEN):
        assert heavy(tokenizer, "a [red::1.5] house").replace(" ", "") == "red"
        assert heavy(tokenizer, "photo [anime ::1.5]style").replace(" ", "") == "anime"


# Words of one token, of several, with punctuation inside, in other scripts, and one that repeats.
WORDS = ["red", "a", "goddess", "x-ray", "it's", "snow", "crème", "雪", "🎉", "1999", "!!", "horse", "red"]


@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=9),
    marks=st.lists(st.sampled_from([1.0, 0.5, 1.5]), min_size=9, max_size=9),
    tokenizer=st.sampled_from([CLIP, T5]),
)
def test_word_by_word_reference(words, marks, tokenizer):
    """Both tokenizers cut at spaces first, so the naive way, word by word, gives the same tokens."""
    expected = [
        (token, weight)
        for word, weight in zip(words, marks, strict=False)
        for token in tokenizer.convert_ids_to_tokens(tokenizer(word, add_special_tokens=False).input_ids)
    ]
    pieces = [
        word if weight == 1 else f"[{word}::{weight}]" for word, weight in zip(words, marks, strict=False)
    ]
    assert weighted_tokens(tokenizer, " ".join(pieces)) == expected


@given(st.text(max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_any_text_has_one_weight_per_token_and_none_outside_the_stretch(text, one, other):
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    for tokenizer in (CLIP, T5, QWEN):
        (tokens,) = tokenize(tokenizer, [text])
        weights = assign_weights(text, tokens.places, [(start, end, 2.0)] if start < end else [])
        assert len(weights) == len(tokens.ids)
        for (first, last), weight in zip(tokens.places, weights, strict=True):
            touches = any(start <= at < end for at in range(first, last))
            assert weight == 1.0 or touches


def test_a_token_across_two_stretches_takes_the_one_it_shares_most_with():
    assert assign_weights("unhappy", [(0, 7)], [(0, 2, 0.5), (2, 7, 1.5)]) == [1.5]
    assert assign_weights("unhappy", [(0, 7)], [(0, 2, 0.5)]) == [0.5]


def test_hidden_tokens_are_those_mostly_covered():
    planned = make_plan(parse_prompt("a cat, [old film:early], snow"), 2, absence="mask").steps[1]
    (tokens,) = tokenize(CLIP, [planned.text])
    covered = find_covered(planned.text, tokens.places, planned.hidden)
    gone = [
        token
        for token, away in zip(CLIP.convert_ids_to_tokens(list(tokens.ids)), covered, strict=True)
        if away
    ]
    assert "".join(gone).replace("</w>", " ").split() == ["old", "film", ","]
    assert find_covered("unhappy", [(0, 7)], [(0, 2)]) == [False]


def test_chunks_are_full_but_never_cut_a_word_that_fits():
    text = "a " * 74 + "goddess red"
    (tokens,) = tokenize(CLIP, [text])
    first, second = split_chunks(tokens, 75)
    assert (first.stop, second.start) == (74, 74)
    assert CLIP.decode(list(tokens.ids[second])).strip() == "goddess red"


def test_chunks_never_cut_the_bytes_of_one_character():
    for text, starts in (("a " * 73 + "🎉 red", [0, 73]), ("a " * 74 + "雪 red", [0, 74])):
        (tokens,) = tokenize(CLIP, [text])
        assert [chunk.start for chunk in split_chunks(tokens, 75)] == starts


def test_a_word_longer_than_a_chunk_is_cut_all_the_same():
    (tokens,) = tokenize(CLIP, ["x" * 160])
    assert [chunk.stop - chunk.start for chunk in split_chunks(tokens, 75)] == [75, 75, 10]


@given(st.lists(st.sampled_from(WORDS), max_size=60), st.integers(3, 20))
def test_chunks_tile_the_tokens(words, room):
    (tokens,) = tokenize(CLIP, [" ".join(words)])
    chunks = split_chunks(tokens, room)
    assert [at for chunk in chunks for at in range(chunk.start, chunk.stop)] == list(range(len(tokens.ids)))
    assert all(chunk.stop - chunk.start <= room for chunk in chunks)


def test_an_empty_text_is_one_empty_chunk():
    assert split_chunks(TokenizedText("", (), ()), 75) == [slice(0, 0)]


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(UnsupportedPipelineError, match="no character offsets"):
        tokenize(object(), ["a cat"])


# ---- textual inversions -----------------------------------------------------------------------------------


def test_multi_vector_inversions_are_written_out_as_the_pipeline_does(tiny_pipe):
    pipe = tiny_pipe("sd1")
    pipe.tokenizer.add_tokens(["<cat>", "<cat>_1", "<cat>_2", "<dot>"])
    for text in ("a <cat> and a <dot>", "<cat><cat>", "no inversion", "<cat>, <cat>_1 too", "<dot>"):
        written, _ = expand_inversions(pipe.tokenizer, text)
        assert written == pipe.maybe_convert_prompt(text, pipe.tokenizer)


def test_the_vectors_of_an_inversion_share_its_weight_and_its_place():
    tokenizer = tiny_pipelines.clip_tokenizer()
    tokenizer.add_tokens(["<cat>", "<cat>_1", "<cat>_2"])
    text = "a <cat> on a red <cat> house"
    (tokens,) = tokenize(tokenizer, [text], inversions=True)
    assert [text[start:end] for start, end in tokens.places] == [
        "a", "<cat>", "<cat>", "<cat>", "on", "a", "red", "<cat>", "<cat>", "<cat>", "house",
    ]  # fmt: skip
    start = text.index("red")
    weights = assign_weights(text, tokens.places, [(start, start + len("red <cat>"), 1.5)])
    assert weights == [1, 1, 1, 1, 1, 1, 1.5, 1.5, 1.5, 1.5, 1]


def test_the_vectors_of_an_inversion_stay_in_one_chunk():
    tokenizer = tiny_pipelines.clip_tokenizer()
    tokenizer.add_tokens(["<cat>", "<cat>_1", "<cat>_2"])
    (tokens,) = tokenize(tokenizer, ["a " * 73 + "<cat> red"], inversions=True)
    assert [chunk.start for chunk in split_chunks(tokens, 75)] == [0, 73]


@pytest.mark.parametrize(
    "word", [("don", "'t"), ("state", "-", "of", "-", "the", "-", "art"), ("cafe", "\u0301s")]
)
def test_chunks_do_not_cut_words_with_apostrophes_hyphens_or_marks(word):
    """With room for all but the word's last token, the whole word moves to the next chunk."""
    text, places = "cat " * 5, [(4 * number, 4 * number + 3) for number in range(5)]
    for piece in word:
        places.append((len(text), len(text) + len(piece)))
        text += piece
    if "\u0301" in text:  # the mark belongs to no token's place
        places[-1] = (places[-1][0] + 1, places[-1][1])
    tokens = TokenizedText(text, tuple(range(len(places))), tuple(places))
    chunks = split_chunks(tokens, max(len(word), len(places) - 1))
    assert chunks == [slice(0, 5), slice(5, len(places))]


def test_a_text_that_would_take_minutes_a_step_is_refused() -> None:
    long = TokenizedText("[" * 10_001, (1,) * 10_001, tuple((at, at + 1) for at in range(10_001)))
    with pytest.raises(PromptValueError, match="10,001 tokens is too long to draw"):
        split_chunks(long, 75)
