"""The mini world's words as tokens, and the small text encoder its pipeline reads prompts with.

The encoder learns one thing: every token says what it is and which phrase it belongs to, and the
padding says nothing. A word's meaning so stays at the word, where a weight can reach it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from tokenizers import pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dfprompt.mini.captions import known_words
from dfprompt.mini.modifiers import MODIFIERS
from worlds.mini.loop import StepLoss, StepRandom, device_of

MAX_TOKENS = 40
TEXT_WIDTH = 128
_END = "</w>"
# Words people type that have no picture here; they get a token each so that they cost no more than others.
_PLAIN_WORDS = ("and", "with", "of", "picture", "photo", "painting", "very", "big", "small", "some", "my")


def make_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer in which every word of this world is one token and any other text still encodes.

    >>> make_tokenizer().tokenize("a red cat, golden hour")
    ['a</w>', 'red</w>', 'cat</w>', ',</w>', 'golden</w>', 'hour</w>']
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_merges([*known_words(), *_PLAIN_WORDS])
    pieces = [
        *alphabet,
        *(letter + _END for letter in alphabet),
        *(first + second for first, second in merges),
    ]
    vocab = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges that make every word one token (Sennrich et al., 2016); ties go to the first in order.

    The library's trainer breaks ties by chance when words have an end mark, and two builds must agree.

    >>> learn_merges(["ab", "cab"])
    [('a', 'b</w>'), ('c', 'ab</w>')]
    """
    split = [[*word[:-1], word[-1] + _END] for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    while any(len(pieces) > 1 for pieces in split):
        pairs = Counter(pair for pieces in split for pair in pairwise(pieces))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = [_merge(pieces, best) for pieces in split]
    return merges


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Padded and truncated ids (B, MAX_TOKENS), as the Stable Diffusion pipeline makes them."""
    out = tokenizer(
        list(texts), padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
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


def text_loss(tokenizer: CLIPTokenizer, captions: Sequence[str], batch: int) -> StepLoss:
    """A step's loss: name each token and its phrase; keep padding and end where the empty prompt has them."""
    ids = tokenize(tokenizer, captions)
    phrases = phrase_labels(tokenizer, ids)
    empty = tokenize(tokenizer, [""])

    def loss(task: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        index = torch.from_numpy(random.numpy.integers(len(ids), size=batch))
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


@torch.no_grad()
def encode(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, texts: Sequence[str], batch: int = 500
) -> Tensor:
    """Last hidden states (M, MAX_TOKENS, TEXT_WIDTH) in half precision, on the CPU."""
    ids, device = tokenize(tokenizer, texts), device_of(encoder)
    rows = [
        encoder(ids[i : i + batch].to(device)).last_hidden_state.half().cpu()
        for i in range(0, len(ids), batch)
    ]
    return torch.cat(rows)
