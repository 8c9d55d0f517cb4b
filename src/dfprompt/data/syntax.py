"""Other tools' syntax taken out of prompts, words kept: emphasis, weights, tags, flags.

A policy that learnt `(x:1.2)` or `--ar 16:9` would write them. What is taken out, and what of it stays:

    (x) ((x)) (x:1.2) [x] {x}     x          <lora:name:0.8> <hypernet:...>   nothing
    x++ x-- (x)1.2 x::2           x          --ar 16:9 --v 5 --no hands       nothing
    BREAK, AND between words      a comma    embedding:name __x__ [a:b:0.5]   nothing, nothing, a b
"""

from __future__ import annotations

import re

_NETWORK = re.compile(r"<[^<>\s:]+:[^<>]*>")
_FLAG = re.compile(r"(?:^|\s)--[a-zA-Z]+(?:[ =][^\s,-][^,-]*?)?(?=\s--|[,]|$)")
_EMBEDDING = re.compile(r"\bembedding:[^\s,]+")
_WILDCARD = re.compile(r"__[\w/-]+__")
_KEYWORD = re.compile(r"\s*\b(?:BREAK|AND)\b\s*")
_EMPHASIS = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]")
_AFTER = re.compile(r"(?<=[\w)\]}])(?:\+{1,}|-{2,})(?=[\s,.)\]}]|$)|(?<=[)\]}])\d+(?:\.\d+)?(?=[\s,]|$)")
_PARTED = re.compile(r"::-?\d*(?:\.\d+)?")
_NUMBER = re.compile(r"-?\d*\.?\d+")
_ESCAPE = re.compile(r"\\([()\[\]{}\\])")
_STRAY = re.compile(r"[()\[\]{}<>|\\]")
_DEPTH = 12  # deeper brackets are no emphasis; what is left of them is taken out as stray
_COMMAS = re.compile(r"\s*,(?:\s*,)+\s*")


def strip_syntax(text: str) -> str:
    """The words of a prompt without other tools' syntax.

    >>> strip_syntax("(a red cat:1.2), <lora:snow:0.8>, [[blurry]], film grain++ --ar 16:9")
    'a red cat, blurry, film grain'
    """
    text = _ESCAPE.sub(lambda match: match[1], " ".join(text.split()))
    for pattern in (_NETWORK, _EMBEDDING, _WILDCARD, _FLAG):
        text = pattern.sub("", text)
    text = _KEYWORD.sub(", ", text)
    for _ in range(_DEPTH):  # from the innermost brackets outwards
        before, text = text, _EMPHASIS.sub(lambda match: _inner(match[1]), _AFTER.sub("", text))
        if text == before:
            break
    text = _STRAY.sub("", _PARTED.sub("", text))
    return _tidy(_COMMAS.sub(", ", text))


def _inner(words: str) -> str:
    """What a bracket's words are: without weights and steps, alternatives side by side."""
    fields = [part for part in re.split(r"[:|]", words) if part.strip()]
    kept = [part for part in fields if not _NUMBER.fullmatch(part.strip())]
    return " ".join(kept) if len(kept) < len(fields) or "|" in words else words


def _tidy(text: str) -> str:
    text = re.sub(r"\s+([,.;])", r"\1", " ".join(text.split()))
    return text.strip(" ,;")
