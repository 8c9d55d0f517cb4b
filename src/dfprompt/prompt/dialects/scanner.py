"""One pass over bracketed text for the dialects that nest `( )` and `[ ]`: linear, without recursion."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dfprompt.errors import ConversionError, Fix, ParseError
from dfprompt.excerpt import quote
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.leaves import Node, Text

# Each branch starts with another character, and no branch can be re-read: nothing to backtrack into.
_TOKEN = re.compile(r"\\.|<[A-Za-z]+:[^<>\[\]()|]*>|[()\[\]:|]|[^\\()\[\]:|<]+|.", re.DOTALL)
_KEYWORD = re.compile(r"(?<!\w)(BREAK|AND)(?!\w)")
_CLOSING = {"(": ")", "[": "]"}


class Mark(NamedTuple):
    """A separator inside a bracket and where it stands."""

    character: str
    offset: int


@dataclass
class Frame:
    """An open bracket: the parts between its separators, and the separators."""

    opening: str
    offset: int
    parts: list[list[Node]] = field(default_factory=lambda: [[]])
    marks: list[Mark] = field(default_factory=list)

    def add(self, node: Node) -> None:
        self.parts[-1].append(node)

    def split(self, mark: Mark) -> None:
        self.marks.append(mark)
        self.parts.append([])

    def joined(self, upto: int | None = None) -> list[Node]:
        """The first parts with their separators as literal text between them."""
        parts = self.parts if upto is None else self.parts[:upto]
        nodes: list[Node] = []
        for index, part in enumerate(parts):
            nodes += part
            if index + 1 < len(parts):
                nodes.append(Text(self.marks[index].character))
        return nodes

    def text_of(self, index: int) -> str | None:
        """The text of a part that holds nothing but text; None if it holds brackets."""
        part = self.parts[index]
        if all(isinstance(node, Text) for node in part):
            return "".join(node.text for node in part if isinstance(node, Text))
        return None


@dataclass(frozen=True)
class Grammar:
    """What one dialect does with brackets, escapes and tags."""

    name: str
    unescape: Callable[[str], str]
    close: Callable[[Frame, str, Remarks], list[Node]]  # a closed frame and the whole text
    separators: dict[str, str]  # opening bracket -> the characters that split inside it


def scan(text: str, grammar: Grammar, remarks: Remarks) -> list[Node]:
    """Read a text as a tree; raises ParseError for unmatched brackets, ConversionError for BREAK and AND."""
    refuse_keywords(text, grammar.name)
    root = Frame("", 0)
    stack = [root]
    for token, offset in _tokens(text):
        top = stack[-1]
        if token in _CLOSING:
            stack.append(Frame(token, offset))
        elif token in (")", "]"):
            if _CLOSING.get(top.opening) != token:
                raise _unmatched(text, token, offset, top)
            stack.pop()
            for node in grammar.close(top, text, remarks):
                stack[-1].add(node)
        elif token in grammar.separators.get(top.opening, "") and len(token) == 1:
            top.split(Mark(token, offset))
        else:
            top.add(Text(_literal(token, grammar)))
    if len(stack) > 1:
        raise _unclosed(text, stack[-1], grammar.name)
    return root.joined()


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    return ((match[0], match.start()) for match in _TOKEN.finditer(text))


def _literal(token: str, grammar: Grammar) -> str:
    return grammar.unescape(token) if token[0] == "\\" else token


def refuse_keywords(text: str, name: str) -> None:
    """Raise ConversionError for BREAK and AND: they make several prompts of one."""
    found = _KEYWORD.search(text)
    if found is None:
        return
    instead = (
        "a DF-Prompt has one text per step; write a comma instead"
        if found[0] == "BREAK"
        else "a DF-Prompt is one prompt; write the parts as one text, or draw them as pictures of their own"
    )
    raise ConversionError(
        f"{name}'s {found[0]} at character {found.start()} cannot be expressed: {instead} "
        "(in lower case it is a word)"
    )


def _unmatched(text: str, token: str, offset: int, top: Frame) -> ParseError:
    inside = f"the {quote(top.opening)} at character {top.offset} is closed first" if top.opening else "text"
    return ParseError(
        f"{quote(token)} closes nothing",
        text=text,
        offset=offset,
        expected=inside,
        fixes=(Fix(offset, offset + 1, "\\" + token, "a literal bracket"),),
    )


def _unclosed(text: str, frame: Frame, name: str) -> ParseError:
    return ParseError(
        f"{quote(frame.opening)} is not closed; {name} would take control in this prompt for plain words",
        text=text,
        offset=frame.offset,
        expected=f"a {quote(_CLOSING[frame.opening])} for it",
        fixes=(Fix(frame.offset, frame.offset + 1, "\\" + frame.opening, "a literal bracket"),),
    )
