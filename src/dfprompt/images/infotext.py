"""The text AUTOMATIC1111 and Forge put into a picture: prompt, negative prompt, one line of settings.

The form is that of A1111 1.10: the last line holds `Name: value` with commas between, a value with a comma, a
colon or a line break in JSON's quotation marks; a line that begins with `Negative prompt:` ends the prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NEGATIVE = "Negative prompt:"
_SETTING = re.compile(r'\s*([A-Za-z][\w /-]{0,99}):\s*("(?:\\.|[^"\\]){0,4000}"|[^,]{0,4000})(?:,|$)')
_FEWEST, _MOST = 3, 200  # A1111 takes a last line with fewer than three settings for a line of the prompt
_LONGEST_LINE = 50_000
_QUOTED = re.compile(r'[,:\n"]')


@dataclass(frozen=True)
class Infotext:
    """A text as its program wrote it: prompts in A1111's syntax, settings by A1111's names."""

    prompt: str
    negative: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def format_infotext(text: Infotext) -> str:
    r"""Write the text; line breaks of the prompts become spaces, which is what they are to an encoder.

    >>> format_infotext(Infotext("a cat", "ugly", {"Steps": "20", "Seed": "1", "Note": "a, b"}))
    'a cat\nNegative prompt: ugly\nSteps: 20, Seed: 1, Note: "a, b"'
    """
    prompt = " ".join(text.prompt.splitlines())
    if prompt.lstrip().startswith(_NEGATIVE):
        prompt = "\\" + prompt.lstrip()  # a backslash before a letter vanishes there
    lines = [prompt, *([f"{_NEGATIVE} {' '.join(text.negative.splitlines())}"] if text.negative else [])]
    settings = (f"{name}: {_quote(value)}" for name, value in text.settings.items())
    return "\n".join([*lines, ", ".join(settings)])


def parse_infotext(text: str) -> Infotext:
    r"""Read the text of a program; whatever it holds is a result, in time linear in its length.

    >>> parse_infotext("a cat\nNegative prompt: ugly\nSteps: 20, Seed: 1, Note: \"a, b\"").settings["Note"]
    'a, b'
    """
    *lines, last = text.strip().split("\n")
    settings = _read_settings(last)
    if len(settings) < _FEWEST:
        lines, settings = [*lines, last], {}
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in map(str.strip, lines):
        if line.startswith(_NEGATIVE):
            into, line = negative, line.removeprefix(_NEGATIVE).strip()
        into.append(line)
    return Infotext("\n".join(prompt), "\n".join(negative), settings)


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if _QUOTED.search(value) else value


def _read_settings(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(line) <= _LONGEST_LINE and len(found) < _MOST:
        match = _SETTING.match(line, at)
        if match is not None:
            found[match[1].strip()] = _unquote(match[2].strip())
            at = match.end()
        else:
            comma = line.find(",", at)
            at = len(line) if comma < 0 else comma + 1
    return found


def _unquote(value: str) -> str:
    try:
        found = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return found if isinstance(found, str) else value
