"""`dfprompt convert`: a prompt from one tool's writing to another's, with what was assumed and lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.cli import console
from dfprompt.errors import InputError
from dfprompt.prompt.dialects.comfyui_clock import SCHEDULERS

if TYPE_CHECKING:
    from dfprompt.prompt.dialects import Conversion

_DIALECTS = "native, a1111 (1.10, Forge), comfyui (prompt-control 3.0), swarmui, compel (2.5) or pae"


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("convert")(convert)


def convert(
    text: str = typer.Argument(..., metavar="TEXT", help="The prompt, or - for one per line of stdin."),
    source: str = typer.Option(
        "",
        "--from",
        metavar="D",
        show_default=False,
        help=f"How TEXT is written: {_DIALECTS}; else it is guessed.",
    ),
    target: str = typer.Option("native", "--to", metavar="D", help=f"How to write it: {_DIALECTS}."),
    steps: int | None = typer.Option(
        None, "--steps", metavar="N", help="The number of steps of the run; A1111 counts in steps."
    ),
    nodes: bool = typer.Option(
        False,
        "--nodes",
        help="For ComfyUI's core nodes: texts with their percents, as JSON (with --steps).",
    ),
    clock: str = typer.Option(
        "steps", "--clock", metavar="CLOCK", help="ComfyUI: what time left counts, steps or timestep."
    ),
    scheduler: str = typer.Option(
        "", "--scheduler", metavar="NAME", help=f"ComfyUI: its scheduler, {', '.join(SCHEDULERS)}."
    ),
    strict: bool = typer.Option(False, "--strict", help="Make anything lost an error."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Convert prompt control between tools; what was assumed or lost is named on stderr.

    \b
    Examples:
      dfprompt convert "a horse, [(anime style:1.5)::0.5]" --from a1111 --steps 20
      dfprompt convert "a horse, [anime style:early:1.5]" --from native --to comfyui
      dfprompt convert "a horse, [snow:late]" --from native --nodes --steps 10
      dfprompt convert "a horse, [snow:late]" --to comfyui --steps 20 --scheduler karras
    """

    timing: dict[str, Any] = {"clock": clock, "scheduler": scheduler or None}

    def work(line: str) -> Conversion:
        from dfprompt.errors import ConversionError
        from dfprompt.prompt.dialects import convert_prompt

        done = convert_prompt(line, source or _guess(line), target, steps, **timing)
        if strict and done.lost:
            raise ConversionError("; ".join(done.lost))
        return done

    if nodes:
        _print_nodes(text, source, steps, timing)
    elif text == "-":
        console.for_each_line(lambda line: work(line).to_json())
    elif as_json:
        console.write_json(work(text).to_json())
    else:
        _print(work(text))


def _guess(line: str) -> str:
    from dfprompt.prompt.foreign import guess_dialect

    guessed = guess_dialect(line)
    console.note(f"assumed: the text is written for the dialect {guessed}; --from says otherwise")
    return guessed


def _print(done: Conversion) -> None:
    console.write_result(done.text)
    for kind, remarks in (("assumed", done.assumed), ("lost", done.lost)):
        for remark in remarks:
            console.note(f"{kind}: {remark}")


def _print_nodes(text: str, source: str, steps: int | None, timing: Mapping[str, Any]) -> None:
    from dfprompt.prompt.dialects import export_comfyui_nodes, import_prompt

    if steps is None:
        raise InputError("--nodes needs the number of steps: --steps 20")

    def work(line: str) -> Mapping[str, Any]:
        prompt = import_prompt(line, source or _guess(line), steps).prompt
        rows = export_comfyui_nodes(prompt, steps, **timing)
        return {"nodes": [{"text": t, "start_percent": start, "end_percent": end} for t, start, end in rows]}

    if text == "-":
        console.for_each_line(work)
    else:
        console.write_json(work(text))
