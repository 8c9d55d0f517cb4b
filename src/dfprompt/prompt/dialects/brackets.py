"""Brackets with separators inside, read in one pass; one that fits no form makes words of all around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest

from dfprompt.prompt.dialects.overlay import Group, Node, Words


@dataclass
class Frame:
    """An open bracket: what stands between its separators."""

    opening: str
    offset: int
    parts: list[list[Node]] = field(default_factory=lambda: [[]])
    marks: list[Words] = field(default_factory=list)

    def spelled(self) -> list[Node]:
        """The frame as words: its bracket, its parts and its separators."""
        nodes: list[Node] = [Words(self.offset, self.opening)] if self.opening else []
        for part, mark in zip_longest(self.parts, self.marks):
            nodes += part
            nodes += [mark] if mark else []
        return nodes


class Brackets:
    """The open brackets of a pass, outermost first; the first entry is the text around them."""

    def __init__(self) -> None:
        self.stack = [Frame("", 0)]

    def add(self, node: Node) -> None:
        """Put a node into the innermost open bracket."""
        self.stack[-1].parts[-1].append(node)

    def open(self, bracket: str, offset: int) -> None:
        """Open a bracket."""
        self.stack.append(Frame(bracket, offset))

    def split(self, mark: Words) -> None:
        """End a part of the innermost bracket."""
        self.stack[-1].marks.append(mark)
        self.stack[-1].parts.append([])

    def fall(self) -> bool:
        """Make words of every open bracket; whether none of them held a `|`."""
        barred = False
        while len(self.stack) > 1:
            frame = self.stack.pop()
            barred = barred or any(mark.text == "|" for mark in frame.marks)
            self.add(Group(frame.spelled()))
        return not barred


def spelling(nodes: list[Node]) -> str | None:
    """Return the text of nodes that are all words; None where anything else stands among them."""
    words = [node.text for node in nodes if isinstance(node, Words) and node.text]
    return "".join(words) if len(words) == len(nodes) else None
