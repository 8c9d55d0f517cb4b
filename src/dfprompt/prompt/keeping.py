"""Words that a rewrite or a search may not drop, move or weight, put back by code and not by asking."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, Span


def find_kept(text: str, keep: Sequence[str]) -> list[str]:
    """Return the kept words that stand in a plain prompt, as it spells them, in its order.

    A word is found whole, whatever its case: "art" is not in "party".

    >>> find_kept("a Zorblax cat, party", ["cat", "zorblax", "art"])
    ['Zorblax', 'cat']
    """
    found = [match for word in keep if (match := _pattern(word, re.IGNORECASE).search(text))]
    return list(dict.fromkeys(match.group() for match in sorted(found, key=lambda match: match.start())))


def is_kept(prompt: DFPrompt, kept: Sequence[str]) -> bool:
    """Return whether these words (of `find_kept`) stand in a prompt, in this order, without control.

    >>> is_kept(DFPrompt(["a cat, ", Span("cat food", "late")]), ["cat"])
    False
    """
    if any(_pattern(word).search(span.text) for word in kept for span in _acting(prompt)):
        return False
    return _in_order(_uncontrolled(prompt), kept)


def keep_words(plain: str, rewrite: DFPrompt, kept: Sequence[str]) -> DFPrompt:
    """Return a rewrite in which these words (of `find_kept`) stand as the plain prompt has them.

    A span that holds one loses its range and weight; where one was dropped, or the order is another, the
    plain prompt is put in front, whose words all are.

    >>> print(keep_words("a big cat", DFPrompt(["a ", Span("cat", "late", 1.5), " at dawn"]), ["big"]))
    a big cat, a [cat:late:1.5] at dawn
    """
    if is_kept(rewrite, kept):
        return rewrite
    pieces: list[str | Span] = []
    for piece in rewrite.spans:
        held = isinstance(piece, Span) and any(_pattern(word).search(piece.text) for word in kept)
        pieces.append(piece.text if held and isinstance(piece, Span) else piece)
    mended = DFPrompt(pieces)
    if is_kept(mended, kept):
        return mended
    return DFPrompt([plain, ", ", *mended.spans])


def check_keep(keep: Sequence[str]) -> None:
    """Raise InputError for words that can stand in no prompt."""
    for word in keep:
        if not word.strip() or "\n" in word:
            raise InputError(f"--keep takes words of the prompt, not {quote(word)}")


def _acting(prompt: DFPrompt) -> list[Span]:
    return [span for span in prompt.controls if not span.is_neutral]


def _uncontrolled(prompt: DFPrompt) -> str:
    """Return the words that always act with weight 1; a span between them parts them."""
    parts = []
    for piece in prompt.spans:
        if isinstance(piece, str):
            parts.append(piece)
        else:
            parts.append(piece.words if piece.is_neutral else "\n")
    return "".join(parts)


def _in_order(text: str, kept: Sequence[str]) -> bool:
    place = 0
    for word in kept:
        found = _pattern(word).search(text, place)
        if found is None:
            return False
        place = found.start()  # of "red cat" and "red" one may stand in the other
    return True


def _pattern(word: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word.strip())}(?!\w)", flags)
