"""What is asked for and what comes back: pictures of one noise, put together in batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dfprompt.errors import DFPromptError
from dfprompt.images.metadata import ModelMark
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import Row, RowKey
from dfprompt.pipeline.progress import Report
from dfprompt.prompt import DFPrompt
from dfprompt.requests.render import RenderSettings

AT_ONCE = 64  # pictures drawn, scored and written down together
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Shot:
    """One picture asked for: a method's words for a plain prompt, from the noise of a seed.

    With several `noises` a picture is drawn from each, and the best by the first reward is kept. `picture`
    is its file, relative to the log's folder; None keeps no file. `policy` wrote the words.
    """

    method: str
    prompt: PlainPrompt
    words: DFPrompt
    seed: int
    noises: tuple[int, ...]
    picture: str | None = None
    policy: ModelMark | None = None
    stage: str = ""

    @property
    def key(self) -> RowKey:
        """What its row is found by."""
        return self.method, self.prompt.id, self.seed


@dataclass(frozen=True)
class HowToDraw:
    """Settings and negative prompt of every picture; `metadata`: files carry how they were drawn.

    `share` draws in the lockstep loop where it knows the pipeline. `progress` is shown while drawing.
    """

    settings: RenderSettings | None = None
    negative_prompt: str | None = None
    metadata: bool = True
    share: bool = True
    progress: bool | Report = False


@dataclass(frozen=True)
class Batch:
    """Shots to be drawn together, and the rows there are of them and of their plain pictures."""

    shots: tuple[Shot, ...]
    known: Mapping[RowKey, Row]


@dataclass(frozen=True)
class Measured:
    """What came of a batch: the rows, pictures drawn, and what stopped it in the middle."""

    rows: tuple[Row, ...]
    drawn: int = 0
    error: DFPromptError | None = None


@dataclass(frozen=True)
class Manner:
    """How batches are measured, beside the pipeline and the scores; pictures are saved below `folder`."""

    how: HowToDraw
    folder: Path
    isolated: bool = True
    save_first: bool = False
    only: tuple[str, ...] | None = None


class Elsewhere(Protocol):
    """Measures batches in other processes, which build pipeline and scores for themselves."""

    def measure(self, manner: Manner, batches: Iterable[Batch]) -> Iterator[Measured]:
        """What came of each batch, in order."""
        ...


def batch_names(shots: Sequence[Shot], at_once: int = AT_ONCE) -> list[list[str]]:
    """Return what is in each batch, by name."""
    return [
        [json.dumps([*shot.key, str(shot.words)]) for shot in batch] for batch in batches_of(shots, at_once)
    ]


def left_of(
    batches: Iterable[Sequence[Shot]], missing: Container[RowKey], at_once: int
) -> Iterator[Sequence[Shot]]:
    """Yield what is missing, in the batches it is in where all is missing: so that it has the same bits."""
    some: list[Shot] = []
    for batch in batches:
        left = [shot for shot in batch if shot.key in missing]
        if len(left) == len(batch):
            yield left
            continue
        some += left
        if sum(len(shot.noises) for shot in some) >= at_once:
            yield some
            some = []
    if some:
        yield some


def batches_of(shots: Sequence[Shot], at_once: int) -> Iterator[list[Shot]]:
    """Yield shots in batches that part no prompt and seed: its plain picture is scored beside the others."""
    together: dict[tuple[str, int], list[Shot]] = {}
    for shot in shots:
        together.setdefault((shot.prompt.id, shot.seed), []).append(shot)
    batch: list[Shot] = []
    for group in together.values():
        batch += group
        if sum(len(shot.noises) for shot in batch) >= at_once:
            yield batch
            batch = []
    if batch:
        yield batch
