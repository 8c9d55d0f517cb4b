"""The two ablations of the mini world: when a disturbing modifier acts, and how strongly.

Both are read off the grids of `worlds.mini.headroom`: paired pictures, plain against one pair of range
and weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from dfprompt.mini.controls import PAIRS
from dfprompt.mini.judge import CLASSES
from dfprompt.mini.measures import MEASURES
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.raters import taste_of
from dfprompt.statistics.intervals import Mean, mean_with_interval
from worlds.mini.headroom import Grid

RANGE_ARMS = (("early", "1"), ("late", "1"), ("full", "1"))
WEIGHT_ARMS = (("full", "0.5"), ("full", "1"), ("full", "1.5"))


@dataclass(frozen=True)
class Point:
    """One arm against plain over `pictures` paired pictures.

    fidelity: percent points of the mean of the judge's subject and colour; taste: the raters' formula.
    """

    modifier: str
    effect_range: str
    weight: str
    fidelity: Mean
    taste: Mean
    pictures: int


def disturbing() -> tuple[str, ...]:
    """The modifiers whose training pictures depart from their captions often.

    >>> "golden hour" in disturbing()
    True
    """
    return tuple(
        name
        for name, modifier in MODIFIERS.items()
        if modifier.coupling.replaced + modifier.coupling.recoloured + modifier.coupling.shrunk >= 0.3
    )


def tastes_of(grid: Grid) -> npt.NDArray[np.float64]:
    """The raters' formula on a grid's measures: (P, 16)."""
    rows, width, _ = grid.measures.shape
    flat = torch.from_numpy(grid.measures.reshape(rows * width, -1))
    measures = {name: flat[:, column] for column, name in enumerate(MEASURES)}
    scenes = [scene for scene in grid.scenes for _ in range(width)]
    found: npt.NDArray[np.float64] = taste_of(measures, scenes).double().reshape(rows, width).numpy()
    return found


def fidelity_of(grid: Grid) -> npt.NDArray[np.float64]:
    """Percent of subject and colour the judge reads as asked: (P, 16)."""
    kinds = list(CLASSES)
    asked = [kinds.index("subject"), kinds.index("colour")]
    found: npt.NDArray[np.float64] = 100.0 * grid.correct[:, :, asked].mean(2)
    return found


def ablate(grids: Sequence[Grid], arms: Sequence[tuple[str, str]]) -> list[Point]:
    """Every modifier and their mean ("all") under each arm, against the plain picture of the same seed."""
    tastes = {grid.modifier: tastes_of(grid) for grid in grids}
    kept = {grid.modifier: fidelity_of(grid) for grid in grids}
    out = []
    for pair in arms:
        column = 1 + PAIRS.index(pair)
        changes = {
            name: (kept[name][:, column] - kept[name][:, 0], tastes[name][:, column] - tastes[name][:, 0])
            for name in tastes
        }
        for name, (fidelity, taste) in changes.items():
            kept_change, gain = mean_with_interval(fidelity), mean_with_interval(taste)
            out.append(Point(name, *pair, kept_change, gain, len(taste)))
        together = [np.mean([change[k] for change in changes.values()], 0) for k in (0, 1)]
        count = sum(len(taste) for _, taste in changes.values())
        kept_change, gain = (mean_with_interval(each) for each in together)
        out.append(Point("all", *pair, kept_change, gain, count))
    return out


def plot_ablations(grids: Sequence[Grid], output: Path) -> None:
    """Draw both ablations, fidelity against taste with 95 % intervals, into one picture file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11.5, 4.6), sharey=True, layout="constrained")
    for axis, arms, title in (
        (axes[0], RANGE_ARMS, "when it acts (weight 1)"),
        (axes[1], WEIGHT_ARMS, "how strongly (full range)"),
    ):
        points = ablate(grids, arms)
        _draw_panel(axis, points, arms)
        axis.set_title(title)
        axis.set_xlabel("taste against plain (raters' formula, points)")
    axes[0].set_ylabel("subject and colour read as asked,\nagainst plain (percent points)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    count = sum(len(grid.scenes) for grid in grids)
    figure.suptitle(f"{len(grids)} disturbing modifiers, {count} paired seeds per arm, 95 % intervals")
    figure.savefig(output, dpi=150)
    pyplot.close(figure)


_MARKS = ("o", "s", "D")


def _draw_panel(axis: object, points: Sequence[Point], arms: Sequence[tuple[str, str]]) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    names = list(dict.fromkeys(point.modifier for point in points))
    for number, name in enumerate(names):
        own = [point for point in points if point.modifier == name]
        colour, whole = ("black", True) if name == "all" else (f"C{number}", False)
        axis.plot(
            [point.taste.mean for point in own],
            [point.fidelity.mean for point in own],
            color=colour,
            linewidth=2.2 if whole else 1.0,
            alpha=1.0 if whole else 0.55,
            label=name,
        )
        for mark, point in zip(_MARKS, own, strict=True):
            axis.errorbar(
                point.taste.mean,
                point.fidelity.mean,
                xerr=[[point.taste.mean - point.taste.low], [point.taste.high - point.taste.mean]],
                yerr=[
                    [point.fidelity.mean - point.fidelity.low],
                    [point.fidelity.high - point.fidelity.mean],
                ],
                fmt=mark,
                color=colour,
                capsize=2,
                alpha=1.0 if whole else 0.55,
            )
    axis.axhline(0, color="grey", linewidth=0.6)
    axis.axvline(0, color="grey", linewidth=0.6)
    handles = [axis.plot([], [], mark, color="black", linestyle="none")[0] for mark in _MARKS]
    labels = [pair[0] if arms is RANGE_ARMS else f"weight {pair[1]}" for pair in arms]
    # Below the panel: inside, a legend would hide points wherever they happen to lie.
    axis.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncol=3, frameon=False)
