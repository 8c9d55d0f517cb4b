"""The mini world's words as tokens, and the small text encoder its pipeline reads prompts with.

The encoder learns one thing: every token says what it is and which phrase it belongs to, and the
padding says nothing. A word's meaning so stays at the word, where a weight can reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dfprompt.mini.captions import known_words
from dfprompt.mini.loop import Draw, device_of
from dfprompt.mini.modifiers import MODIFIERS

MAX_TOKENS = 40
TEXT_WIDTH = 128
# Words people type that have no picture here; they get a token each so that they cost no more than others.
_PLAIN_WORDS = ("and", "with", "of", "picture", "photo", "painting", "very", "big", "small", "some", "my")


def make_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer in which every word of this world is one token and any other text still encodes.

    >>> make_tokenizer().tokenize("a red cat, golden hour")
    ['a</w>', 'red</w>', 'cat</w>', ',</w>', 'golden</w>', 'hour</w>']
    """
    words = sorted({*known_words(), *_PLAIN_WORDS})
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=100_000, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(words, trainer)
    learnt = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
    pieces = dict.fromkeys([*alphabet, *(letter + "</w>" for letter in alphabet), *(piece for piece, _ in learnt)])
    vocab = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=_merges(bpe), model_max_length=MAX_TOKENS)


def _merges(bpe: Tokenizer) -> list[tuple[str, str]]:
    import json

    merges = json.loads(bpe.to_str())["model"]["merges"]
    return [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in merges]


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Padded and truncated ids (B, MAX_TOKENS), as the Stable Diffusion pipeline makes them."""
    out = tokenizer(list(texts), padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    return out.input_ids


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text encoder: two layers, so that neighbours matter a little and a word stays itself."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


class TokenTask(nn.Module):
    """The text stage's module: the encoder and the two readings it is trained on (thrown away afterwards)."""

    def __init__(self, encoder: CLIPTextModel, vocabulary: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.word = nn.Linear(TEXT_WIDTH, vocabulary)
        self.phrase = nn.Linear(TEXT_WIDTH, len(MODIFIERS) + 1)


def phrase_labels(tokenizer: CLIPTokenizer, ids: Tensor) -> Tensor:
    """For each token the modifier whose phrase it completes, 1-based; 0 for none. Shape (B, T)."""
    labels = torch.zeros_like(ids)
    for number, name in enumerate(MODIFIERS, 1):
        phrase = tokenizer(name, add_special_tokens=False).input_ids
        hit = torch.ones_like(ids[:, len(phrase) - 1 :], dtype=torch.bool)
        for offset, token in enumerate(phrase):
            hit &= ids[:, offset : ids.shape[1] - len(phrase) + 1 + offset] == token
        labels[:, len(phrase) - 1 :][hit] = number
    return labels


def text_loss(
    tokenizer: CLIPTokenizer, captions: Sequence[str], batch: int
) -> Callable[[nn.Module, Draw], tuple[Tensor, dict[str, float]]]:
    """A step's loss: name each token and its phrase; keep padding and end where the empty prompt has them."""
    ids = tokenize(tokenizer, captions)
    phrases = phrase_labels(tokenizer, ids)
    empty = tokenize(tokenizer, [""])

    def loss(task: nn.Module, draw: Draw) -> tuple[Tensor, dict[str, float]]:
        index = torch.from_numpy(draw.numpy.integers(len(ids), size=batch))
        tokens, phrase = ids[index], phrases[index]
        device = device_of(task)
        tokens, phrase = tokens.to(device), phrase.to(device)
        states = task.encoder(torch.cat([tokens, empty.to(device)])).last_hidden_state
        nothing, states = states[-1:].detach(), states[:-1]
        real = (tokens != tokenizer.eos_token_id) & (tokens != tokenizer.bos_token_id)
        word = functional.cross_entropy(task.word(states[real]), tokens[real])
        which = functional.cross_entropy(task.phrase(states[real]), phrase[real])
        padding = tokens == tokenizer.eos_token_id
        quiet = functional.mse_loss(states[padding], nothing.expand_as(states)[padding])
        return word + which + quiet, {"word": word.item(), "phrase": which.item(), "padding": quiet.item()}

    return loss
