"""The grammar of a tokenizer: what may be appended, and the way from words to tokens and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dfprompt.errors import LoadError
from dfprompt.policy.vocabulary import INSIDE, OPEN, START, Vocabulary
from tiny_policies import naive_masks, tiny_tokenizer


def vocabulary(separators: tuple[str, ...] = (",",), size: int | None = None) -> Vocabulary:
    tokenizer = tiny_tokenizer()
    return Vocabulary(tokenizer, size or len(tokenizer), separators=separators, forbidden="[]{}()<>|\\")


def test_the_masks_are_the_grammar() -> None:
    assert torch.equal(vocabulary().masks, torch.tensor(naive_masks(vocabulary())))


def test_logits_wider_than_the_tokenizer_are_never_said() -> None:
    wide = vocabulary(size=len(tiny_tokenizer()) + 7)
    assert wide.masks.shape == (3, len(tiny_tokenizer()) + 7)
    assert not wide.masks[:, len(tiny_tokenizer()) :].any()


def test_no_token_that_may_be_said_holds_a_bracket() -> None:
    tokenizer, may = tiny_tokenizer(), vocabulary().masks.any(0)
    said = "".join(tokenizer.decode([token]) for token in may.nonzero().flatten().tolist())
    assert not set("[]{}()<>|\\\n\t\ufffd") & set(said.replace("<|endoftext|>", ""))


def test_states_follow_the_grammar() -> None:
    known = vocabulary()
    word = known.encode_modifier("film")
    assert word is not None
    assert known.follow(START, known.separator_id) == OPEN
    assert known.follow(OPEN, word[0]) == INSIDE
    assert known.follow(INSIDE, word[0]) == INSIDE
    assert known.follow(INSIDE, known.separator_id) == OPEN
    assert known.closes(known.end_id)
    assert known.closes(known.separator_id)
    assert not known.closes(word[0])


def test_a_full_stop_is_a_word_unless_it_separates() -> None:
    stop = tiny_tokenizer()(".")["input_ids"][0]
    assert vocabulary().words[stop]
    assert not vocabulary((",", ".")).words[stop]
    assert vocabulary((",", ".")).closes(stop)
    assert vocabulary((".", ",")).separator_id == stop


@given(st.lists(st.sampled_from(["film", "grain", "é", "8k", "close-up", "it's"]), min_size=1, max_size=5))
def test_modifiers_survive_the_way_to_tokens_and_back(words: list[str]) -> None:
    text = "  ".join(words)
    ids = vocabulary().encode_modifier(text)
    if "é" in words:  # two bytes, and no token holds both
        assert ids is None
    else:
        assert ids is not None
        assert vocabulary().decode_modifier(ids) == " ".join(words)


@pytest.mark.parametrize("text", ["", "  ", "a, b", "(film)", "[film]", "a|b", "film\u200b", "\ud800"])
def test_what_cannot_be_said_has_no_tokens(text: str) -> None:
    assert vocabulary().encode_modifier(text) is None


@pytest.mark.parametrize("text", ["a red cat", "a red cat,", "a red cat , ", "a red cat.;", "a red cat\n"])
def test_the_context_ends_with_a_word(text: str) -> None:
    assert vocabulary().encode_context(text) == tiny_tokenizer()("a red cat")["input_ids"]


@pytest.mark.parametrize("text", ["", " , ", "\n"])
def test_an_empty_context_is_the_start_mark(text: str) -> None:
    assert vocabulary().encode_context(text) == [tiny_tokenizer().bos_token_id]


@given(st.text(max_size=30))
def test_every_text_is_a_context(text: str) -> None:
    assert len(vocabulary().encode_context(text)) >= 1


def words_tokenizer(*words: str, end: str | None = "</s>") -> PreTrainedTokenizerFast:
    vocab = {word: number for number, word in enumerate(["<unk>", "a", *words, *([end] if end else [])])}
    model = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>", eos_token=end)


def test_a_tokenizer_without_an_end_or_a_separator_is_refused() -> None:
    for tokenizer, named in (
        (words_tokenizer("cat", ",", end=None), "end token"),
        (words_tokenizer("cat"), "separator"),
        (words_tokenizer(",", ";"), "no word"),
    ):
        with pytest.raises(LoadError, match=named):
            Vocabulary(tokenizer, len(tokenizer), separators=(",",), forbidden="a;")
