"""One drawing, drawn as `dfprompt compare` draws: the same requests, the same measurement, the same log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dfprompt.api.gallery import slug
from dfprompt.evaluation.side_by_side import Compared, Rewrite, draw_side_by_side
from dfprompt.evaluation.summary import score_lines
from dfprompt.images.metadata import ModelMark
from dfprompt.measurement.log import ROWS
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import HowToDraw
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt.parser import read_back
from dfprompt.requests.render import RenderSettings
from dfprompt.storage import append_lines
from dfprompt.web.history import Drawing, History
from dfprompt.web.jobs import Job

_PARTS = 1000  # a job's progress counts in thousandths
AT_ONCE = 8
"""Pictures of a drawing that are drawn together: what a cancel may lose."""


def draw(
    drawing: Drawing,
    pipeline: ImagePipeline,
    board: Scoreboard,
    history: History,
    job: Job,
    settings: RenderSettings,
    tell: Callable[[Drawing], None],
) -> None:
    """Draw what is missing of a drawing; `tell` is called whenever pictures are whole on the disk."""
    mark = None if drawing.policy is None else ModelMark(name=drawing.policy)
    steps = pipeline.resolve(settings).num_inference_steps
    rewrites = tuple(
        Rewrite(label, read_back(text, steps), mark if label == "rewrite" else None)
        for label, text in drawing.columns
    )
    compared = Compared(PlainPrompt(drawing.plain), rewrites)
    meter = _Meter(job, len(drawing.labels) * len(drawing.seeds))

    def batch_done(done: int, total: int) -> None:
        meter.batch(done)
        tell(drawing)

    first = (
        (drawing.seeds[:1],) if drawing.id == "1" else ()
    )  # who comes for the first time sees something soon
    for seeds in dict.fromkeys((*first, drawing.seeds)):
        shown = draw_side_by_side(
            pipeline,
            [compared],
            seeds,
            board,
            HowToDraw(settings, drawing.negative, progress=meter.within),
            history.place(drawing) / ROWS,
            lambda prompt, label, seed: f"{slug(label)}-seed{seed}.png",
            resume=True,
            at_once=AT_ONCE,
            progress=batch_done,
        )
        there = {row.key for row in history.rows(drawing)}
        shared = [
            row.to_line() for row in shown.rows if row.key not in there
        ]  # drawn once, said several ways
        if shared:
            append_lines(history.place(drawing) / ROWS, shared)


class _Meter:
    """Progress over all batches, from the steps within each."""

    def __init__(self, job: Job, pictures: int) -> None:
        self.job, self.pictures, self.done = job, pictures, 0

    def within(self, done: int, total: int) -> None:
        """Count steps of the batch in hand."""
        batch = min(AT_ONCE, self.pictures - self.done)
        share = (self.done + batch * done / max(total, 1)) / self.pictures
        self.job.report(min(_PARTS - 1, int(_PARTS * share)), _PARTS)

    def batch(self, done: int) -> None:
        """Count whole pictures."""
        self.done = done
        self.job.report(int(_PARTS * done / self.pictures), _PARTS)


def standings(rows: Sequence[Row], columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every column in every score: its mean and, where there are enough pairs, the interval of its
    difference from plain.
    """
    methods: dict[str, list[Row]] = {}
    for row in rows:
        methods.setdefault(row.method, []).append(row)
    if "plain" not in methods:
        return []
    return [
        {
            "label": line.method,
            "score": line.score,
            "role": line.role,
            "mean": line.mean,
            "to_plain": None if line.comparison is None else line.comparison.to_json(),
        }
        for line in score_lines(methods, columns)
    ]
