"""The page of an evaluation: the answer first, then the table, the plot, pictures, and the detail."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote as quote_url

from markupsafe import Markup

from dfprompt.errors import DFPromptError
from dfprompt.evaluation.answers import make_answers, prompt_gains
from dfprompt.evaluation.checklist import fill_checklist
from dfprompt.evaluation.forest_plot import draw_forest
from dfprompt.evaluation.pages import render_page, thumbnail
from dfprompt.evaluation.run import Outcome
from dfprompt.evaluation.summary import ScoreLine, Summary
from dfprompt.evaluation.tables import detail_tables, how_to_read
from dfprompt.images.reading import read_image
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.rows import PLAIN, Row, RowKey
from dfprompt.table import Table, format_ends, format_number, number

REPORT = "report.html"
_EXTREMES = 3  # prompts shown at either end


def make_evaluation_report(
    outcome: Outcome,
    summary: Summary,
    *,
    title: str,
    note: str = "",
    rewriter: str = "",
    facts: Mapping[str, str] | None = None,
) -> str:
    """Return the page; it lies beside the pictures. `facts` say what was drawn and with what, by name."""
    answers = make_answers(summary, outcome.rows)
    reward = outcome.plan.scoreboard.chooser
    subject = answers[0].method if answers else None
    extremes = [] if subject is None else _extremes(outcome, subject, reward)
    return render_page(
        "evaluation.html",
        title=title,
        note=note,
        answers=[dataclasses.asdict(answer) for answer in answers],
        reward=reward,
        scores=_wide(summary),
        forest=[Markup(svg) for _, svg in draw_forest(summary)],
        subject=subject,
        extremes=extremes,
        checklist=fill_checklist(summary, outcome.plan.methods, outcome.plan.scoreboard, rewriter=rewriter),
        how_to_read=how_to_read(summary),
        detail=detail_tables(summary),
        facts=list((facts or {}).items()),
    )


def _wide(summary: Summary) -> Table:
    """Methods as rows and scores as columns: plain's means, and every other's difference."""
    scores = list(dict.fromkeys(line.score for line in summary.scores if line.role != "part"))
    roles = {line.score: line.role for line in summary.scores}
    heads = [f"{score} (judge)" if roles[score] == "judge" else score for score in scores]
    table = Table("method", *map(number, [*heads, "pictures", "failed"]))
    for method in summary.methods:
        cells = (_cell(summary.of(method.method, score)) for score in scores)
        table.add(method.method, *cells, method.pictures, method.failed)
    return table


def _cell(line: ScoreLine) -> str | None:
    if line.comparison is None:
        return None if line.mean is None else format_number(line.mean)
    found = line.comparison
    return f"{format_number(found.difference, sign=True)} ({format_ends(found.interval.to_json())})"


def _extremes(outcome: Outcome, method: str, reward: str) -> list[dict[str, Any]]:
    """Return the prompts a method helps most and least, each with a pair of pictures of one seed."""
    gains = prompt_gains(outcome.rows, method, reward)
    ranked = sorted(gains, key=lambda prompt: -gains[prompt])
    count = min(_EXTREMES, len(ranked) // 2)
    kept = {row.key: row for row in outcome.rows}
    groups = (("helped most", ranked[:count]), ("helped least", ranked[::-1][:count]))
    found = []
    for title, chosen in groups:
        pairs = [_pair(outcome, kept, method, prompt, gains[prompt]) for prompt in chosen]
        found += [{"title": title, "pairs": pairs}] if pairs else []
    return found


def _pair(
    outcome: Outcome, rows: Mapping[RowKey, Row], method: str, prompt: str, gain: float
) -> dict[str, Any]:
    """Return a prompt's two pictures, of the seed whose difference is nearest to the prompt's mean."""
    board = outcome.plan.scoreboard
    reward, shown = board.chooser, [name for name, role in board.columns().items() if role != "part"]
    seeds = [seed for name, each, seed in rows if name == method and each == prompt]

    def apart(seed: int) -> float:
        both = [rows[name, prompt, seed].scores.get(reward, math.nan) for name in (method, PLAIN)]
        return math.inf if math.isnan(both[0] - both[1]) else abs(both[0] - both[1] - gain)

    seed = min(seeds, key=apart)
    after, before = rows[method, prompt, seed], rows[PLAIN, prompt, seed]
    return {
        "prompt": after.prompt,
        "written": after.df_prompt,
        "gain": format_number(gain, sign=True),
        "seed": seed,
        "figures": [_figure(outcome.folder, row, shown) for row in (before, after)],
    }


def _figure(folder: Path, row: Row, shown: Sequence[str]) -> dict[str, Any] | None:
    """Return a picture for the page; None where its file is gone or damaged, which the page says."""
    if row.picture is None:
        return None
    try:
        image, small = thumbnail(to_pil(read_image(folder / row.picture).pixels[None])[0])
    except DFPromptError:
        return None
    values = ((name, row.scores[name]) for name in shown if name in row.scores)
    scores = ", ".join(f"{name} {format_number(value)}" for name, value in values)
    file = quote_url(row.picture)
    return {"file": file, "image": image, "small": small, "method": row.method, "scores": scores}


def list_facts(asked: Mapping[str, Any], versions: Mapping[str, Any]) -> dict[str, str]:
    """Return what a log's first line says, as texts by name; what is not known is left out."""
    settings: Mapping[str, Any] = asked.get("settings") or {}
    model: Mapping[str, Any] = asked.get("model") or {}
    chosen: Sequence[tuple[str, object]] = [
        ("model", model.get("name")),
        ("steps", settings.get("num_inference_steps")),
        ("guidance", settings.get("guidance_scale")),
        ("sampler", settings.get("scheduler")),
        ("size", f"{settings.get('width')}x{settings.get('height')}" if settings.get("width") else None),
        ("negative prompt", asked.get("negative_prompt")),
        *versions.items(),
    ]
    return {name: str(value) for name, value in chosen if value not in (None, "")}
