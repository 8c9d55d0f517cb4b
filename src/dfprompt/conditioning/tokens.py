"""From characters to tokens: which tokens of a text belong to which stretch of it.

The whole text is tokenised once and the tokenizer's own offsets say where each token came from, so
a weight lands on the right tokens whatever stands around it: multi-token words, punctuation,
unicode, words that occur twice. Fragments are never tokenised on their own.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from dfprompt.errors import PromptValueError, UnsupportedPipelineError
from dfprompt.excerpt import quote

Offsets = tuple[int, int]
_MOST = 10_000  # tokens: 134 of the usual windows, which every denoising step reads
_JOINERS = "'’-‐‑"  # of don't and state-of-the-art


class TokenizedText(NamedTuple):
    """The tokens of a text without special tokens; `places` are character intervals of the text as given."""

    text: str
    ids: tuple[int, ...]
    places: tuple[Offsets, ...]

    def text_from(self, token: int) -> str:
        """Return the end of the text that begins with this token; "" past the last one."""
        return self.text[self.places[token][0] :] if token < len(self.places) else ""


class Window(NamedTuple):
    """One input of an encoder: ids with special tokens and padding.

    `places` belong to the vectors of the encoding, None for those that stand for no text.
    """

    ids: tuple[int, ...]
    places: tuple[Offsets | None, ...]


def tokenize(tokenizer: Any, texts: Sequence[str], *, inversions: bool = False) -> list[TokenizedText]:
    """Tokenise whole texts; `inversions` writes multi-vector textual inversions out, as diffusers does.

    Raises UnsupportedPipelineError for a tokenizer that cannot say where its tokens come from.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UnsupportedPipelineError(
            f"{type(tokenizer).__name__} gives no character offsets, so weights could not be placed; "
            "load the pipeline with its fast tokenizer (the one stored in tokenizer.json)"
        )
    written = [expand_inversions(tokenizer, text) if inversions else (text, None) for text in texts]
    encoded = tokenizer(
        [text for text, _ in written],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    return [
        TokenizedText(text, tuple(ids), _original_places(places, origins))
        for text, ids, places, (_, origins) in zip(
            texts, encoded["input_ids"], encoded["offset_mapping"], written, strict=True
        )
    ]


def _original_places(places: Sequence[Offsets], origins: Sequence[Offsets] | None) -> tuple[Offsets, ...]:
    if origins is None:
        return tuple(places)
    return tuple((origins[start][0], origins[end - 1][1]) for start, end in places)


def expand_inversions(tokenizer: Any, text: str) -> tuple[str, list[Offsets] | None]:
    """Write each multi-vector textual inversion out (`<a>` as `<a> <a>_1 ...`).

    Returns the text for the tokenizer and, for each of its characters, the interval of the original
    text it stands for (None when nothing was expanded). The text equals what the pipelines'
    `maybe_convert_prompt` makes of it.
    """
    added = tokenizer.added_tokens_encoder
    several = [token for token in added if f"{token}_1" in added and token in text]
    if not several:
        return text, None
    present = set(tokenizer.tokenize(text))
    origins: list[Offsets] = [(at, at + 1) for at in range(len(text))]
    for token in several:
        if token in present:
            text, origins = _replace(text, origins, token, _all_vectors(added, token))
    return text, origins


def _all_vectors(added: Any, token: str) -> str:
    vectors = [token]
    while f"{token}_{len(vectors)}" in added:
        vectors.append(f"{token}_{len(vectors)}")
    return " ".join(vectors)


def _replace(text: str, origins: list[Offsets], old: str, new: str) -> tuple[str, list[Offsets]]:
    """`text.replace(old, new)`, keeping track of where every character came from."""
    pieces, moved, at = [], [], 0
    while (found := text.find(old, at)) >= 0:
        pieces += [text[at:found], new]
        whole = (origins[found][0], origins[found + len(old) - 1][1])
        moved += [*origins[at:found], *[whole] * len(new)]
        at = found + len(old)
    return "".join([*pieces, text[at:]]), [*moved, *origins[at:]]


def split_chunks(tokens: TokenizedText, room: int) -> list[slice]:
    """Cut a token sequence into chunks of at most `room` tokens, never inside a word that fits.

    An empty text is one empty chunk. Raises PromptValueError for a text that would take minutes a step.

    >>> split_chunks(TokenizedText("ab cd", (1, 2, 3, 4), ((0, 1), (1, 2), (3, 4), (4, 5))), 3)
    [slice(0, 2, None), slice(2, 4, None)]
    """
    chunks, start, count = [], 0, len(tokens.ids)
    if count > max(room, _MOST):
        raise PromptValueError(
            f"a prompt of {count:,} tokens is too long to draw; shorten it to {_MOST:,} at most: "
            f"{quote(tokens.text, 60)}"
        )
    while count - start > room:
        end = start + room
        while end > start and _continues_word(tokens, end):
            end -= 1
        end = end if end > start else start + room
        chunks.append(slice(start, end))
        start = end
    return [*chunks, slice(start, count)]


def _continues_word(tokens: TokenizedText, at: int) -> bool:
    """Whether the token at this position belongs to the same word as the one before it."""
    before, here = tokens.places[at - 1], tokens.places[at]
    if here[0] < before[1]:  # bytes of one character, vectors of one textual inversion
        return True
    between, edges = tokens.text[before[1] : here[0]], tokens.text[here[0] - 1 : here[0] + 1]
    # A combining mark may belong to no token's place.
    return all(map(unicodedata.combining, between)) and all(map(_joins_words, edges))


def _joins_words(character: str) -> bool:
    """Whether a character stands inside words: letters, digits, marks, apostrophes and hyphens."""
    return character.isalnum() or character in _JOINERS or unicodedata.combining(character) > 0


def assign_weights(
    text: str, places: Sequence[Offsets | None], weighted: Sequence[tuple[int, int, float]]
) -> list[float]:
    """Return each token's weight: that of the stretch it shares most characters with, else 1.

    `weighted` holds disjoint, rising (start, end, weight). Spaces at a token's edge belong to nobody,
    because some tokenizers glue the space before a word to it.

    >>> assign_weights("a red cat", [(0, 1), (1, 5), (5, 9)], [(2, 5, 1.5)])
    [1.0, 1.5, 1.0]
    """
    weights = [1.0] * len(places)
    starts = [start for start, _, _ in weighted]
    for token, place in enumerate(places) if weighted else ():
        if place is None:
            continue
        start, end = _without_edge_spaces(text, place)
        best = 0
        for at in _touching(starts, start, end):
            first, last, value = weighted[at]
            shared = min(end, last) - max(start, first)
            if shared > best:
                best, weights[token] = shared, value
    return weights


def find_covered(text: str, places: Sequence[Offsets | None], stretches: Sequence[Offsets]) -> list[bool]:
    """Say which tokens lie in the stretches with more than half of their characters.

    >>> find_covered("a red cat", [(0, 1), (1, 5), (5, 9)], [(1, 5)])
    [False, True, False]
    """
    covered = [False] * len(places)
    starts = [start for start, _ in stretches]
    for token, place in enumerate(places) if stretches else ():
        if place is None:
            continue
        start, end = _without_edge_spaces(text, place)
        shared = sum(
            max(0, min(end, stretches[at][1]) - max(start, stretches[at][0]))
            for at in _touching(starts, start, end)
        )
        covered[token] = 2 * shared > end - start
    return covered


def _touching(starts: Sequence[int], start: int, end: int) -> range:
    """Return the numbers of the stretches (by their rising starts) that may touch an interval."""
    return range(max(0, bisect_right(starts, start) - 1), bisect_left(starts, end))


def _without_edge_spaces(text: str, place: Offsets) -> Offsets:
    start, end = place
    inner = text[start:end]
    if not inner.strip():
        return place
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())
