"""The text of a step: active pieces joined, and the separators that absent spans leave tidied."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

Offsets = tuple[int, int]

# Of two separators that meet, the weaker goes; of equals, the later.
_STRENGTH = dict(zip(",，、;；.。", (1, 1, 1, 2, 2, 3, 3), strict=True))
SEPARATORS = frozenset(_STRENGTH)
# A bracket is an edge, too; a pair that is left with nothing between goes.
_OPENED_BY = dict(zip(")]}）】」』", "([{（【「『", strict=True))
_OPENING = frozenset(_OPENED_BY.values())


class Layout(NamedTuple):
    """A step's text, where each piece lies in it, and what of it is hidden (offsets in characters)."""

    text: str
    places: tuple[Offsets, ...]
    hidden: tuple[Offsets, ...]


def lay_out(pieces: Sequence[str], present: Sequence[bool], *, mask: bool = False) -> Layout:
    """Join the present pieces; with `mask` keep the whole text and list what is hidden instead.

    Where an absent piece leaves two separators (`, ; .` and their CJK forms) with only spaces between
    them, or one at the edge of the text or of brackets, one goes with its spaces; emptied brackets go.

    >>> lay_out(["a cat, ", "blue", ", sharp"], [True, False, True]).text
    'a cat, sharp'
    >>> lay_out(["a cat (", "blue", "), sharp"], [True, False, True]).text
    'a cat , sharp'
    """
    ends = [0, *accumulate(map(len, pieces))]
    whole = "".join(pieces)
    visible = _visible(whole, list(pairwise(ends)), present)
    if mask:
        places = tuple(pairwise(ends))
        return Layout(whole, places, _complement(visible, len(whole)))
    text = "".join(whole[start:end] for start, end in visible)
    return Layout(text, _places(ends, visible), ())


def _visible(text: str, pieces: list[Offsets], present: Sequence[bool]) -> list[Offsets]:
    """Return the stretches of the whole text that are seen, in order and never touching empty."""
    seen: list[Offsets] = []
    gap = False  # an absent piece lies between the last visible word or separator and here
    bare = False  # the separator at the text's edge is gone, and the spaces after it are going
    for (start, end), here in zip(pieces, present, strict=True):
        if not here:
            gap = True
            continue
        word = _skip_spaces(text, start, end)
        if gap:
            start, word = _close_emptied(text, seen, start, word, end)
        if gap and word < end:
            start, gap = _join(text, seen, start, word, end), False
            bare = word < start == end and _at_edge(text, seen)
        elif bare and not gap:
            start, bare = word, word == end
        if start < end:
            seen.append((start, end))
    if gap:
        last = _last_word(text, seen)
        if last >= 0 and text[last] in _STRENGTH:
            _drop_from(text, seen, last)
    return seen


def _close_emptied(text: str, seen: list[Offsets], start: int, word: int, end: int) -> tuple[int, int]:
    """Hide a separator before a bracket that closes, and brackets with nothing between them.

    Returns where the piece and its first word begin now.
    """
    while word < end and (opener := _OPENED_BY.get(text[word])):
        last = _last_word(text, seen)
        if last >= 0 and text[last] in _STRENGTH:
            _drop_from(text, seen, last)
            last = _last_word(text, seen)
        if last < 0 or text[last] != opener:
            break
        _cut(seen, last)
        start, word = word + 1, _skip_spaces(text, word + 1, end)
    return start, word


def _join(text: str, seen: list[Offsets], start: int, word: int, end: int) -> int:
    """Tidy the place where what is seen meets a piece whose first word is at `word`; return its start."""
    if text[word] not in _STRENGTH:
        return start
    if _at_edge(text, seen):
        _cut(seen, _last_word(text, seen) + 1)
        return _skip_spaces(text, word + 1, end)
    last = _last_word(text, seen)
    if text[last] not in _STRENGTH:
        return start
    if _STRENGTH[text[last]] < _STRENGTH[text[word]]:
        _drop_from(text, seen, last)
        return word
    _cut(seen, last + 1)
    return word + 1


def _at_edge(text: str, seen: list[Offsets]) -> bool:
    """Whether no word of the text, or of the brackets that are open, is visible yet."""
    last = _last_word(text, seen)
    return last < 0 or text[last] in _OPENING


def _skip_spaces(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def _last_word(text: str, seen: list[Offsets]) -> int:
    """Return the offset of the last visible character that is not a space, or -1."""
    for start, end in reversed(seen):
        for at in range(end - 1, start - 1, -1):
            if not text[at].isspace():
                return at
    return -1


def _drop_from(text: str, seen: list[Offsets], at: int) -> None:
    """Hide everything from `at` on, and the spaces before it."""
    _cut(seen, at)
    _cut(seen, _last_word(text, seen) + 1)


def _cut(seen: list[Offsets], at: int) -> None:
    while seen and seen[-1][0] >= at:
        seen.pop()
    if seen and seen[-1][1] > at:
        seen[-1] = (seen[-1][0], at)


def _complement(visible: list[Offsets], length: int) -> tuple[Offsets, ...]:
    hidden: list[Offsets] = []
    at = 0
    for start, end in [*visible, (length, length)]:
        if at < start:
            hidden.append((at, start))
        at = end
    return tuple(hidden)


def _places(ends: list[int], visible: list[Offsets]) -> tuple[Offsets, ...]:
    """Return where each piece lies once only the visible stretches are left."""
    moved: list[int] = []
    shown, run = 0, 0  # characters seen before visible[run]
    for at in ends:
        while run < len(visible) and visible[run][1] <= at:
            shown += visible[run][1] - visible[run][0]
            run += 1
        inside = max(0, at - visible[run][0]) if run < len(visible) else 0
        moved.append(shown + inside)
    return tuple(pairwise(moved))
