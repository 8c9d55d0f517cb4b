"""Curation by name: a source and a recipe become a data set; "mini" is the mini world's prompt logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from dfprompt.api.gallery import choose_folder
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.rewards import load_reward
from dfprompt.api.world import mini_folder
from dfprompt.config import load_config
from dfprompt.data.confidence import AESTHETIC, CLIP, Instruments
from dfprompt.data.curate import Progress, curate
from dfprompt.data.readers import read_records
from dfprompt.data.records import PromptRecord
from dfprompt.data.report import Report
from dfprompt.data.settings import ConfidenceSettings, CurateSettings
from dfprompt.rewards import Reward

MINI = "mini"
_LOGGED = 20_000  # lines of the mini world's logs, unless source.limit says otherwise
_LOG_SEED = 1


def run_curation(
    source: str | Path,
    recipe: str | Path | None = None,
    assignments: Iterable[str] = (),
    *,
    output: Path | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    allow_code: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, Report]:
    """Curate a source as a recipe says: the data set's folder, and what was done.

    `source` is a file, a folder of pictures, a hub id, or "mini". Raises ConfigError for a recipe that
    cannot be run, InputError for rows that cannot be read, LoadError for models.
    """
    settings = load_config(CurateSettings, recipe, assignments)
    folder = choose_folder(output, Path(source).stem or "data")
    records = read_logs(settings.source.limit or _LOGGED) if source == MINI else None

    def instruments() -> Instruments:
        return load_instruments(settings.confidence, device=device, dtype=dtype, allow_code=allow_code)

    report = curate(
        records if records is not None else read_records(source, settings.source),
        settings,
        folder,
        instruments=instruments if settings.confidence.enabled else None,
        resume=resume,
        force=force,
        progress=progress,
    )
    return folder, report


def load_instruments(
    settings: ConfidenceSettings, *, device: str = "auto", dtype: str = "auto", allow_code: bool = False
) -> Instruments:
    """The pipeline and the scores that confidence is measured with; mini's judges join mini's pictures."""
    pipeline = load_pipeline(settings.pipeline, device=device, dtype=dtype)
    scores: dict[str, Reward] = {
        AESTHETIC: load_reward(_score_source(settings.aesthetic, AESTHETIC), device=device, dtype=dtype),
        CLIP: load_reward(_score_source(settings.clip, CLIP), device=device, dtype=dtype),
    }
    for name in settings.judges:
        scores[name] = load_reward(name, device=device, dtype=dtype, allow_code=allow_code)
    if settings.pipeline == MINI:
        from dfprompt.api.mini_evaluation import MiniFidelity

        scores["fidelity"] = MiniFidelity()

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return pipeline.generate(list(prompts), list(seeds), plain=True)

    return Instruments(draw, scores)


def read_logs(count: int) -> Iterator[PromptRecord]:
    """Lines of the mini world's prompt logs, split by their own short forms, with the facts they ask for."""
    from dfprompt.mini.logs import experience, iter_logs

    for number, logged in enumerate(iter_logs(count, seed=_LOG_SEED, learnt=experience()), start=1):
        facts = {"subject": logged.subject, "colour": logged.colour, "scene": logged.scene}
        yield PromptRecord(logged.prompt, f"mini:{number}", logged.short, logged.modifiers, extra=facts)


def _score_source(name: str, kind: str) -> str:
    return f"{kind}:{mini_folder(kind)}" if name == MINI else name
