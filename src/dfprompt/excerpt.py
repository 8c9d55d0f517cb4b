"""Pointing into text on a terminal: a window of the line with carets, safe to print anywhere.

Unprintable characters (controls, lone surrogates, direction marks) are shown escaped, because a
prompt is untrusted input and a terminal obeys it; wide characters count as two columns.
"""

from __future__ import annotations

import reprlib
import unicodedata
from collections.abc import Iterable

WINDOW = 72
_CUT = "..."


def quote(value: object, limit: int = 40) -> str:
    r"""Return a short printable quotation of any text, or a short description of any other value.

    >>> print(quote("a\x1b[31m cat"), quote(None), quote([1, [2]]))
    "a\x1b[31m cat" None [1, [2]]
    """
    if isinstance(value, str):
        return f'"{printable(value if len(value) <= limit else value[: limit - len(_CUT)] + _CUT)}"'
    try:
        return printable(reprlib.repr(value))
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"a huge {type(value).__name__}"


def shorten(text: str, limit: int = 120) -> str:
    """Cut the middle out of a long text; both ends stay, for in a bracket both matter.

    >>> shorten("[" + "a" * 200 + ":late]", 20)
    '[aaaaaaa...aaa:late]'
    """
    if len(text) <= limit:
        return text
    head = (limit - len(_CUT)) // 2
    return text[:head] + _CUT + text[len(text) - (limit - len(_CUT) - head) :]


def printable(text: str, *, ascii_only: bool = False) -> str:
    r"""Return the text with every character a terminal should not be given escaped.

    >>> printable("caf\u00e9\x07", ascii_only=True)
    'caf\\xe9\\x07'
    """
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    return "".join(_show(character, ascii_only) for character in text)


def point_at(text: str, offset: int, length: int = 1, *, ascii_only: bool = False) -> tuple[str, str]:
    """Return the line of `text` around a character offset, and the line of carets below it.

    At most `WINDOW` columns around the place are shown, so neither the cost nor the width grows
    with the text. `ascii_only` escapes every other character.

    >>> print("\\n".join(point_at("a cat, [late", 7, 5)))
    a cat, [late
           ^^^^^
    """
    first = text.rfind("\n", 0, offset) + 1
    last = text.find("\n", offset)
    last = len(text) if last < 0 else last
    before = _take(reversed(text[max(first, offset - WINDOW) : offset]), WINDOW // 2, ascii_only)[::-1]
    room = WINDOW - sum(map(columns, before))
    after = _take(text[offset : min(last, offset + WINDOW)], room, ascii_only)
    head = (_CUT if len(before) < offset - first else "") + "".join(before)
    tail = "".join(after) + (_CUT if len(after) < last - offset else "")
    marked = sum(map(columns, after[: max(length, 1)]))
    return head + tail, " " * columns(head) + "^" * max(1, marked)


def _take(characters: Iterable[str], room: int, ascii_only: bool) -> list[str]:
    """Show characters one by one until the columns are used up."""
    taken: list[str] = []
    for character in characters:
        shown = _show(character, ascii_only)
        room -= columns(shown)
        if room < 0:
            break
        taken.append(shown)
    return taken


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Return the line and the column of an offset, both counted from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def columns(shown: str) -> int:
    """Return how many terminal columns a printable text takes.

    >>> columns("a猫")
    3
    """
    if shown.isascii():
        return len(shown)
    return sum(_column_width(character) for character in shown)


def _column_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _show(character: str, ascii_only: bool) -> str:
    if character.isprintable() and (character.isascii() or not ascii_only):
        return character
    return character.encode("unicode_escape").decode("ascii")
