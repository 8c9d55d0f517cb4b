"""A tokenizer read as a grammar: which tokens are words of a modifier, which close it, which may not be said.

    modifiers = { separator  word { word } }  end

The grammar has three states, so a mask (V,) per state says what may come next. Sampling and training
use the same masks: a token that could not have been drawn has no probability in either.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dfprompt.errors import LoadError

# The states. START: after the user's text, a separator or the end. OPEN: after a separator, a word.
# INSIDE: within a modifier, anything.
START, OPEN, INSIDE = 0, 1, 2

_REPLACEMENT = "\ufffd"  # what a piece of a character decodes to
_AROUND = ",.; "


class Vocabulary:
    """The tokens of a causal language model, sorted into separators, words, the end and the unsayable.

    `size` is the width of the model's logits. Raises LoadError for a tokenizer without an end token
    or without a token for one of the separators.
    """

    def __init__(self, tokenizer: Any, size: int, *, separators: Sequence[str], forbidden: str) -> None:
        if tokenizer.eos_token_id is None:
            raise LoadError("the policy's tokenizer has no end token (eos_token); add one and save it again")
        self.tokenizer = tokenizer
        self.size = size
        self.end_id = int(tokenizer.eos_token_id)
        added = tokenizer.get_added_vocab()  # padding added behind a model's own tokens does no harm
        learned = [number for word, number in tokenizer.get_vocab().items() if word not in added]
        starts = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
        if (highest := max([self.end_id, *starts, *learned])) >= size:
            raise LoadError(
                f"the policy's tokenizer has a token number {highest}, its model knows {size} tokens, from "
                "0; they do not belong together"
            )
        self.separators = tuple(separators)
        pieces = _decode_pieces(tokenizer, min(size, len(tokenizer)))
        special = set(tokenizer.all_special_ids) | {
            number for number, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        self.separator_ids = frozenset(
            number
            for number, piece in enumerate(pieces)
            if piece.strip(" ") in self.separators and number not in special
        )
        self._separator_tokens = self._find_separators(pieces)
        self.separator_id = self.separator_of(self.separators[0])
        words = torch.zeros(size, dtype=torch.bool)
        for number, piece in enumerate(pieces):
            words[number] = number not in special and _is_word(piece, forbidden, self.separators)
        if not words.any():
            raise LoadError("the policy's tokenizer has no word that may be appended")
        self.words = words

    @cached_property
    def masks(self) -> Tensor:
        """What may come next in each state: bool (3, V), rows START, OPEN, INSIDE."""
        closers = torch.zeros(self.size, dtype=torch.bool)
        closers[[self.end_id, *self.separator_ids]] = True
        return torch.stack([closers, self.words, self.words | closers])

    def separator_of(self, character: str) -> int:
        """The token that writes a separator; the first one's for a character that is none here."""
        return self._separator_tokens.get(character, self._separator_tokens[self.separators[0]])

    def closes(self, token: int) -> bool:
        """Say whether a token ends a modifier: a separator or the end."""
        return token == self.end_id or token in self.separator_ids

    def follow(self, state: int, token: int) -> int:
        """The state after a token; the end has none and leaves the state as it is."""
        if token == self.end_id:
            return state
        return OPEN if token in self.separator_ids else INSIDE

    def encode_context(self, text: str) -> list[int]:
        """Token ids of the user's text, at least one; separators and spaces at its end are left out."""
        said = _encodable(text).rstrip(_AROUND + "\t\r\n")
        ids = list(self.tokenizer(said, verbose=False)["input_ids"])
        if ids and ids[-1] == self.end_id and len(ids) > 1:
            ids.pop()
        start = self.tokenizer.bos_token_id
        return ids or [self.end_id if start is None else int(start)]

    def encode_modifier(self, text: str) -> list[int] | None:
        """Token ids of one modifier without its separator; None for words the policy may not say."""
        said = " ".join(text.split())
        if not said or _encodable(said) != said:
            return None
        whole = self._encode(f"{self.separators[0]} {said}")
        ids = whole[1:] if whole[:1] and whole[0] in self.separator_ids else self._encode(f" {said}")
        return ids if ids and bool(self.words[ids].all()) else None

    def decode_modifier(self, ids: Sequence[int]) -> str:
        """The words of one modifier, without separators around them; "" for pieces of characters."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return "" if _REPLACEMENT in text else " ".join(text.split()).strip(_AROUND)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _find_separators(self, pieces: Sequence[str]) -> dict[str, int]:
        """The token of each separator: the bare character where there is one, else with a space."""
        found: dict[str, int] = {}
        for separator in self.separators:
            for candidate in (separator, f" {separator}", f"{separator} "):
                tokens = sorted(token for token in self.separator_ids if pieces[token] == candidate)
                if tokens:
                    found[separator] = tokens[0]
                    break
            else:
                raise LoadError(f"the policy's tokenizer has no token for the separator {separator!r}")
        return found


def _encodable(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def _decode_pieces(tokenizer: Any, count: int) -> list[str]:
    """What each token adds to a text: decoded behind another token, for a first token may lose its space."""
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"][-1]
    pairs = [[anchor, number] for number in range(count)]
    decode = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    alone = len(tokenizer.decode([anchor], **decode).rstrip(" "))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # 10x faster than decoding pair by pair
        texts = backend.decode_batch(pairs, skip_special_tokens=False)
    else:
        texts = [tokenizer.decode(pair, **decode) for pair in pairs]
    return [text[alone:] for text in texts]


def _is_word(piece: str, forbidden: str, separators: Sequence[str]) -> bool:
    if not piece or _REPLACEMENT in piece or (not piece.strip() and piece != " "):
        return False  # a lone space begins words that have no token with their space
    if any(character in forbidden or character in separators for character in piece):
        return False
    return all(character == " " or not _is_invisible(character) for character in piece)


def _is_invisible(character: str) -> bool:
    """Controls, direction marks, zero-width characters, line breaks, spaces other than the space."""
    return character.isspace() or unicodedata.category(character)[0] == "C"
