"""Which text-driven pipeline classes of the installed diffusers can be steered, and how that is known."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from dfprompt.conditioning.capabilities import find_capabilities

# The head of a class, or what the call of the class before it takes.
_CALL = re.compile(r"^class (?P<name>\w+)|^    def __call__\((?P<taken>.*?)\)(?: ->[^\n]*)?:$", re.M | re.S)
_PROMPT = re.compile(r"\bprompt\s*[:=,]")
_DRAWN = "drawn, equal to a switch done by hand"


class Reach(NamedTuple):
    """One class: `how` is special (an adapter of its own), generic, or no, with the `reason`.

    `weights` says by which rule weights act there by default, "" where they are refused.
    """

    name: str
    how: str
    weights: str
    reason: str


def list_reach() -> list[Reach]:
    """Return every class of the installed diffusers that takes a prompt, by name.

    What was found when the small pipelines of diffusers' own tests were drawn (benchmarks/zoo.py) is
    stored with the package; nothing is imported or drawn here.

    >>> [each.how for each in list_reach() if each.name == "FluxPipeline"]
    ['special']
    """
    tried = read_results()["classes"]
    return [_judge(name, tried.get(name)) for name in _text_driven()]


def read_results() -> dict[str, Any]:
    """Return the stored results: diffusers' version and, by class, what the checks came to."""
    text = files("dfprompt.conditioning").joinpath("reach.json").read_text(encoding="utf-8")
    results: dict[str, Any] = json.loads(text)
    return results


def describe_reach() -> str:
    """Return what docs/status.md says of every class: a Markdown table, made of `list_reach`."""
    reach = list_reach()
    counts = ", ".join(
        f"{sum(each.how == how for each in reach)} {how}" for how in ("special", "generic", "no")
    )
    drawn = sum(each.reason == _DRAWN for each in reach)
    lines = [f"{len(reach)} classes: {counts}; {drawn} of them drawn and equal to a switch done by hand."]
    lines += ["", "| class | how | weights | what was seen |", "|---|---|---|---|"]
    lines += [f"| {each.name} | {each.how} | {each.weights or '-'} | {each.reason} |" for each in reach]
    return "\n".join(lines) + "\n"


def _judge(name: str, found: dict[str, Any] | None) -> Reach:
    from dfprompt.conditioning.generic.weights import find_weighted  # the stored results need no torch

    verdict = None if found is None else found["verdict"]
    why = "" if found is None else " ".join(str(found.get("reason", "")).split())
    drawn = {
        "drawn": _DRAWN,
        "deaf": "drawn; the small random weights do not hear the text",
    }.get(str(verdict))
    family, weighted = find_capabilities([name]), find_weighted([name])
    if family is not None:
        return Reach(name, "special", family.weighting, drawn or "an adapter of its own")
    if found is not None and verdict in ("refused", "differs"):
        return Reach(name, "no", "", why or "differs from a switch done by hand")
    unknown = f"not tried here{': ' * bool(why)}{why}; checked in the first step of every run"
    return Reach(name, "generic", "attention" if weighted is not None else "", drawn or unknown)


@functools.cache
def _text_driven() -> tuple[str, ...]:
    """Return the classes whose call takes a prompt, read off the sources: to parse them takes seconds."""
    spec = importlib.util.find_spec("diffusers")
    roots = spec.submodule_search_locations if spec is not None else None
    found, name = set(), ""
    for root in roots or ():
        for file in (Path(root) / "pipelines").rglob("pipeline_*.py"):
            if "onnx" in file.name:
                continue
            for match in _CALL.finditer(file.read_text(encoding="utf-8")):
                name = match["name"] or name
                if match["taken"] and name.endswith("Pipeline") and _PROMPT.search(match["taken"]):
                    found.add(name)
    return tuple(sorted(found))
