"""Shares preferred with their intervals: one picture, a panel per question."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dfprompt.evaluation.plotting import check_plotting
from dfprompt.excerpt import printable, shorten
from dfprompt.statistics.agreement import Share

_COLOURS = ("#2a6fbb", "#c8553d")


class Panel(NamedTuple):
    """A panel: its title, and for every row its name with a share per series (None where there is none)."""

    title: str
    rows: Sequence[tuple[str, Sequence[Share | None]]]


def draw_shares(panels: Sequence[Panel], series: Sequence[str], title: str = "") -> bytes:
    """Return a PNG of shares from 0 to 100 % with 95 % intervals, a colour per series, a line at one half."""
    check_plotting()
    from matplotlib.figure import Figure

    height = sum(0.62 * len(panel.rows) + 0.75 for panel in panels) + 0.75
    figure = Figure(figsize=(7.2, max(2.4, height)), dpi=150, layout="constrained")
    tall = [len(panel.rows) + 0.8 for panel in panels]
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=tall)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        axis.axvline(50, color="#8b919b", linewidth=1, linestyle="--", zorder=0)
        for row, (_, shares) in enumerate(panel.rows):
            for place, share in enumerate(shares):
                if share is not None:
                    _point(axis, row, place, len(series), share)
        axis.set_yticks(range(len(panel.rows)), [shorten(printable(name), 44) for name, _ in panel.rows])
        axis.set_ylim(len(panel.rows) - 0.4, -0.6)
        axis.set_xlim(0, 100)
        axis.set_title(shorten(printable(panel.title), 70), loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("share preferred in %, draws counted half; 95 % intervals")
    if title:
        figure.suptitle(shorten(printable(title), 70), fontsize=11, fontweight="bold")
    handles = [
        axes[0].plot([], [], "o-", color=_COLOURS[place % 2], label=name)[0]
        for place, name in enumerate(series)
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(series), frameon=False, fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _point(axis: object, row: int, place: int, series: int, share: Share) -> None:
    y = row + 0.22 * (place - (series - 1) / 2)
    ends = share.interval.to_json()
    colour: Mapping[str, str] = {"color": _COLOURS[place % 2]}
    if ends is not None:
        axis.plot([100 * ends[0], 100 * ends[1]], [y, y], "-", linewidth=2, **colour)  # type: ignore[attr-defined]
    axis.plot([100 * share.share], [y], "o", markersize=5, **colour)  # type: ignore[attr-defined]
