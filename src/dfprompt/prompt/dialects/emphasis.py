"""Emphasis as two families of tools read it in the text of a step: `(words)`, `(words:1.3)`, `[words]`."""

from __future__ import annotations

import re
from decimal import Context, Decimal

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.dialects.overlay import ONE, Budget, Piece

BREAK = "<break:chunk>"  # the border between two chunks of the encoder's window, as a tag
_CONTEXT = Context(prec=40)
_ROUND = Decimal("1.1")
_SQUARE = _CONTEXT.divide(ONE, _ROUND)
_LARGEST = 10**6
_A1111 = re.compile(r"\\[()\[\]\\]|\\|[()\[\]]|:\s*([+-]?[.\d]+)\s*\)|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\bBREAK\b")
_COMFY_ESCAPE = re.compile(r"\\([()])")
_PARENTHESIS = re.compile(r"(?<!\\)[()]")


def read_a1111(text: str, budget: Budget) -> list[Piece]:
    r"""Read AUTOMATIC1111's emphasis: `(w)` 1.1, `[w]` 1/1.1, `(w:1.3)`; nested ones multiply.

    What is not closed reaches to the end of the text, what closes nothing is words; `\(` is literal, any
    other backslash vanishes. BREAK outside brackets is the border of a chunk. A colon that belongs to no
    weight is a piece of its own.

    >>> [(piece.text, str(piece.weight)) for piece in read_a1111("a (b:1.2", Budget())]
    [('a ', '1'), ('b', '1.1'), (':', '1.1'), ('1.2', '1.1')]
    """
    pieces: list[Piece] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(kind: str, factor: Decimal) -> None:
        first = opened[kind].pop()
        budget.spend(len(pieces) - first)
        for at in range(first, len(pieces)):
            pieces[at] = pieces[at]._replace(weight=_multiply(pieces[at], factor))

    for match in _A1111.finditer(text):
        token, number = match[0], match[1]
        budget.spend(1)
        if token[0] == "\\":
            pieces.append(Piece(*match.span(), token[1:], ONE))
        elif token in opened:
            opened[token].append(len(pieces))
        elif number is not None and opened["("]:
            close("(", _number(number))
        elif token == ")" and opened["("]:
            close("(", _ROUND)
        elif token == "]" and opened["["]:
            close("[", _SQUARE)
        else:
            pieces += _chunks(token, match.start())
    for kind, factor in (("(", _ROUND), ("[", _SQUARE)):
        while opened[kind]:
            close(kind, factor)
    turned = any(piece.weight == -1 for piece in pieces)
    for piece in pieces:
        if piece.is_tag and (piece.weight != 1 or turned):
            raise ConversionError(
                "BREAK inside brackets (or beside a weight of -1) starts no chunk in A1111, which draws the "
                "word with a weight below 0; move it out of the brackets"
            )
    return pieces


def _chunks(token: str, offset: int) -> list[Piece]:
    """A stretch of words, with BREAK as what it is."""
    pieces, at = [], 0
    for match in _BREAK.finditer(token):
        pieces.append(Piece(offset + at, offset + match.start(), token[at : match.start()], ONE))
        pieces.append(Piece(offset + match.start(), offset + match.end(), BREAK, ONE, True, -1))
        at = match.end()
    return [*pieces, Piece(offset + at, offset + len(token), token[at:], ONE)]


def _multiply(piece: Piece, factor: Decimal) -> Decimal:
    weight = _CONTEXT.multiply(piece.weight, factor)
    if abs(weight) > _LARGEST:
        raise ConversionError(f"{quote(piece.text.strip())} has a weight beyond {_LARGEST:,}")
    return weight


def _number(written: str) -> Decimal:
    try:
        number = Decimal(written)
    except ArithmeticError as error:
        raise ConversionError(
            f"A1111 stops at the weight {quote(written)}, which is not a number; write one such as 1.2"
        ) from error
    if abs(number) > _LARGEST:
        raise ConversionError(f"the weight {quote(written)} is beyond {_LARGEST:,}")
    return number


def read_comfy(text: str, budget: Budget) -> list[Piece]:
    r"""Read ComfyUI's emphasis: `(w)` times 1.1, `(w:1.2)` sets 1.2 whatever stands around; `\(` is literal.

    Brackets count up and down from 0 over the whole text, so one that closes nothing makes words of those
    behind it, as in ComfyUI; square brackets are words.

    >>> [(piece.text, str(piece.weight)) for piece in read_comfy("a ((b:1.3) c)", Budget())]
    [('a ', '1'), ('b', '1.3'), (' c', '1.1')]
    """
    pieces: list[Piece] = []
    stack = [(0, len(text), ONE, True)]
    while stack:
        begin, end, weight, is_open = stack.pop()
        if not is_open:
            pieces += _literal(text, begin, end, weight)
            continue
        todo = []
        for low, high in _items(text, begin, end, budget):
            if high - low >= 2 and _is_group(text, low, high):
                todo.append(_group(text, low + 1, high - 1, weight))
            else:
                todo.append((low, high, weight, False))
        stack += reversed(todo)
    return pieces


def _items(text: str, begin: int, end: int, budget: Budget) -> list[tuple[int, int]]:
    """Cut a text where its nesting leaves 0 and where it comes back."""
    items, at, level = [], begin, 0
    budget.spend((end - begin) // 64)
    for match in _PARENTHESIS.finditer(text, begin, end):
        budget.spend(1)
        if match[0] == "(":
            if level == 0 and at < match.start():
                items.append((at, match.start()))
                at = match.start()
            level += 1
        else:
            level -= 1
            if level == 0:
                items.append((at, match.end()))
                at = match.end()
    return [*items, (at, end)] if at < end else items


def _is_group(text: str, low: int, high: int) -> bool:
    return text[low] == "(" and text[high - 1] == ")" and text[high - 2] != "\\"


def _group(text: str, low: int, high: int, around: Decimal) -> tuple[int, int, Decimal, bool]:
    """The inside of a pair of parentheses and its weight."""
    colon = text.rfind(":", low, high)
    number = _python_float(text[colon + 1 : high]) if colon > low else None
    if number is not None:
        return low, colon, number, True
    weight = _CONTEXT.multiply(around, _ROUND)
    if abs(weight) > _LARGEST:
        raise ConversionError(f"parentheses nest so deeply that the weight is beyond {_LARGEST:,}")
    return low, high, weight, True


def _python_float(written: str) -> Decimal | None:
    """What ComfyUI takes for a number: whatever Python's float does."""
    try:
        value = float(written)
    except ValueError:
        return None
    if value != value or abs(value) > _LARGEST:
        raise ConversionError(f"the weight {quote(written.strip())} is none that a picture can be drawn with")
    return Decimal(repr(value))


def _literal(text: str, begin: int, end: int, weight: Decimal) -> list[Piece]:
    r"""Words, with `\(` and `\)` for literal parentheses."""
    pieces, at = [], begin
    for match in _COMFY_ESCAPE.finditer(text, begin, end):
        pieces.append(Piece(at, match.start(), text[at : match.start()], weight))
        pieces.append(Piece(*match.span(), match[1], weight))
        at = match.end()
    return [piece for piece in [*pieces, Piece(at, end, text[at:end], weight)] if piece.text]
