r"""Escapes of the text form: `\[ \] \: \\` are literal, a backslash before anything else is itself."""

from __future__ import annotations

import re

from dfprompt.prompt.tags import BARE_TAG

ESCAPABLE = frozenset("[]:\\")

# One character class each: nothing to backtrack into, so both are linear.
_IN_PLAIN = re.compile(r"[\[\]\\]")
_IN_FIELD = re.compile(r"[\[\]\\:]")


def escape_plain(text: str) -> str:
    r"""Escape text that stands outside brackets.

    >>> print(escape_plain("[sic] at 12:30"))
    \[sic\] at 12:30
    >>> print(escape_plain("words, not a tag: <lora:fur:1>"))
    words, not a tag: <lora\:fur:1>
    """
    escaped = _IN_PLAIN.sub(_escape, text)
    return BARE_TAG.sub(_escape_tag, escaped) if "<" in escaped else escaped


def escape_field(text: str) -> str:
    r"""Escape text that stands in the first field of a bracket, where a colon would end it.

    >>> print(escape_field("12:30"))
    12\:30
    """
    return _IN_FIELD.sub(_escape, text)


def _escape_tag(match: re.Match[str]) -> str:
    return match[0].replace(":", "\\:", 1)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character != "\\":
        return "\\" + character
    following = match.string[match.end() : match.end() + 1]
    # A lone backslash before an ordinary character already means itself: `\(` stays readable.
    return "\\\\" if following in ESCAPABLE or not following else "\\"
