"""Plots of ablations, drawn with matplotlib into one PNG each."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dfprompt.errors import EvaluationError
from dfprompt.evaluation.ablations import Ablation
from dfprompt.evaluation.attribution import PRUNED, WHOLE, Attribution
from dfprompt.evaluation.effects import Effect
from dfprompt.measurement.rows import PLAIN
from dfprompt.measurement.scoreboard import Role
from dfprompt.storage import reported, whole_files

_COLUMNS = 3
_MOST_NAMED = 12  # modifiers that get a colour of their own
_REWARD, _JUDGE, _DARK, _PALE = "#2a6fbb", "#c8553d", "#222222", "#b9bec6"
_KIND_COLOURS = {
    "written": _DARK,
    "pruned": "#8a4f9e",
    "modifier": "#2a6fbb",
    "range": "#3a9d7c",
    "weight": "#c08a2b",
}
_POINT_COLOURS = (
    "#8b919b",
    _DARK,
    "#c8553d",
    "#2a6fbb",
    "#8a4f9e",
    "#3a9d7c",
    "#c08a2b",
    "#4fa8b8",
    "#b0477a",
)
_INTERVALS = "95 % intervals"


def shown_scores(scores: Mapping[str, Role]) -> list[str]:
    """Return what plots show: rewards, then judges; parts of composites are in the tables alone."""
    return [score for role in ("reward", "judge") for score, own in scores.items() if own == role]


def plot_ranges(found: Ablation, path: Path) -> None:
    """Draw a panel per score: every arm's difference to plain, the modifiers pale behind their mean."""
    scores = shown_scores(found.scores)
    figure, axes = _panels(scores, found.scores, height=0.55 * len(found.design.arms) + 1.6)
    colours = _modifier_colours(found.modifiers)
    for axis, score in zip(axes, scores, strict=True):
        _draw_arms(axis, found, score, colours)
        axis.set_xlabel("difference to plain")
    _name_rows(axes, [f"{arm.name}\n{arm.effect_range.arrow}" for arm in found.design.arms])
    _add_legend(figure, axes, below=len(colours) > 1)
    figure.suptitle(_heading("When modifiers act", found))
    _save(figure, path)


def _draw_arms(axis: Any, found: Ablation, score: str, colours: Mapping[str, str]) -> None:
    axis.axvline(0, color=_PALE, linewidth=1, zorder=0)
    places = {arm.name: place for place, arm in enumerate(found.design.arms)}
    if len(colours) > 1:
        for number, (word, colour) in enumerate(colours.items()):
            own = _measured(e for e in found.single if (e.score, e.modifier) == (score, word))
            spread = -0.36 + 0.36 * number / (len(colours) - 1)  # side by side: equal values stay visible
            axis.scatter(
                [_number(e) for e in own],
                [places[e.arm] + spread for e in own],
                s=22,
                color=colour,
                alpha=0.75,
                linewidths=0,
                label=_said(word),
                zorder=2,
            )
    for effect in _measured(e for e in found.pooled if (e.score, e.baseline) == (score, PLAIN)):
        several = len(colours) > 1
        place = places[effect.arm] + 0.2 * several
        _draw_interval(axis, effect, place, _DARK, label="mean of all" if several else "")


def plot_weights(found: Ablation, path: Path) -> None:
    """Draw reward and judge over the weight with bands; with a judge, also one against the other."""
    scores = shown_scores(found.scores)
    reward = next(score for score in scores if found.scores[score] == "reward")
    judge = next((score for score in scores if found.scores[score] == "judge"), None)
    figure, axes = _figure(1 if judge is None else 2, width=5.6, height=4.4)
    _draw_curves(axes[0], found, reward, judge)
    if judge is not None:
        _draw_trade(axes[1], found, reward, judge)
    figure.suptitle(_heading("How strongly modifiers act (full range)", found))
    _save(figure, path)


def _draw_curves(axis: Any, found: Ablation, reward: str, judge: str | None) -> None:
    """Both curves over the weight, each with an axis of its own; 0 (plain) is at one height."""
    axis.axhline(0, color=_PALE, linewidth=1, zorder=0)
    curves = [(axis, reward, _REWARD, "o", "reward")]
    if judge is not None:
        curves.append((axis.twinx(), judge, _JUDGE, "s", "judge"))
    handles = []
    limits: list[tuple[Any, float, float]] = []
    for own, score, colour, marker, role in curves:
        effects = _to_plain(found, score)
        weights = [float(found.design.arm(e.arm).weight.first) for e in effects]
        middle = [_number(e) for e in effects]
        ends = [_ends(e) for e in effects]
        own.fill_between(
            weights, [low for low, _ in ends], [high for _, high in ends], color=colour, alpha=0.16
        )
        handles += own.plot(weights, middle, marker=marker, color=colour, label=_said(f"{score} ({role})"))
        limits.append((own, min([0.0, *(low for low, _ in ends)]), max([0.0, *(high for _, high in ends)])))
        own.set_ylabel(_said(f"{score}: difference to plain"), color=colour)
        own.tick_params(axis="y", colors=colour)
    _align_zeros(limits)
    axis.set_xticks([float(arm.weight.first) for arm in found.design.arms])
    axis.set_xlabel("weight")
    axis.set_title(f"difference to plain, {_INTERVALS}", fontsize=10)
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)


def _align_zeros(limits: Sequence[tuple[Any, float, float]]) -> None:
    """Give axes with values from `low` <= 0 to `high` >= 0 limits that put 0 at one height."""
    reaches = [max(-low, high) or 1.0 for _, low, high in limits]
    below = min(low / reach for (_, low, _), reach in zip(limits, reaches, strict=True)) - 0.1
    above = max(high / reach for (_, _, high), reach in zip(limits, reaches, strict=True)) + 0.1
    for (axis, *_), reach in zip(limits, reaches, strict=True):
        axis.set_ylim(below * reach, above * reach)


def _draw_trade(axis: Any, found: Ablation, reward: str, judge: str) -> None:
    """Judge against reward, a point per weight."""
    from matplotlib import colormaps

    axis.axhline(0, color=_PALE, linewidth=1, zorder=0)
    axis.axvline(0, color=_PALE, linewidth=1, zorder=0)
    across = {e.arm: e for e in _to_plain(found, reward)}
    up = {e.arm: e for e in _to_plain(found, judge)}
    arms = [arm for arm in found.design.arms if arm.name in across and arm.name in up]
    axis.plot(
        [_number(across[arm.name]) for arm in arms],
        [_number(up[arm.name]) for arm in arms],
        color=_PALE,
        zorder=1,
    )
    for place, arm in enumerate(arms):
        colour = colormaps["viridis"](0.9 * place / max(1, len(arms) - 1))
        x, y = across[arm.name], up[arm.name]
        axis.errorbar(
            _number(x),
            _number(y),
            xerr=_reach(x),
            yerr=_reach(y),
            fmt="o",
            markersize=5 + 1.5 * place,
            color=colour,
            elinewidth=1.1,
            capsize=2,
            label=f"weight {arm.weight}",
        )
    axis.set_xlabel(_said(f"{reward} (reward): difference to plain"))
    axis.set_ylabel(_said(f"{judge} (judge): difference to plain"))
    axis.set_title("one against the other", fontsize=10)
    if axis.get_legend_handles_labels()[0]:  # every arm may have failed
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)


def plot_attribution(found: Attribution, path: Path) -> None:
    """Draw a panel per score: what each modifier, range and weight does, with intervals over the seeds.

    Below stands the pruned prompt on its fresh seeds, where something was dropped.
    """
    scores = shown_scores(found.scores)
    rows = [*found.effects, *(effect for effect in found.remeasured if effect.arm == PRUNED)]
    own = [effect for effect in rows if effect.score == scores[0]]
    figure, axes = _panels(scores, found.scores, height=0.42 * len(own) + 1.6)
    for axis, score in zip(axes, scores, strict=True):
        axis.axvline(0, color=_PALE, linewidth=1, zorder=0)
        effects = [effect for effect in rows if effect.score == score]
        for place, effect in enumerate(effects):
            if effect.comparison is not None:
                _draw_interval(axis, effect, place, _KIND_COLOURS[effect.arm])
        axis.set_xlabel("difference: above 0 it raised the score")
    _name_rows(axes, [_row_name(effect) for effect in own])
    figure.suptitle(f"What each modifier brings ({len(found.seeds)} seeds, {_INTERVALS})")
    _save(figure, path)


def plot_points(effects: Sequence[Effect], path: Path) -> None:
    """Draw a panel per score, a row per training: its difference to plain; `arm` is what has one colour.

    The first training after stage 1 is the one the others vary; its value runs down each panel as a line.
    """
    roles = {effect.score: effect.role for effect in effects}
    scores = shown_scores(roles)
    names = list(dict.fromkeys(effect.modifier for effect in effects))
    arms = list(dict.fromkeys(effect.arm for effect in effects))
    figure, axes = _panels(scores, roles, height=0.3 * len(names) + 1.4)
    for axis, score in zip(axes, scores, strict=True):
        axis.axvline(0, color=_PALE, linewidth=1, zorder=0)
        own = _measured(effect for effect in effects if effect.score == score)
        for effect in own:
            _draw_interval(
                axis, effect, names.index(effect.modifier), _POINT_COLOURS[arms.index(effect.arm) % 9]
            )
            if len(names) > 1 and effect.modifier == names[1]:
                axis.axvline(_number(effect), color=_DARK, linewidth=0.8, linestyle=":", zorder=0)
        axis.set_xlabel("difference to plain")
    _name_rows(axes, [_said(name) for name in names])
    figure.suptitle(f"Trained on other rewards, scored alike ({_INTERVALS})")
    _save(figure, path)


def _row_name(effect: Effect) -> str:
    if effect.modifier == WHOLE:
        return f"{effect.arm} against {effect.baseline}" + (" (fresh seeds)" if effect.fresh else "")
    words = textwrap.shorten(effect.modifier, 30, placeholder=" ...")
    return _said(words if effect.arm == "modifier" else f"{words}: its {effect.arm}")


def _panels(scores: Sequence[str], roles: Mapping[str, Role], *, height: float) -> tuple[Any, list[Any]]:
    figure, axes = _figure(len(scores), width=4.4, height=height)
    for axis, score in zip(axes, scores, strict=True):
        axis.set_title(_said(f"{score} ({roles[score]})"), fontsize=10)
    return figure, axes


def _figure(panels: int, *, width: float, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(panels, _COLUMNS)
    rows = math.ceil(panels / columns)
    layout = ConstrainedLayoutEngine(wspace=0.05)
    figure = Figure(figsize=(width * columns + 1.2, height * rows + 0.6), layout=layout)
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(panels)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _name_rows(axes: Sequence[Any], names: Sequence[str]) -> None:
    """Name the rows of panels, the first on top, beside the left panels alone."""
    for place, axis in enumerate(axes):
        axis.set_yticks(range(len(names)), names if place % _COLUMNS == 0 else [])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=5)


def _draw_interval(axis: Any, effect: Effect, place: float, colour: str, label: str = "") -> None:
    axis.errorbar(
        _number(effect),
        place,
        xerr=_reach(effect),
        fmt="D",
        markersize=6,
        color=colour,
        elinewidth=2,
        capsize=3,
        label=label or "_",
        zorder=3,
    )


def _add_legend(figure: Any, axes: Sequence[Any], *, below: bool) -> None:
    if not below:
        return
    handles, labels = axes[0].get_legend_handles_labels()
    known = dict(zip(labels, handles, strict=True))
    figure.legend(
        known.values(), known.keys(), loc="outside lower center", ncols=5, frameon=False, fontsize=9
    )


def _modifier_colours(modifiers: Sequence[str]) -> dict[str, str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if len(modifiers) > _MOST_NAMED:
        return dict.fromkeys(modifiers, _PALE)
    palette = colormaps["Paired"]
    return {word: to_hex(palette(number)) for number, word in enumerate(modifiers)}


def _heading(what: str, found: Ablation) -> str:
    words = f"{len(found.modifiers)} modifiers" if len(found.modifiers) > 1 else f'"{found.modifiers[0]}"'
    return f"{what}: {_said(words)}, prompts: {found.prompts}, seeds: {found.seeds}, {_INTERVALS}"


def _said(text: str) -> str:
    """Words as they are: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def _to_plain(found: Ablation, score: str) -> list[Effect]:
    return _measured(e for e in found.pooled if (e.score, e.baseline) == (score, PLAIN))


def _measured(effects: Iterable[Effect]) -> list[Effect]:
    return [effect for effect in effects if effect.comparison is not None]


def _number(effect: Effect) -> float:
    return math.nan if effect.comparison is None else effect.comparison.difference


def _ends(effect: Effect) -> tuple[float, float]:
    """The interval; where there is none, the difference itself."""
    middle = _number(effect)
    if effect.comparison is None or math.isnan(effect.comparison.interval.low):
        return middle, middle
    return effect.comparison.interval


def _reach(effect: Effect) -> list[list[float]]:
    """How far the interval reaches to either side, as matplotlib wants it."""
    low, high = _ends(effect)
    # A percentile interval of a skewed sample may end at the mean; rounding must not make it negative.
    return [[max(0.0, _number(effect) - low)], [max(0.0, high - _number(effect))]]


def _save(figure: Any, path: Path) -> None:
    with reported(path, EvaluationError), whole_files(path) as (unfinished,), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the font's gaps show as boxes
        figure.savefig(unfinished, dpi=150, format="png")
