"""Commands with workers: what is refused, and what happens when a row or a folder is bad."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dfprompt.api.evaluation import evaluate
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.workers import MeasureWork, workers_for
from dfprompt.errors import ConfigError, DFPromptError, GenerationError, WorkerLostError
from dfprompt.executor.dispatch import CrewExecutor
from dfprompt.executor.processes import ProcessCrew
from dfprompt.measurement.log import MeasurementLog
from dfprompt.measurement.measure import Batch, HowToDraw, Manner, Measured, Shot
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.prompt import DFPrompt
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.storage import lock_folder

POISON = "a poison cat"


class PoisonedWork(MeasureWork):
    """Measures, but a picture of some words ends the process."""

    def __init__(self) -> None:
        super().__init__(EvaluateRequest(prompts=["a"], output="out"))  # type: ignore[arg-type]

    def build(self) -> Any:
        return None

    def work(self, built: Any, item: tuple[Manner, Batch]) -> Measured:
        if any(POISON in str(shot.words) for shot in item[1].shots):
            os.kill(os.getpid(), signal.SIGKILL)
        log = MeasurementLog()
        log.append(_row(shot) for shot in item[1].shots)
        return Measured(tuple(log.rows.values()), len(log.rows))


def _row(shot: Shot) -> Any:
    from dfprompt.measurement.rows import Row

    return Row(shot.method, shot.prompt.id, shot.prompt.text, shot.seed, df_prompt=str(shot.words))


def _shots(words: Sequence[str]) -> list[Shot]:
    return [
        Shot(method, PlainPrompt("a cat"), DFPrompt.from_plain(text), seed, (seed,), f"{method}-{seed}.png")
        for seed in (0, 1)
        for method, text in zip(("plain", "mild", "wild"), words, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("isolated", [True, False])
def test_a_poison_prompt_fails_its_row_or_is_named(tmp_path: Path, isolated: bool) -> None:
    manner = Manner(HowToDraw(), tmp_path, isolated)
    batch = Batch(tuple(_shots(["a cat", "a mild cat", POISON])), {})
    with CrewExecutor(ProcessCrew(2)) as executor:
        if not isolated:
            with pytest.raises(WorkerLostError, match=f"the picture of '?{POISON}"):
                list(executor.map(PoisonedWork(), [(manner, batch)]))
            return
        (done,) = executor.map(PoisonedWork(), [(manner, batch)])
    rows = {row.key[::2]: row for row in done.rows}
    assert len(rows) == 6
    for (method, _), row in rows.items():
        if method == "wild":
            assert row.failed["picture"].startswith("3 workers were lost on it; the last one was killed")
        else:
            assert row.failed == {}


def test_objects_of_this_process_cannot_travel() -> None:
    request = EvaluateRequest(prompts=["a"], output="out", pipeline=load_pipeline("mini"), workers=2)
    with pytest.raises(ConfigError, match="build pipelines and scores by name"), workers_for(request):
        pass


@pytest.mark.slow
def test_two_drivers_in_one_folder_and_a_folder_that_refuses(tmp_path: Path) -> None:
    def run() -> None:
        evaluate(["a cat"], ["plain"], tmp_path / "out", seeds=2, num_inference_steps=1, workers=1)

    with lock_folder(tmp_path / "out"), pytest.raises(DFPromptError, match="another"):
        run()
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "pictures").write_text("a file where pictures go")
    with pytest.raises(GenerationError, match="pictures"):
        run()
    (tmp_path / "out" / "pictures").unlink()
    run()  # nothing was lost: it goes on
