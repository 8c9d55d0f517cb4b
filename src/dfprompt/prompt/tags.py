"""Network tags of other tools, `<lora:NAME:0.8>`: opaque tokens that load something, never words.

A tag is any `<WORD:...>` up to its first `>`, the shape AUTOMATIC1111, SwarmUI and prompt-control take
out of a prompt before they read the rest. In a DF-Prompt a tag is a span of its own; in plain pieces
the same characters are words, written `<lora\\:NAME:0.8>`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from dfprompt.excerpt import quote

_OPENER = re.compile(r"<\w+:")
# What may stand unescaped in native text: nothing that a bracket or an arrow (`->`) is made of.
BARE_TAG = re.compile(r"<\w+:[^<>\[\]\\]*[^<>\[\]\\-]>")
_NUMBER = re.compile(r"\s*[+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})\s*")
_ADAPTERS = frozenset({"lora", "lyco", "locon"})
_EXPANDED = frozenset({"random", "wildcard", "wc"})
_OTHER_PARTS = frozenset({"segment", "region", "object"})


class NetworkTag(NamedTuple):
    """One tag: what it loads (`lora`, `hypernet`, `emb`, ...), the name, the strength (None: not one number).

    `text` is the tag as written; nothing else is ever printed for it.
    """

    kind: str
    name: str
    weight: Decimal | None
    text: str

    @property
    def is_adapter(self) -> bool:
        """Whether it names a LoRA or one of its kin, which pipelines load as adapters."""
        return self.kind.casefold() in _ADAPTERS

    @property
    def advice(self) -> str:
        """How to get here what the tag asks for there."""
        if self.is_adapter:
            weight = "" if self.weight is None else f":{self.weight}"
            return f"load the network with --lora FILE{weight}"
        if self.kind.casefold() in ("alternate", "alt"):
            return "the dialect swarmui reads it"
        if self.kind.casefold() in _EXPANDED:
            return "SwarmUI fills it in by itself before it draws; expand it first"
        if self.kind.casefold() in _OTHER_PARTS:
            return "in SwarmUI it begins a text for another part or pass; draw that one by itself"
        return "load what it names with the pipeline"


def read_tag(text: str) -> NetworkTag | None:
    """Return the tag that a text consists of; None for any other text.

    A tag without a number has strength 1, as its tools have it.

    >>> read_tag("<lora:fur (v2):0.8>")
    NetworkTag(kind='lora', name='fur (v2)', weight=Decimal('0.8'), text='<lora:fur (v2):0.8>')
    >>> read_tag("<lora:fur:te=0.5>").weight, read_tag("a <lora:fur>")
    (None, None)
    """
    opener = _OPENER.match(text)
    if opener is None or text.find(">") != len(text) - 1 or opener.end() == len(text) - 1:
        return None
    name, *strengths = text[opener.end() : -1].split(":")
    if not strengths:
        weight: Decimal | None = Decimal(1)
    else:
        weight = Decimal(strengths[0].strip()) if _NUMBER.fullmatch(strengths[0]) else None
    return NetworkTag(opener[0][1:-1], name, weight, text)


def split_tags(text: str) -> list[str]:
    """Split a text into words and tags by turns: words at even places (maybe empty), tags at odd ones.

    >>> split_tags("a cat <lora:fur:0.8>, sharp")
    ['a cat ', '<lora:fur:0.8>', ', sharp']
    """
    pieces, copied, at = [], 0, 0
    # By hand: a pattern would look for the closing > from every opener, which is not linear.
    while (opener := _OPENER.search(text, at)) and (end := text.find(">", opener.end())) >= 0:
        at = opener.end()
        if end > at:  # <lora:> names nothing
            pieces += [text[copied : opener.start()], text[opener.start() : end + 1]]
            copied = at = end + 1
    return [*pieces, text[copied:]]


def explain_tag(tag: NetworkTag) -> str:
    """Return the sentence that says a tag is left out of what is encoded, and what to do.

    >>> explain_tag(read_tag("<lora:fur:0.8>"))
    'the network tag "<lora:fur:0.8>" is not words and is left out; load the network with --lora FILE:0.8'
    """
    return f"the network tag {quote(tag.text)} is not words and is left out; {tag.advice}"
