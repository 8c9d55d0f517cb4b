"""Measuring in workers: each builds the pipeline and the scores of a request for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from dfprompt.api.companions import companions_of
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.scoring import choose_scoreboard
from dfprompt.errors import ConfigError, EvaluationError, ExecutorError, WorkerLostError
from dfprompt.excerpt import quote
from dfprompt.executor import Executor, Work, opened
from dfprompt.measurement.log import MeasurementLog
from dfprompt.measurement.measure import Measurement
from dfprompt.measurement.rows import PLAIN, Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import Batch, Manner, Measured, Shot
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.requests.render import RenderRequest
from dfprompt.requests.score import ScoreRequest

Item: TypeAlias = tuple[Manner, Batch]


class DrawScoreRequest(ScoreRequest, RenderRequest):
    """What draws and what scores, by name."""


class MeasureWork(Work[Item, Measured]):
    """Measures batches with a pipeline and scores by name."""

    def __init__(self, request: DrawScoreRequest) -> None:
        super().__init__()
        self.request = request

    def build(self) -> tuple[ImagePipeline, Scoreboard]:
        """Load the pipeline and the scores."""
        pipeline = open_pipeline(self.request)
        return pipeline, choose_scoreboard(self.request, companions_of(pipeline))

    def work(self, built: tuple[ImagePipeline, Scoreboard], item: Item) -> Measured:
        """Measure a batch; its pictures are saved where the driver looks for them."""
        manner, batch = item
        measurement = Measurement(
            *built,
            MeasurementLog(folder=manner.folder),
            manner.how,
            isolated=manner.isolated,
            save_first=manner.save_first,
            only=manner.only,
        )
        return measurement.measure_batch(batch)

    def split(self, item: Item) -> Sequence[Item]:
        """Halve a batch between prompts and seeds; then each shot apart, beside its plain one."""
        manner, batch = item
        groups = list(dict.fromkeys((shot.prompt.id, shot.seed) for shot in batch.shots))
        if len(groups) > 1:
            first = set(groups[: len(groups) // 2])
            parts = [
                [shot for shot in batch.shots if ((shot.prompt.id, shot.seed) in first) is early]
                for early in (True, False)
            ]
        else:
            plain = [shot for shot in batch.shots if shot.method == PLAIN]
            others = [shot for shot in batch.shots if shot.method != PLAIN]
            if len(others) < 2:
                return [item]
            unsaved = [replace(shot, picture=None) for shot in plain]
            parts = [*([plain] if plain else []), *([*unsaved, shot] for shot in others)]
        return [(manner, Batch(tuple(part), batch.known)) for part in parts]

    def join(self, results: Sequence[Measured]) -> Measured:
        """Put the rows of parts together; a plain picture drawn again keeps its first row."""
        rows: dict[Any, Row] = {}
        for part in results:
            for row in part.rows:
                rows.setdefault(row.key, row)
        error = next((part.error for part in results if part.error is not None), None)
        return Measured(tuple(rows.values()), sum(part.drawn for part in results), error)

    def lost(self, item: Item, reason: str) -> Measured:
        """Fail the row whose picture ends workers; where rows may not fail, the prompt is named."""
        manner, batch = item
        shots = [shot for shot in batch.shots if shot.method != PLAIN] or list(batch.shots)
        if not manner.isolated:
            raise WorkerLostError(f"the picture of {quote(str(shots[0].words))}: {reason}")
        return Measured(tuple(_failed(shot, reason) for shot in shots))


def _failed(shot: Shot, reason: str) -> Row:
    return Row(
        shot.method,
        shot.prompt.id,
        shot.prompt.text,
        shot.seed,
        df_prompt=str(shot.words),
        failed={"picture": reason},
        stage=shot.stage,
    )


@dataclass(frozen=True)
class Workers:
    """Measures batches in an executor's workers, and makes sure that their pictures arrive."""

    executor: Executor
    work: MeasureWork

    def measure(self, manner: Manner, batches: Iterable[Batch]) -> Iterator[Measured]:
        """What came of each batch, in order; raises EvaluationError where the folder is not shared."""
        try:
            for done in self.executor.map(self.work, ((manner, batch) for batch in batches)):
                _check_shared(manner.folder, done)
                yield done
        except ExecutorError as error:
            if isinstance(error, WorkerLostError):
                raise
            raise ExecutorError(
                f"{error}; what came back is kept: the same command goes on with it"
            ) from error


def _check_shared(folder: Path, done: Measured) -> None:
    missing = (row.picture for row in done.rows if row.picture and not (folder / row.picture).exists())
    if (name := next(missing, None)) is not None:
        raise EvaluationError(
            f"a worker wrote {folder / name}, and here it is not: --output must be storage that all machines "
            "share under one name"
        )


@contextmanager
def workers_for(request: Any) -> Iterator[Workers | None]:
    """Yield the workers a request asks for, None where this process draws itself.

    Raises ConfigError for a pipeline or score that is an object of this process and no name.
    """
    if not request.chosen_workers:
        yield None
        return
    values = {name: getattr(request, name) for name in DrawScoreRequest.model_fields}
    for thing in (values["pipeline"], *values["rewards"], *values["judges"]):
        if not isinstance(thing, str | Path):
            raise ConfigError(
                f"workers build pipelines and scores by name, and {quote(repr(thing))} is an object; name "
                "it, or leave out workers and ray"
            )
    with opened(**request.chosen) as executor:
        yield Workers(executor, MeasureWork(DrawScoreRequest(**values)))


def drawing_elsewhere(request: Any, workers: Workers | None) -> Any:
    """Return the request with which this process loads a pipeline: it draws nothing where workers do."""
    if workers is None or request.device != "auto":
        return request
    return request.model_copy(update={"device": "cpu"})
