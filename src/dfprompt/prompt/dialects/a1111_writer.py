r"""A DF-Prompt as AUTOMATIC1111's text, for its rules as `a1111.read` has them.

A backslash before any character but brackets vanishes there, so `A\ND`, `:\3` and `<lora\:x>` are words where
AND, a weight at the end or a network tag would be none. A `#` has no escape and is left out.
"""

from __future__ import annotations

import re
from decimal import Decimal

from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, Span
from dfprompt.prompt.dialects import a1111
from dfprompt.prompt.dialects.checking import check_written
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.emphasis import BREAK
from dfprompt.prompt.dialects.stretches import Stretch, as_said, stretches_of
from dfprompt.prompt.exact import format_decimal, share
from dfprompt.prompt.tags import split_tags

_ESCAPED = str.maketrans({character: "\\" + character for character in "\\()[]:|"})
_TOP_ESCAPED = str.maketrans({character: "\\" + character for character in "\\()[]|"})
_KEYWORD = re.compile(r"\b(AN|BREA)(D|K)\b")
_WEIGHT_AT_END = re.compile(r":\s*([-+]?[0-9.])[0-9.]*\s*$")
_LONGEST_WEIGHT = 80


def write(prompt: DFPrompt, steps: int | None, remarks: Remarks) -> str:
    """Write A1111's text, for a run of that many steps if they are given."""
    out: list[str] = []
    said: list[str | Span] = []
    follows_schedule = False  # a colon right behind one makes A1111's grammar ambiguous; tags are no words
    for piece, stretches in stretches_of(prompt, steps, remarks):
        if isinstance(piece, Span) and piece.tag:
            out.append(_tag(piece, stretches, steps, remarks))
        else:
            text = _without_comments(piece if isinstance(piece, str) else piece.text, remarks)
            for stretch in stretches:
                words = _stretch(text, stretch, steps, remarks)
                out.append(f"\\{words}" if follows_schedule and words[:1] == ":" else words)
                if words:  # brackets of emphasis do not part the two
                    follows_schedule = words[0] == "[" or (words[0] == "(" and follows_schedule)
                said += as_said(text, *_shares(stretch, steps), stretch.weight)
    text = "".join(out)
    found = _WEIGHT_AT_END.search(text, max(0, len(text) - _LONGEST_WEIGHT))
    if found:
        text = f"{text[: found.start(1)]}\\{text[found.start(1) :]}"
    check_written(prompt, said, text, a1111.read, steps, "A1111", remarks)
    return text


def _tag(span: Span, stretches: tuple[Stretch, ...], steps: int | None, remarks: Remarks) -> str:
    if span.text == BREAK:
        return "".join(_schedule("BREAK", " BREAK ", stretch, steps, remarks) for stretch in stretches)
    if not span.is_neutral:
        remarks.lose(f"A1111 loads {quote(span.text)} for the whole run, whatever its range and weight here")
    return span.text


def _without_comments(text: str, remarks: Remarks) -> str:
    if "#" in text:
        remarks.lose('"#" hides the rest of a line in A1111 and has no escape; it is left out')
    return text.replace("#", "")


def _shares(stretch: Stretch, steps: int | None) -> tuple[Decimal, Decimal]:
    """Where a stretch begins and ends as A1111 can say it: what switches after one step does so after two."""
    begin, end = stretch.shares(steps)
    if steps is None:
        return begin, end
    first, second = share(1, steps), share(min(2, steps), steps)
    return (second if begin == first < 1 else begin), (second if end == first < 1 else end)


def _stretch(text: str, stretch: Stretch, steps: int | None, remarks: Remarks) -> str:
    plain = stretch.weight == 1 and not _is_scheduled(stretch, steps)
    words = _KEYWORD.sub(r"\1\\\2", text.translate(_TOP_ESCAPED if plain else _ESCAPED))
    if plain:
        pieces = split_tags(words)
        words = "".join(piece.replace(":", "\\:", 1) if at % 2 else piece for at, piece in enumerate(pieces))
    if stretch.weight != 1:
        words = f"({words}:{format_decimal(stretch.weight)})"
    return _schedule(text, words, stretch, steps, remarks)


def _is_scheduled(stretch: Stretch, steps: int | None) -> bool:
    if steps is None:
        return stretch.begin > 0 or stretch.end < 1
    return (stretch.first, stretch.last) != (0, steps - 1)


def _schedule(text: str, words: str, stretch: Stretch, steps: int | None, remarks: Remarks) -> str:
    """Put the brackets of a schedule around words as written."""
    after, until = _switches(text, stretch, steps, remarks)
    if after is not None:
        words = f"[{words}:{after}]"
    return words if until is None else f"[{words}::{until}]"


def _switches(
    text: str, stretch: Stretch, steps: int | None, remarks: Remarks
) -> tuple[str | None, str | None]:
    """What to write for `from` and `until`; None where the stretch reaches the edge of the run."""
    if steps is None:
        if stretch.begin > 0 or stretch.end < 1:
            remarks.assume(
                "shares are written as they are; A1111 runs a first text one step longer than its share"
            )
        after = None if stretch.begin == 0 else _share(stretch.begin)
        return after, None if stretch.end == 1 else _share(stretch.end)
    assert stretch.first is not None
    assert stretch.last is not None
    after = until = None
    if stretch.first > 0:
        after = _when(text, stretch.first, stretch.begin, steps, remarks)
    if stretch.last < steps - 1:
        until = _when(text, stretch.last + 1, stretch.end, steps, remarks)
    return after, until


def _when(text: str, border: int, written: Decimal, steps: int, remarks: Remarks) -> str:
    """How A1111 says "switch before this step": its share where that truncates right, else a step."""
    if border == 1:
        remarks.lose(
            f"{quote(text.strip())} switches after one step; A1111 cannot say that and switches after two"
        )
    k = max(1, border - 1)
    return _share(written) if int(float(written) * steps) == k else str(k)


def _share(share_done: Decimal) -> str:
    written = format_decimal(share_done)
    return written if "." in written else written + ".0"
