"""DF-Prompts that a user wrote to be compared, and the plain prompt each of them stands beside."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfprompt.errors import DFPromptWarning, InputError
from dfprompt.excerpt import quote
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.editing import words_outside
from dfprompt.prompt.reading import holds_spans, read_prompt
from dfprompt.storage import parse_lines, parse_object

if TYPE_CHECKING:
    from dfprompt.requests.compare import CompareRequest


@dataclass(frozen=True)
class Written:
    """A DF-Prompt somebody wrote, and the plain prompt it belongs to, where that was said."""

    prompt: DFPrompt
    plain: str | None = None


def read_base(text: str | DFPrompt, *, df: bool) -> DFPrompt:
    """The prompt to add modifiers to: words as they are, or (df) with the spans written in them.

    >>> str(read_base("a [sic] sign", df=False))
    'a \\\\[sic\\\\] sign'
    """
    if isinstance(text, DFPrompt):
        return text
    if not df and holds_spans(text):
        warnings.warn(
            f"the brackets of {quote(text)} are taken for words; keep them as control with --df",
            DFPromptWarning,
            stacklevel=3,
        )
    base = read_prompt(text, plain=not df)
    if not base.plain_text.strip():
        raise InputError("an empty prompt cannot be optimized; give plain words")
    return base


def read_written(request: CompareRequest) -> list[Written]:
    """Return what `--with` and `--with-file` say, in their dialect; raises InputError naming every line."""
    found = [_read(each, None, request) for each in request.written]
    return [*found, *(_read_file(request.with_file, request) if request.with_file is not None else ())]


def plain_of(written: Written, texts: Sequence[str]) -> str:
    """Return the plain prompt a DF-Prompt is drawn beside: the one named, or its own words without spans.

    Raises InputError where that is not clear, and for a prompt that would be compared with itself.

    >>> plain_of(Written(DFPrompt.from_plain("a cat, old")), ["a cat"])
    'a cat'
    """
    plain = _find_plain(written, texts)
    if DFPrompt.from_plain(plain.strip()) == written.prompt:
        raise InputError(
            f"{quote(plain)} would stand beside itself: put what you added in brackets, or give the plain "
            "words as TEXT"
        )
    return plain


def _find_plain(written: Written, texts: Sequence[str]) -> str:
    if written.plain is not None:
        return written.plain
    if len(texts) == 1:
        return texts[0]
    if texts:
        fitting = [text for text in texts if written.prompt.plain_text.startswith(text)]
        if not fitting:
            raise InputError(
                f"{quote(str(written.prompt))} begins with none of the prompts, so it is not clear what it "
                "stands beside; begin it with the plain words"
            )
        return max(fitting, key=len)
    plain = words_outside(written.prompt)
    if not plain:
        raise InputError(f"{quote(str(written.prompt))} has no plain words; give the plain prompt as TEXT")
    return plain


def _read(given: Any, plain: str | None, request: CompareRequest) -> Written:
    if isinstance(given, Written):
        return given
    if isinstance(given, DFPrompt):
        return Written(given, plain)
    prompt = read_prompt(
        given,
        dialect=request.dialect,
        plain=request.plain,
        strict=request.strict,
        num_inference_steps=request.num_inference_steps,
    )
    return Written(prompt, plain)


def _read_file(source: Path, request: CompareRequest) -> list[Written]:
    def read(line: str) -> Written:
        text, plain = _parts(line, json_lines=source.suffix == ".jsonl")
        return _read(text, plain, request)

    return parse_lines(source, read, none="no prompts")


def _parts(line: str, *, json_lines: bool) -> tuple[str, str | None]:
    if not json_lines:
        return line.strip(), None
    row = parse_object(line)
    if not isinstance(row.get("df_prompt"), str):
        raise InputError(f'expected {{"prompt": "...", "df_prompt": "..."}}, got {quote(line)}')
    plain = row.get("prompt")
    if plain is not None and not (isinstance(plain, str) and plain.strip()):
        raise InputError('"prompt" must be the plain words')
    return row["df_prompt"], plain
