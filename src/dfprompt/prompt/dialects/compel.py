"""compel's prompt text: `(words)1.2`, `word+`, `word--`; weights only, no schedules.

A plus is 1.1 and a minus 0.9, once per sign; nested ones multiply. `(words:1.2)` is text there. What compel
2.5 cannot parse it takes for plain words without a sign; the importer raises instead, or says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Context, Decimal

from dfprompt.errors import ConversionError, Fix, ParseError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, Span
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.leaves import Emphasis, Node, Text, make_prompt
from dfprompt.prompt.exact import format_decimal, round_places
from dfprompt.prompt.tags import explain_tag

_TOKEN = re.compile(r'\\[()"]|[()"]|[^\\()"]+|.', re.DOTALL)
_METHOD = re.compile(r"\)\s*\.\s*(blend|and|swap)\s*\(|\"\s*\.\s*(swap)\s*\(")
_NUMBER = re.compile(r"\d{1,30}(?:\.\d{1,30})?|\.\d{1,30}")
_WORD = re.compile(r"[^\s,]+|[\s,]+")
_FACTOR = {"+": Decimal("1.1"), "-": Decimal("0.9")}
_MOST_SIGNS = 200  # 1.1 ** 25 is beyond every weight, 0.9 ** 200 is 0 to six places
_CONTEXT = Context(prec=40)
_ESCAPED = str.maketrans({"(": "\\(", ")": "\\)", '"': '\\"'})


def read(text: str, steps: int | None, remarks: Remarks) -> DFPrompt:
    """Read compel's text."""
    method = _METHOD.search(text)
    if method is not None:
        name = method[1] or method[2]
        raise ConversionError(
            f"compel's .{name}() at character {method.start()} mixes several prompts, and a DF-Prompt is one "
            "text per step; write one prompt, or give words ranges"
        )
    return make_prompt(_Reader(text, remarks).read(), remarks)


class _Reader:
    def __init__(self, text: str, remarks: Remarks) -> None:
        self.text, self.remarks = text, remarks
        self.stack: list[tuple[str, int, list[Node]]] = [("", 0, [])]
        self.skip = 0  # characters before this offset are a weight already read

    def read(self) -> list[Node]:
        for match in _TOKEN.finditer(self.text):
            token, at = match[0], match.start()
            if token == "(":
                self._open(token, at)
            elif token == ")":
                self._close("(", at)
            elif token == '"':
                self._quote(at)
            else:
                self._words(token, at)
        opening, at, _ = self.stack[-1]
        if opening:
            raise ParseError(
                f"{quote(opening)} is not closed; compel would take the whole prompt for plain words",
                text=self.text,
                offset=at,
                expected="its counterpart behind it",
                fixes=(Fix(at, at + 1, "\\" + opening, "a literal character"),),
            )
        return self.stack[0][2]

    def _open(self, token: str, at: int) -> None:
        before = self.text[at - 1] if at > self.skip else " "
        if token == "(" and not (before.isspace() or before in '(,"+-'):
            raise ParseError(
                "a parenthesis right behind a word; compel would take the whole prompt for plain words",
                text=self.text,
                offset=at,
                expected="a space before it",
                fixes=(Fix(at, at, " "), Fix(at, at + 1, "\\(", "a literal parenthesis")),
            )
        self.stack.append((token, at, []))

    def _close(self, opening: str, at: int) -> None:
        if self.stack[-1][0] != opening:
            raise ParseError(
                "this closes nothing; compel would take the whole prompt for plain words",
                text=self.text,
                offset=at,
                expected="text",
                fixes=(Fix(at, at + 1, "\\" + self.text[at], "a literal character"),),
            )
        _, _, nodes = self.stack.pop()
        self.stack[-1][2].append(Emphasis(nodes, self._suffix(at + 1)))

    def _quote(self, at: int) -> None:
        if self.stack[-1][0] == '"':
            self._close('"', at)
        else:
            self.remarks.assume("compel drops quotation marks; so does this")
            self.stack.append(('"', at, []))

    def _suffix(self, at: int) -> Decimal:
        """The weight behind a closing bracket; the characters it takes are not read again."""
        number = _NUMBER.match(self.text, at)
        if number is not None:
            self.skip = number.end()
            return Decimal(number[0])
        sign = self.text[at : at + 1]
        if sign not in _FACTOR:
            return Decimal(1)
        self.skip = at
        while self.text[self.skip : self.skip + 1] == sign:
            self.skip += 1
        return _power(sign, self.skip - at)

    def _words(self, token: str, at: int) -> None:
        if at < self.skip:
            token = token[self.skip - at :]
        if len(token) == 2 and token[0] == "\\" and token[1] in '()"':
            token = token[1]
        else:
            self.stack[-1][2].extend(_signed(token, self.remarks))
            return
        self.stack[-1][2].append(Text(token))


def _signed(text: str, remarks: Remarks) -> Iterator[Node]:
    """Plain words, with those that end in signs weighted."""
    for match in _WORD.finditer(text):
        word = match[0]
        bare = word.rstrip(".")
        sign = bare[-1:]
        stem = bare.rstrip(sign) if sign in _FACTOR else bare
        if not sign or sign not in _FACTOR or not stem or stem[-1] in _FACTOR:
            yield Text(word)
            continue
        if any(mark in stem for mark in ".;!?"):
            remarks.assume(
                f"{quote(word)} is no word compel can weight, and it takes the prompt for plain words"
            )
            yield Text(word)
            continue
        yield Emphasis([Text(stem)], _power(sign, len(bare) - len(stem)))
        yield Text(word[len(bare) :])


def _power(sign: str, count: int) -> Decimal:
    return _CONTEXT.power(_FACTOR[sign], min(count, _MOST_SIGNS))


def write(prompt: DFPrompt, steps: int | None, remarks: Remarks) -> str:
    """Write compel's text: weights; ranges and ramps are lost."""
    out = ""
    pieces: list[str] = []
    for piece in prompt.spans:
        if isinstance(piece, Span) and piece.tag:
            remarks.lose(explain_tag(piece.tag))
        elif isinstance(piece, str):
            pieces.append(_plain(piece, out, remarks))
        else:
            words = quote(piece.text.strip())
            weight = piece.weight.first
            if piece.effect_range != piece.with_range("full").effect_range:
                remarks.lose(f"the range {piece.effect_range} of {words}: compel has no schedules")
            if piece.weight.is_ramp:
                weight = round_places((piece.weight.first + piece.weight.last) / 2)
                remarks.lose(f"the ramp {piece.weight} of {words} becomes its middle")
            pieces.append(_weighted(piece.text, weight, out, remarks))
        out = pieces[-1][-1:] or out if pieces else out
    return "".join(pieces)


def _plain(text: str, before: str, remarks: Remarks) -> str:
    if any(isinstance(node, Emphasis) for node in _signed(text, Remarks())):
        remarks.lose("words that end in + or - are weights for compel, and it has no escape for them")
    if '"' in text:
        remarks.lose("compel drops quotation marks")
    spaced = " " if before.isdigit() and text[:1] in tuple(".0123456789") and text else ""
    return spaced + text.translate(_ESCAPED)


def _weighted(text: str, weight: Decimal, before: str, remarks: Remarks) -> str:
    """`(words)1.2`, its outer spaces outside, and a space before it where compel needs one."""
    words = text.strip()
    lead, tail = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    inner = _plain(words, "", remarks)
    if weight == 1:
        return lead + inner + tail
    if not lead and before and not (before.isspace() or before in "(,"):
        lead = " "
        remarks.lose(f"a space is put before {quote(words)}: compel weights no part of a word")
    return f"{lead}({inner}){format_decimal(weight)}{tail}"
