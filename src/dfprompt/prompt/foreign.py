"""What other tools would read in a text: control that the language does not see, and its corrections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from dfprompt.errors import ConversionError, Fix, ParseError

if TYPE_CHECKING:
    from dfprompt.prompt.ast import DFPrompt

# What nobody writes for another tool: the language's own ranges, and the published code's.
_OWN = re.compile(r":\s*(?:early|late|full)\b|->|→|↦|[0-9.]\s*[-–—]\s*[0-9.]")
_EMPHASIS = re.compile(r"\([^()]*:\s*[+-]?[.0-9]+\s*\)")
_MARKS = re.compile(r"[()\[#\\<+-]|:\s*[+-]?[0-9.]+\s*$|\b(?:COUPLE|AVG|CAT)\b")
_METHOD = re.compile(r"\.(?:swap|attend|blend|and|add)\(|(?:use|with)Lora\(")  # nobody's but compel's
_FUNCTION = re.compile(r"\b(?:STYLE|AVG|TE|SHUFFLE|FILL|MASK|FEATHER|NOISE|ATTN)\(")  # prompt-control's
_SWARM = re.compile(r"<(?:fromto\[|alternate:|alt:)", re.IGNORECASE)
_LONGEST = 5_000  # a longer text is nobody's slip, and reading it in every dialect costs
_TOOLS = {"a1111": "AUTOMATIC1111", "comfyui": "ComfyUI", "compel": "compel", "swarmui": "SwarmUI"}
_SCHEDULING = ("a1111", "comfyui")


class Foreign(NamedTuple):
    """A tool that reads control in a text; `prompt` is None where no DF-Prompt could say it."""

    tool: str
    dialect: str
    prompt: DFPrompt | None
    reason: str = ""


def find_control(text: str) -> Foreign | None:
    """Return the first tool that would read control in a text of words alone; None if every tool reads words.

    >>> find_control("a (real) cat").dialect, find_control("a cat++").dialect, find_control("a cat")
    ('a1111', 'compel', None)
    """
    if len(text) > _LONGEST or _MARKS.search(text) is None:
        return None
    order = ("compel", *_TOOLS) if _METHOD.search(text) else tuple(_TOOLS)
    order = ("comfyui", *order) if _FUNCTION.search(text) else order
    for dialect in ("swarmui", *order) if _SWARM.search(text) else order:
        found = _read(text, dialect)
        prompt = found.prompt
        if prompt is None or not prompt.is_plain or _letters(prompt.plain_text) != _letters(text):
            return found
    return None


def guess_dialect(text: str) -> str:
    """Return the dialect a text is most likely written in: the first that reads all its control.

    >>> [guess_dialect(text) for text in ("a [b:late]", "[b:0.5]", "[b:0.2,0.5]", "b++", "[b:0-0.5:1]")]
    ['native', 'a1111', 'comfyui', 'compel', 'pae']
    """
    if _SWARM.search(text):
        return "swarmui"
    if _METHOD.search(text) or re.search(r"\w(?:\+\+|--)(?!\w)|[)\"][0-9.]", text):
        return "compel"
    if re.search(r":\s*[0-9.]+-[0-9.]+\s*:", text):
        return "pae"
    if _OWN.search(text):
        return "native"
    for dialect in _SCHEDULING:
        found = _read(text, dialect, whole=True)
        if found.prompt is not None or "--steps" in found.reason:
            return dialect
    return "native" if find_control(text) is None else "a1111"


def _read(text: str, dialect: str, *, whole: bool = False) -> Foreign:
    from dfprompt.prompt.dialects import a1111, comfyui, compel, swarmui  # these read prompts, too
    from dfprompt.prompt.dialects.conversion import Remarks

    readers = {"a1111": a1111.read, "comfyui": comfyui.read, "compel": compel.read, "swarmui": swarmui.read}
    remarks, tool = Remarks(), _TOOLS[dialect]
    try:
        if not whole or dialect == "swarmui":
            return Foreign(tool, dialect, readers[dialect](text, None, remarks))
        reader = a1111 if dialect == "a1111" else comfyui
        prompt = reader.read(text, None, remarks, whole=True)
    except ConversionError as error:
        return Foreign(tool, dialect, None, str(error))
    after = any("second pass" in sentence or "whole run" in sentence for sentence in remarks.assumed)
    return Foreign(tool, dialect, None if after or prompt.is_plain else prompt)


def _letters(text: str) -> str:
    return "".join(text.split())


def keep_meaning(error: ParseError) -> ParseError:
    """Return an error whose corrections mean what a tool meant, if a tool reads the whole text.

    Otherwise the same error, without corrections that would make words of emphasis.
    """
    text = error.text
    if len(text) > _LONGEST:
        return error
    if _OWN.search(text) is None:
        tried = ("swarmui",) if _SWARM.search(text) else _SCHEDULING
        found = [_read(text, dialect, whole=True) for dialect in tried]
        meant = {each.prompt: each for each in reversed(found) if each.prompt is not None}
        needs_steps = next((each for each in found if "--steps" in each.reason), None)
        if needs_steps is not None:
            tool, dialect, *_ = needs_steps
            advice = f"{tool} reads this with the steps named: dialect {dialect}, --steps 20"
            return _with(error, tuple(_sound(error)), f"{error.advice}; {advice}" if error.advice else advice)
        if meant:
            return _with(error, tuple(_conversions(text, list(meant.values())[::-1])), None)
    return _with(error, tuple(_sound(error)), error.advice)


def _conversions(text: str, meant: list[Foreign]) -> Iterator[Fix]:
    for each in meant:
        yield Fix(0, len(text), str(each.prompt), f"as {each.tool} reads it: dialect {each.dialect}")


def _sound(error: ParseError) -> Iterator[Fix]:
    """The corrections that leave no new emphasis behind as words."""
    for fix in error.fixes:
        if _EMPHASIS.search(fix.replacement.replace("\\:", ":")) is None:
            yield fix


def _with(error: ParseError, fixes: tuple[Fix, ...], advice: str | None) -> ParseError:
    if not fixes and not advice:
        advice = "write \\[ and \\] for brackets that are words"
    return ParseError(
        error.problem,
        text=error.text,
        offset=error.offset,
        expected=error.expected,
        suggestion=advice,
        length=error.length,
        fixes=fixes,
    )
