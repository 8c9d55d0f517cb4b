"""Other tools' prompt control inside a DF-Prompt: used as it stands, named once, never dropped."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dfprompt.errors import DFPromptWarning, Fix, ParseError
from dfprompt.excerpt import quote
from dfprompt.prompt.fields import read_weight
from dfprompt.prompt.foreign import find_control

_PARENTHESIS = re.compile(r"[()]")
_BRACE = re.compile(r"[{}]")


class ForeignSyntax(NamedTuple):
    """A stretch of text that another tool would obey; `how` says which dialect reads it."""

    offset: int
    length: int
    what: str
    how: str
    fix: str | None = None


def find_foreign_syntax(text: str) -> list[ForeignSyntax]:
    """Return the first look-alike of each kind, in the order of the text; linear in its length.

    >>> [found.what for found in find_foreign_syntax("(snow:1.2) BREAK a cat++")]
    ['emphasis', 'the keyword BREAK', "compel's weight"]
    """
    firsts = (next(finder(text), None) for finder in _FINDERS)
    return sorted(found for found in firsts if found is not None)


def report_foreign_syntax(text: str, *, strict: bool, words_alone: bool = False) -> None:
    """Warn once per kind of look-alike, or raise ParseError for the first with `strict`.

    `words_alone`: the text has no spans, and whatever another tool would obey in it is named too.
    """
    for found in _known(text, words_alone):
        if strict:
            problem = _problem(text, found)
            end = found.offset + found.length
            fixes = (Fix(found.offset, end, found.fix, "the same as a span"),) if found.fix else ()
            raise ParseError(
                problem,
                text=text,
                offset=found.offset,
                length=found.length,
                expected="a DF-Prompt without other tools' control",
                fixes=fixes,
                suggestion=found.how,
            )
        warnings.warn(_remark(text, found), DFPromptWarning, stacklevel=3)


def foreign_syntax_remarks(text: str, *, words_alone: bool = False) -> list[str]:
    """Return what `report_foreign_syntax` warns of, one sentence each.

    >>> foreign_syntax_remarks("(snow:1.2)")[0].partition(" (at")[0]
    '"(snow:1.2)" looks like emphasis'
    """
    return [_remark(text, found) for found in _known(text, words_alone)]


def _known(text: str, words_alone: bool) -> list[ForeignSyntax]:
    known = find_foreign_syntax(text)
    if words_alone and not known and (foreign := find_control(text)) is not None:
        what = f"control that {foreign.tool} would obey"
        return [
            ForeignSyntax(0, len(text), what, f"pass the dialect {foreign.dialect} to read it, or --plain")
        ]
    return known


def _problem(text: str, found: ForeignSyntax) -> str:
    return f"{quote(text[found.offset : found.offset + found.length])} looks like {found.what}"


def _remark(text: str, found: ForeignSyntax) -> str:
    problem = _problem(text, found)
    return f"{problem} (at character {found.offset}) and is used as it stands; {found.how}"


def _emphasis(text: str) -> Iterator[ForeignSyntax]:
    """(w:1.2) and ((w)): each stretch between two parentheses is looked at once."""
    opened = -1
    for match in _PARENTHESIS.finditer(text):
        at = match.start()
        if text[at - 1 : at] == "\\":
            continue
        if match[0] == "(":
            opened = at
            continue
        if opened < 0:
            continue
        inner, start, opened = text[opened + 1 : at], opened, -1
        words, colon, number = inner.rpartition(":")
        doubled = start > 0 and text[start - 1] == "(" and text[at + 1 : at + 2] == ")"
        if colon and words.strip() and not words.endswith("\\") and read_weight(number) is not None:
            plain = not any(special in words for special in "[]:\\")
            fix = f"[{words}::{number}]" if plain else None
            yield ForeignSyntax(start, at + 1 - start, "emphasis", _EMPHASIS, fix)
        elif doubled and inner.strip():
            yield ForeignSyntax(start - 1, at + 3 - start, "emphasis", _EMPHASIS)


def _signs(text: str) -> Iterator[ForeignSyntax]:
    """compel's w++ and (w)1.2; a lone + or - after a word is ordinary text."""
    at = text.find("++", 1)
    while at >= 0:
        end = at
        while text[end : end + 1] == "+":
            end += 1
        if (text[at - 1].isalnum() or text[at - 1] == ")") and not text[end : end + 1].isalnum():
            yield ForeignSyntax(at - 1, end - at + 1, "compel's weight", _COMPEL)
        at = text.find("++", end)
    at = text.find(")", text.find("(") + 1) if "(" in text else -1
    while at >= 0:
        if text[at + 1 : at + 2].isdigit():
            yield ForeignSyntax(at, 2, "compel's weight", _COMPEL)
        at = text.find(")", at + 1)


def _keywords(word: str) -> Callable[[str], Iterator[ForeignSyntax]]:
    def find(text: str) -> Iterator[ForeignSyntax]:
        at = text.find(word)
        while at >= 0:
            end = at + len(word)
            if not text[at - 1 : at].isalnum() and not text[end : end + 1].isalnum():
                yield ForeignSyntax(at, len(word), f"the keyword {word}", _KEYWORD)
            at = text.find(word, end)

    return find


def _embeddings(text: str) -> Iterator[ForeignSyntax]:
    at = text.find("embedding:")
    while at >= 0:
        end = at + len("embedding:")
        if not text[at - 1 : at].isalnum() and text[end : end + 1].strip():
            yield ForeignSyntax(at, len("embedding:"), "an embedding reference", _EMBEDDING)
        at = text.find("embedding:", end)


def _wildcards(text: str) -> Iterator[ForeignSyntax]:
    opened = -1
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened = match.start()
        elif opened >= 0:
            if "|" in text[opened : match.start()]:
                yield ForeignSyntax(opened, match.end() - opened, "a random choice", _EXPAND)
            opened = -1


def _files(text: str) -> Iterator[ForeignSyntax]:
    pieces = text.split("__")
    at = len(pieces[0])
    for name in pieces[1:-1]:
        if name and not name[0].isspace() and name.replace("/", "").replace("-", "").isidentifier():
            yield ForeignSyntax(at, len(name) + 4, "a wildcard", _EXPAND)
        at += len(name) + 2


_EMPHASIS = "pass the dialect a1111 or comfyui to read it, or write [words::WEIGHT]"
_COMPEL = "pass the dialect compel to read it, or write [words::WEIGHT]"
_KEYWORD = "the dialect a1111 says what to write instead"
_EMBEDDING = "the dialect comfyui keeps it as text; load the embedding with the pipeline"
_EXPAND = "expand it first; no dialect draws at random"
_FINDERS: tuple[Callable[[str], Iterator[ForeignSyntax]], ...] = (
    _emphasis,
    _signs,
    _keywords("BREAK"),
    _keywords("AND"),
    _embeddings,
    _wildcards,
    _files,
)
