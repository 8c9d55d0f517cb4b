"""Commands with workers: what is refused, and what happens when a row or a folder is bad."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dfprompt.api.evaluation import evaluate
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.workers import DrawScoreRequest, MeasureWork, workers_for
from dfprompt.errors import ConfigError, DFPromptError, WorkerLostError
from dfprompt.executor.answers import Answer, Lost
from dfprompt.executor.dispatch import CrewExecutor
from dfprompt.measurement.log import ROWS, read_rows
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import Row
from dfprompt.measurement.shots import Batch, HowToDraw, Manner, Measured, Shot
from dfprompt.prompt import DFPrompt
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.storage import lock_folder

POISON = "a poison cat"


class PoisonedWork(MeasureWork):
    """Measures without drawing; what becomes of lost batches is as it is."""

    def build(self) -> Any:
        return None

    def work(self, built: Any, item: tuple[Manner, Batch]) -> Measured:
        return Measured(tuple(_row(shot) for shot in item[1].shots), len(item[1].shots))


class HereCrew:
    """Two workers that are no processes: one is lost where a picture of some words is asked for."""

    size = 2

    def __init__(self) -> None:
        self.started = 0
        self.came: list[tuple[int, Answer | Lost]] = []

    def start(self, place: int) -> None:
        self.started += 1
        self.came = [each for each in self.came if each[0] != place]

    def ready(self, place: int) -> bool:
        return True

    def give(self, place: int, fn: Callable[[Any], Any], item: tuple[Manner, Batch]) -> None:
        poisoned = any(POISON in str(shot.words) for shot in item[1].shots)
        self.came.append((place, Lost("was lost") if poisoned else Answer(fn(item))))

    def wait(self, seconds: float) -> list[tuple[int, Answer | Lost]]:
        return [self.came.pop(0)] if self.came else []

    def end(self, place: int) -> None:
        raise AssertionError("nobody hangs here")

    def close(self) -> None:
        self.came.clear()


def _row(shot: Shot) -> Row:
    return Row(shot.method, shot.prompt.id, shot.prompt.text, shot.seed, df_prompt=str(shot.words))


def _shots(words: Sequence[str]) -> list[Shot]:
    return [
        Shot(method, PlainPrompt("a cat"), DFPrompt.from_plain(text), seed, (seed,), f"{method}-{seed}.png")
        for seed in (0, 1)
        for method, text in zip(("plain", "mild", "wild"), words, strict=True)
    ]


@pytest.mark.parametrize("isolated", [True, False])
def test_a_poison_prompt_fails_its_row_or_is_named(tmp_path: Path, isolated: bool) -> None:
    manner = Manner(HowToDraw(), tmp_path, isolated)
    batch = Batch(tuple(_shots(["a cat", "a mild cat", POISON])), {})
    crew = HereCrew()
    with CrewExecutor(crew) as executor:
        results = executor.map(PoisonedWork(DrawScoreRequest()), [(manner, batch)])
        if not isolated:
            with pytest.raises(WorkerLostError, match=f'the picture of "{POISON}": 3 workers were lost'):
                next(results)
            return
        (done,) = results
    rows = {(row.method, row.seed): row for row in done.rows}
    assert sorted(rows) == [(method, seed) for method in ("mild", "plain", "wild") for seed in (0, 1)]
    for (method, _), row in rows.items():
        told = {"picture": "3 workers were lost on it; the last one was lost"} if method == "wild" else {}
        assert row.failed == told
    assert crew.started == 2 + 3 + 2 * (1 + 3)  # the batch; each of its halves, then the picture itself


def test_objects_of_this_process_cannot_travel() -> None:
    request = EvaluateRequest(prompts=["a"], output="out", pipeline=load_pipeline("mini"), workers=2)
    with pytest.raises(ConfigError, match="build pipelines and scores by name"), workers_for(request):
        pass


@pytest.mark.slow
@pytest.mark.nightly
def test_two_drivers_in_one_folder_and_a_folder_that_refuses(tmp_path: Path) -> None:
    def run(seeds: int) -> None:
        evaluate(["a cat"], ["plain"], tmp_path / "out", seeds=seeds, num_inference_steps=1, workers=1)

    with lock_folder(tmp_path / "out"), pytest.raises(DFPromptError, match="another"):
        run(1)
    run(1)
    shutil.rmtree(tmp_path / "out" / "pictures")
    (tmp_path / "out" / "pictures").write_text("a file where pictures go")
    with pytest.raises(DFPromptError, match=r"out/pictures; choose another"):
        run(2)
    (tmp_path / "out" / "pictures").unlink()
    run(2)  # nothing was lost: it goes on
    assert len(read_rows(tmp_path / "out" / ROWS)) == 2
