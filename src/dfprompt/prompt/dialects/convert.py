"""Dialects by name: import to a DF-Prompt, export from one, convert from one to another."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.clocks import Clock, check_steps
from dfprompt.prompt.dialects import a1111, a1111_writer, comfyui, comfyui_writer, compel, pae, swarmui
from dfprompt.prompt.dialects.comfyui_clock import Sampling
from dfprompt.prompt.dialects.conversion import Conversion, Exported, Imported, Remarks
from dfprompt.prompt.formatter import format_prompt
from dfprompt.prompt.parser import parse_prompt

Import = Callable[[str, int | None, Remarks], DFPrompt]
Export = Callable[[DFPrompt, int | None, Remarks], str]

_IMPORT: dict[str, Import] = {
    "native": lambda text, steps, remarks: parse_prompt(text, num_inference_steps=steps),
    "a1111": a1111.read,
    "comfyui": comfyui.read,
    "swarmui": swarmui.read,
    "compel": compel.read,
    "pae": pae.read,
}
_EXPORT: dict[str, Export] = {
    "native": lambda prompt, steps, remarks: format_prompt(prompt),
    "a1111": a1111_writer.write,
    "comfyui": comfyui_writer.write,
    "swarmui": swarmui.write,
    "compel": compel.write,
    "pae": pae.write,
}
DIALECTS = tuple(_IMPORT)


def import_prompt(
    text: str,
    dialect: str,
    num_inference_steps: int | None = None,
    *,
    second_pass: bool = False,
    clock: Clock = "steps",
    scheduler: str | None = None,
) -> Imported:
    """Read another tool's prompt text as a DF-Prompt.

    `num_inference_steps` is the length of the run the text was written for: A1111 counts steps, and
    `second_pass` reads what its second ("hires") pass of as many steps does. ComfyUI counts sampling time:
    with a `scheduler` of its the switches fall on its steps, and `clock="timestep"` keeps its count. Raises
    ParseError where the text is not of the dialect, ConversionError for what no DF-Prompt can say.

    >>> print(import_prompt("a cat, [film grain:0.5]", "a1111").prompt)
    a cat, [film grain:late]
    """
    _check(dialect, num_inference_steps)
    remarks = Remarks()
    if second_pass and dialect != "a1111":
        raise InputError(f"{dialect} has no second pass; only the dialect a1111 writes for one")
    if clock != "steps" or scheduler is not None:
        prompt = comfyui.read_for(text, _sampling(dialect, num_inference_steps, clock, scheduler), remarks)
    elif second_pass:
        prompt = a1111.read(text, num_inference_steps, remarks, second_pass=True)
    else:
        prompt = _IMPORT[dialect](text, num_inference_steps, remarks)
    return Imported(prompt, tuple(remarks.assumed), tuple(remarks.lost))


def export_prompt(
    prompt: DFPrompt,
    dialect: str,
    num_inference_steps: int | None = None,
    *,
    clock: Clock = "steps",
    scheduler: str | None = None,
) -> Exported:
    """Write a DF-Prompt as another tool's text; for a run of that many steps, where it is given.

    For ComfyUI, `clock` is what the prompt's time left counts, and `scheduler` the one it is drawn with.

    >>> export_prompt(parse_prompt("a cat, [film grain:late:1.25]"), "comfyui").text
    'a cat, [(film grain:1.25):0.5]'
    """
    _check(dialect, num_inference_steps)
    remarks = Remarks()
    if clock != "steps" or scheduler is not None:
        run = _sampling(dialect, num_inference_steps, clock, scheduler)
        text = comfyui_writer.write_for(prompt, run, remarks)
    else:
        text = _EXPORT[dialect](prompt, num_inference_steps, remarks)
    return Exported(text, tuple(remarks.assumed), tuple(remarks.lost))


def convert_prompt(
    text: str,
    source: str,
    target: str,
    num_inference_steps: int | None = None,
    *,
    clock: Clock = "steps",
    scheduler: str | None = None,
) -> Conversion:
    """Convert a prompt from one dialect to another: native, a1111, swarmui, comfyui, compel or pae.

    `clock` and `scheduler` are for ComfyUI, as in `import_prompt` and `export_prompt`.
    Raises InputError for an unknown dialect, ParseError and ConversionError as `import_prompt` does.

    >>> convert_prompt("a cat, [(film grain:1.25):0.5]", "a1111", "native").text
    'a cat, [film grain:late:1.25]'
    """
    _check(target, num_inference_steps)
    if "comfyui" not in (source, target):
        _sampling(target, num_inference_steps, clock, scheduler)
    if clock == "timestep" and {source, target} - {"native", "comfyui"}:
        raise InputError("the clock timestep is for a DF-Prompt to or from ComfyUI; other tools count steps")
    timing: dict[str, Any] = {"clock": clock, "scheduler": scheduler}
    read = import_prompt(text, source, num_inference_steps, **(timing if source == "comfyui" else {}))
    written = export_prompt(
        read.prompt, target, num_inference_steps, **(timing if target == "comfyui" else {})
    )
    return Conversion(
        written.text,
        read.prompt,
        tuple(dict.fromkeys(read.assumed + written.assumed)),
        tuple(dict.fromkeys(read.lost + written.lost)),
    )


def _sampling(dialect: str, steps: int | None, clock: Clock, scheduler: str | None) -> Sampling:
    """The run for ComfyUI; raises InputError where another dialect is given a clock or a scheduler."""
    if dialect != "comfyui" and (clock != "steps" or scheduler is not None):
        raise InputError(f"a clock and a scheduler are for the dialect comfyui; {dialect} counts steps")
    return Sampling.of(steps, clock, scheduler)


def _check(dialect: str, steps: int | None) -> None:
    if dialect not in DIALECTS:
        close = difflib.get_close_matches(str(dialect), DIALECTS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"{quote(dialect)} is no dialect; {hint}they are {', '.join(DIALECTS)}")
    if steps is not None:
        check_steps(steps)  # refuses numbers of steps that no run can have
