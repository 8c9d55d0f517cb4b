r"""compel 2.5's prompt text: `(words)1.2`, `word+`, `"words"--`, `(words).attend(0.8)`; no schedules.

A plus is 1.1 and a minus 0.9, once per sign; nested ones multiply; `(words:1.2)` is words. What fits no
form is read word by word, from space to space, brackets and signs included. `.swap`, `.blend` and `.and`
are refused.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, Span
from dfprompt.prompt.dialects.checking import check_written
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.overlay import ONE, Budget, Piece, Stretches, lay_over
from dfprompt.prompt.exact import format_decimal, round_places
from dfprompt.prompt.tags import explain_tag

_NUMBER = r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)|-?[0-9]+"
_SIGNS = r"\++|-+"
_SPACES = re.compile(r"\s*")
_QUOTED = re.compile(r'"((?:\\"|[^"\n\r])*)"')
# One word without syntax: escapes, signs that something follows, characters.
_WORD = re.compile(r"""(?:\\[()",.+=-]|[-+](?![\s()",.+=-]|$)|[^\s()",.+=-])+""")
_FREE_WORD = re.compile(r"\S+")
_ATTEND = re.compile(rf"\s*\.attend\s*\(\s*({_SIGNS}|{_NUMBER})\s*\)")
_SWAP = re.compile(r"\s*\.swap\s*\(")
_MIXTURE = re.compile(r"\)\s*\.(blend|and|add)\s*\(")
_AFTER_BRACKETS = re.compile(rf"{_SIGNS}|{_NUMBER}")
_AFTER_WORD = re.compile(_SIGNS)
_LORA = re.compile(rf"(?:useLora|withLora)\s*\(\s*([A-Za-z0-9_-]+)\s*(?:,\s*({_NUMBER})\s*)?\)")
_EMPHASIS = re.compile(r"\(([^():]+):\s{0,9}([0-9.]{1,9})\s{0,9}\)")  # AUTOMATIC1111's and ComfyUI's
_ESCAPE = re.compile(r'\\([()"])')
_TWICE = re.compile(r'\\\\[()"]')
_FACTOR = {"+": Decimal("1.1"), "-": Decimal("0.9")}
_MOST_SIGNS = 200  # 1.1 ** 25 is beyond every weight, 0.9 ** 200 is 0 to six places
_DEEPEST = 100
_CONTEXT = Context(prec=40)
_ESCAPED = str.maketrans({"(": "\\(", ")": "\\)", '"': '\\"'})

Found = tuple[int, list[Piece]]


def read(text: str, steps: int | None, remarks: Remarks) -> DFPrompt:
    """Read compel's text."""
    mixture = _MIXTURE.search(text) if text.lstrip().startswith("(") else None
    if mixture is not None:
        what = (
            "blends several prompts into one"
            if mixture[1] == "blend"
            else "draws several prompts into one picture"
        )
        raise ConversionError(
            f"compel's .{mixture[1]}() {what}, and a DF-Prompt is one text per step; "
            "write one prompt, or give words ranges: [a:early][b:late]"
        )
    if _TWICE.search(text):
        raise ConversionError(
            "compel eats backslashes before an escaped bracket, how many depends on what is around; write one"
        )
    emphasis = _EMPHASIS.search(text)
    if emphasis is not None:
        remarks.assume(
            f"{quote(emphasis[0])} is words to compel; for a weight it wants "
            f"({emphasis[1].strip()}){emphasis[2]}"
        )
    spaced = re.sub(r",(\S)", r", \1", text)  # as compel does before it reads anything
    pieces = _Parser(spaced, 0, len(spaced), 0).prompt()
    if any(token in spaced for token in ('"', "\\+", "\\-")):
        remarks.assume(
            "compel drops quotation marks around words, and keeps the backslash of \\+ and \\-; so does this"
        )
    return lay_over([pieces], Stretches(), Budget(), remarks)


class _Parser:
    """Part of a text, read from the left; every bracket is tried once."""

    def __init__(self, text: str, begin: int, end: int, depth: int) -> None:
        self.text, self.begin, self.end, self.depth = text, begin, end, depth
        self.brackets: dict[int, Found | None] = {}

    def prompt(self) -> list[Piece]:
        """A whole prompt, where what fits no form is a word up to the next space."""
        pieces: list[Piece] = []
        at = self.begin
        while True:
            at = self._spaces(at, pieces)
            if at == self.end:
                return pieces
            found = self._item(at, alone=False)
            if found is None:
                match = _FREE_WORD.match(self.text, at, self.end)
                assert match is not None
                found = match.end(), _unescaped(match[0], at)
            at = found[0]
            pieces += found[1]

    def fragment(self, at: int) -> Found:
        """As much as fits, from one place on: words, brackets, commas and points."""
        pieces: list[Piece] = []
        while True:
            at = self._spaces(at, pieces)
            found = self._item(at, alone=True) if at < self.end else None
            if found is None and self.text[at : min(at + 1, self.end)] in (",", "."):
                found = at + 1, [Piece(at, at + 1, self.text[at], ONE)]
            if found is None:
                return at, pieces
            at = found[0]
            pieces += found[1]

    def _spaces(self, at: int, pieces: list[Piece]) -> int:
        match = _SPACES.match(self.text, at, self.end)
        assert match is not None
        if match[0]:
            pieces.append(Piece(at, match.end(), match[0], ONE))
        return match.end()

    def _item(self, at: int, *, alone: bool) -> Found | None:
        """A word or a bracket with its weight; without one only where it stands `alone`, or is a bracket."""
        lora = _LORA.match(self.text, at, self.end)
        if lora is not None:
            tag = f"<lora:{lora[1]}:{lora[2] or 1}>"
            return lora.end(), [Piece(at, at + 1, tag, ONE, True, -1)]
        bracketed = self.text[at] in '("'
        target = self._bracket(at) if bracketed else self._word(at)
        if target is None:
            return None
        end, pieces = target
        if _SWAP.match(self.text, end, self.end):
            raise ConversionError(
                f"compel's .swap() at character {end} changes what attention sees, and no DF-Prompt can; "
                "write one of the two, or give each a range: [a:early][b:late]"
            )
        weight = _ATTEND.match(self.text, end, self.end)
        if weight is None:
            weight = (_AFTER_BRACKETS if bracketed else _AFTER_WORD).match(self.text, end, self.end)
        if weight is not None:
            factor = _weight(weight[1] if weight.re is _ATTEND else weight[0])
            return weight.end(), [_times(piece, factor) for piece in pieces]
        return target if bracketed or alone else None

    def _word(self, at: int) -> Found | None:
        match = _WORD.match(self.text, at, self.end)
        return None if match is None else (match.end(), _unescaped(match[0], at))

    def _bracket(self, at: int) -> Found | None:
        if at not in self.brackets:
            if self.depth >= _DEEPEST:
                raise ConversionError(
                    f"brackets nest more than {_DEEPEST} deep here; close or leave out some"
                )
            self.depth += 1
            self.brackets[at] = self._parenthesis(at) if self.text[at] == "(" else self._quoted(at)
            self.depth -= 1
        return self.brackets[at]

    def _parenthesis(self, at: int) -> Found | None:
        end, pieces = self.fragment(at + 1)
        return (end + 1, pieces) if end < self.end and self.text[end] == ")" else None

    def _quoted(self, at: int) -> Found | None:
        match = _QUOTED.match(self.text, at, self.end)
        if match is None:
            return None
        if re.search(r"\\[tnfr]", match[1]):
            raise ConversionError(
                f"compel takes a backslash in {quote(match[0])} for a line break or a tab; leave it out"
            )
        inner = _Parser(self.text, at + 1, match.end() - 1, self.depth)
        end, pieces = inner.fragment(at + 1)
        return (match.end(), pieces) if end == match.end() - 1 else None


def _unescaped(text: str, offset: int) -> list[Piece]:
    r"""Words, with `\(`, `\)` and `\"` for literal characters."""
    pieces, at = [], 0
    for match in _ESCAPE.finditer(text):
        pieces.append(Piece(offset + at, offset + match.start(), text[at : match.start()], ONE))
        pieces.append(Piece(offset + match.start(), offset + match.end(), match[1], ONE))
        at = match.end()
    pieces.append(Piece(offset + at, offset + len(text), text[at:], ONE))
    return [piece for piece in pieces if piece.text]


def _weight(written: str) -> Decimal:
    return _power(written[0], len(written)) if set(written) in ({"+"}, {"-"}) else Decimal(written)


def _times(piece: Piece, factor: Decimal) -> Piece:
    return piece if piece.is_tag else piece._replace(weight=_CONTEXT.multiply(piece.weight, factor))


def _power(sign: str, count: int) -> Decimal:
    return _CONTEXT.power(_FACTOR[sign], min(count, _MOST_SIGNS))


def write(prompt: DFPrompt, steps: int | None, remarks: Remarks) -> str:
    """Write compel's text: weights; ranges and ramps are lost."""
    out = ""
    pieces: list[str] = []
    said: list[str | Span] = []
    for piece in prompt.spans:
        if isinstance(piece, Span) and piece.tag:
            remarks.lose(explain_tag(piece.tag))
        elif isinstance(piece, str):
            pieces.append(_plain(piece, out))
            said.append(piece)
        else:
            words = quote(piece.text.strip())
            weight = piece.weight.first
            if piece.effect_range != piece.with_range("full").effect_range:
                remarks.lose(f"the range {piece.effect_range} of {words}: compel has no schedules")
            if piece.weight.is_ramp:
                weight = round_places((piece.weight.first + piece.weight.last) / 2)
                remarks.lose(f"the ramp {piece.weight} of {words} becomes its middle")
            pieces.append(_weighted(piece.text, weight, out, remarks))
            said.append(Span(piece.text, "full", weight))
        out = pieces[-1][-1:] or out if pieces else out
    written = "".join(pieces)
    check_written(prompt, said, written, read, None, "compel", remarks)
    return written


def _plain(text: str, before: str) -> str:
    spaced = " " if before.isdigit() and text[:1] in tuple(".0123456789") and text else ""
    return spaced + text.translate(_ESCAPED)


def _weighted(text: str, weight: Decimal, before: str, remarks: Remarks) -> str:
    """`(words)1.2`, its outer spaces outside, and a space before it where compel needs one."""
    words = text.strip()
    lead, tail = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    inner = _plain(words, "")
    if weight == 1:
        return lead + inner + tail
    if not lead and before and not (before.isspace() or before in "(,"):
        lead = " "
        remarks.lose(f"a space is put before {quote(words)}: compel weights no part of a word")
    return f"{lead}({inner}){format_decimal(weight)}{tail}"
