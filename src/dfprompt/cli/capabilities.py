"""`dfprompt capabilities`: what each family of pipelines can do with a DF-Prompt."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from dfprompt.cli import console

if TYPE_CHECKING:
    from dfprompt.conditioning.capabilities import Capabilities

WIDTH = 100
_WHERE = {"prepare": "prepare, attach", "attach": "attach only", "none": "none there"}


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("capabilities")(capabilities)


def capabilities(
    pipeline: str = typer.Option(
        "",
        "--pipeline",
        metavar="X",
        help="mini, a family, a pipeline class, a folder or a hub id; by default every family.",
    ),
    classes: bool = typer.Option(
        False, "--classes", help="List every class of the installed diffusers that takes a prompt."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show what a pipeline can do with a DF-Prompt: ranges, weights, negatives, long prompts.

    \b
    Examples:
      dfprompt capabilities
      dfprompt capabilities --classes
      dfprompt capabilities --pipeline sdxl
      dfprompt capabilities --pipeline "models/my pipeline" --json
    """
    from dfprompt.conditioning.capabilities import FAMILIES
    from dfprompt.conditioning.identify import identify_pipeline
    from dfprompt.conditioning.reach import list_reach

    if classes:
        reach = list_reach()
        if as_json:
            console.write_json({"classes": [each._asdict() for each in reach]})
            return
        for each in reach:
            console.write(f"{each.how:8} {each.name}  {each.reason}"[:WIDTH])
        return
    families = [identify_pipeline(pipeline)] if pipeline else list(FAMILIES)
    if as_json:
        console.write_json({"pipeline": pipeline or None, "families": [each.to_json() for each in families]})
        return
    _print_table(families)


def _print_table(families: Sequence[Capabilities]) -> None:
    for number, family in enumerate(families):
        rows = _rows(family)
        width = max(map(len, rows))
        lines = [family.title]
        for name, value in rows.items():
            lines += textwrap.wrap(f"  {name:{width}}  {value}", WIDTH, subsequent_indent=" " * (width + 4))
        console.write(("\n" if number else "") + "\n".join(lines))


def _rows(family: Capabilities) -> dict[str, str]:
    rules = ", ".join(family.weightings)
    rows = {
        "family": family.family,
        "pipelines": ", ".join(family.pipelines),
        "ranges": _WHERE[family.ranges],
        "weights": f"by default {family.weighting}, of {rules}",
        "negative DF-Prompt": _WHERE[family.negative],
        "pooled vector": _WHERE[family.pooled],
        "absence": "delete, mask" if family.mask else "delete",
        "window": family.window,
        "long prompts": "chunk, truncate" if family.chunks else "truncate",
        "lockstep loop": "yes" if family.lockstep else "no",
    }
    return rows | ({"remark": family.remark} if family.remark else {})
