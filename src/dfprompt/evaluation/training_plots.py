"""Learning curves of a training: one PNG of panels and one page, from the rows that it logged."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfprompt.evaluation.pages import render_page
from dfprompt.evaluation.plotting import check_plotting
from dfprompt.table import Table, format_number, number

_COLUMNS = 3
_SMOOTHED_FROM = 30  # rows; below, every point is shown as it is
_COLOURS = ("#2a6fbb", "#c8553d", "#3a9d7c", "#8a4f9e", "#c08a2b", "#4fa8b8", "#b0477a", "#8b919b")
_EVENT = "#c8553d"
# Title, what the axis counts, and the rows' keys; a key that ends in / stands for all that begin so.
_PANELS = (
    ("loss", "nats", ("loss", "validation_loss")),
    ("reward", "reward", ("reward", "plain_reward", "validation_reward")),
    ("terms of the reward", "reward", ("terms/",)),
    ("fidelity and other judges", "score", ("scores/judge/",)),
    ("meaning against the plain pictures", "score", ("validation_meaning", "watch/meaning_fall")),
    ("divergence from stage 1", "nats", ("kl/",)),
    ("entropy", "nats", ("entropy/",)),
    ("variety", "share", ("distinct_modifiers", "watch/similarity", "left_alone", "default_controls")),
    ("modifiers of a prompt", "number", ("modifiers",)),
    ("different modifiers in a window", "number", ("watch/distinct",)),
    ("gates that act", "share", ("binds/",)),
    ("effect ranges of the samples", "share", ("range ",)),
    ("weights of the samples", "mean", ("mean weight",)),
    ("gradient", "norm", ("grad_norm", "grad_norm/")),
    ("learning rate", "", ("learning_rate",)),
)


@dataclass(frozen=True)
class Curves:
    """What a training logged: numbers by key, each (steps, values), and what its watchdogs said by step."""

    numbers: Mapping[str, tuple[Sequence[int], Sequence[float]]]
    events: Sequence[tuple[int, str]]
    last_step: int

    def panels(self) -> list[tuple[str, str, list[str]]]:
        """Return (title, unit, keys) of every panel there are numbers for."""
        found = []
        for title, unit, wanted in _PANELS:
            keys = [key for want in wanted for key in self.numbers if _is_meant(key, want)]
            if keys and not (title == "loss" and "reward" in self.numbers):  # a surrogate's loss says little
                found.append((title, unit, list(dict.fromkeys(keys))))
        return found


def gather_curves(rows: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]]) -> Curves:
    """Return the curves of a training's rows and of its samples' controls; what is no number is left out.

    >>> gather_curves([{"step": 1, "reward": 2.0}, {"step": 2, "reward": None}], []).numbers
    {'reward': ([1], [2.0])}
    """
    numbers: dict[str, tuple[list[int], list[float]]] = {}
    for row in [*rows, *_control_rows(samples)]:
        for key, value in row.items():
            usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if key != "step" and usable:
                steps, values = numbers.setdefault(key, ([], []))
                steps.append(int(row["step"]))
                values.append(float(value))
    events = [(int(row["step"]), str(said)) for row in rows for said in row.get("alerts") or ()]
    return Curves(numbers, events, max((int(row["step"]) for row in rows), default=0))


def _control_rows(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return per step the shares of the samples' effect ranges and the mean of their weights."""
    by_step: dict[int, list[Mapping[str, Any]]] = {}
    for sample in samples:
        by_step.setdefault(int(sample["step"]), []).extend(sample.get("modifiers") or ())
    rows = []
    kinds = {_range_name(each) for modifiers in by_step.values() for each in modifiers}
    for step, modifiers in sorted(by_step.items()):
        counts = Counter(_range_name(each) for each in modifiers)
        if not modifiers:
            continue
        row = {"step": float(step)}
        row |= {f"range {kind}": counts[kind] / len(modifiers) for kind in sorted(kinds)}
        row["mean weight"] = sum(float(each.get("weight", 1.0)) for each in modifiers) / len(modifiers)
        rows.append(row)
    return rows


def _range_name(modifier: Mapping[str, Any]) -> str:
    ends = modifier.get("range") or [1, 0]
    known = {(1.0, 0.0): "full", (1.0, 0.5): "early", (0.5, 0.0): "late"}
    start, end = (float(each) for each in ends)
    return known.get((start, end), f"{start:g}->{end:g}")


def _is_meant(key: str, want: str) -> bool:
    return key.startswith(want) if want[-1:] in ("/", " ") else key == want


def draw_curves(curves: Curves, title: str) -> bytes:
    """Return the PNG: a panel per kind of number, dotted lines where a watchdog spoke.

    Raises ConfigError where matplotlib is missing.
    """
    check_plotting()
    from matplotlib.figure import Figure

    panels = curves.panels()
    columns = min(_COLUMNS, max(1, len(panels)))
    lines = math.ceil(len(panels) / columns) or 1
    figure = Figure(figsize=(4.4 * columns, 2.9 * lines + 0.6))
    figure.suptitle(title.replace("$", r"\$"), fontsize=12)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes, panels, strict=False):
        _draw_panel(axis, curves, *panel)
    top = 0.75 / (2.9 * lines + 0.6)  # by hand: a layout engine would draw everything twice
    figure.subplots_adjust(0.19 / columns, 0.12 / lines, 1 - 0.03 / columns, 1 - top, 0.24, 0.28)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png")
    return stream.getvalue()


def _draw_panel(axis: Any, curves: Curves, title: str, unit: str, keys: Sequence[str]) -> None:
    prefix = _shared_prefix(keys)
    for place, key in enumerate(keys):
        steps, values = curves.numbers[key]
        colour, label = _COLOURS[place % len(_COLOURS)], key[len(prefix) :].replace("$", r"\$")
        if len(steps) < _SMOOTHED_FROM:
            axis.plot(steps, values, color=colour, linewidth=1.4, marker="o", markersize=2.5, label=label)
            continue
        axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axis.plot(steps, smooth(values), color=colour, linewidth=1.6, label=label)
    for step in {step for step, _ in curves.events}:
        axis.axvline(step, color=_EVENT, linestyle=":", linewidth=1)
    axis.set_title(title, fontsize=10, loc="left")
    axis.set_ylabel(unit, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    if len(keys) > 1 and axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, frameon=False, loc="upper left")


def _shared_prefix(keys: Sequence[str]) -> str:
    """Return what all keys begin with, up to a slash: `kl/` of kl/text and kl/range."""
    head = keys[0].rpartition("/")[0] + "/"
    return head if len(keys) > 1 and head != "/" and all(key.startswith(head) for key in keys) else ""


def smooth(values: Sequence[float]) -> list[float]:
    """Return each value's mean with those around it, a fifteenth of all in width.

    >>> smooth([0.0, 3.0, 0.0])
    [1.5, 1.0, 1.5]
    """
    reach = max(1, len(values) // 30)
    parts = (values[max(0, place - reach) : place + reach + 1] for place in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def make_curves_page(curves: Curves, picture: bytes, title: str, facts: Mapping[str, str]) -> str:
    """Return the page: the curves, what the watchdogs said, and the first, best and last of every number."""
    table = Table("number", *map(number, ("first", "lowest", "highest", "last", "points")))
    for key, (_, values) in sorted(curves.numbers.items()):
        shown = (values[0], min(values), max(values), values[-1])
        table.add(key, *map(format_number, shown), len(values))
    return render_page(
        "curves.html",
        title=title,
        picture=f"data:image/png;base64,{base64.b64encode(picture).decode()}",
        events=[(f"step {step}", said) for step, said in curves.events],
        steps=curves.last_step,
        table=table,
        facts=list(facts.items()),
    )
