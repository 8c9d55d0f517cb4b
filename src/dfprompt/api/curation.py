"""Curation by name: a source and a recipe become a data set; "mini" is the mini world's prompt logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from dfprompt.api.companions import MINI
from dfprompt.api.gallery import choose_folder
from dfprompt.api.inputs import digest_instruments
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.rewards import load_reward
from dfprompt.api.world import mini_folder
from dfprompt.config import load_config
from dfprompt.data.confidence import AESTHETIC, CLIP, Instruments, Measured, Meter, Unmeasured
from dfprompt.data.curate import Progress, curate
from dfprompt.data.readers import read_records
from dfprompt.data.records import Pair, PromptRecord
from dfprompt.data.report import Report
from dfprompt.data.settings import ConfidenceSettings, CurateSettings
from dfprompt.errors import ConfigError
from dfprompt.executor import Work, opened
from dfprompt.measurement.shards import Shard
from dfprompt.rewards import Reward
from dfprompt.storage import lock_folder

_LOGGED = 20_000  # lines of the mini world's logs, unless source.limit says otherwise
_LOG_SEED = 1


def run_curation(
    source: str | Path,
    recipe: str | Path | None = None,
    assignments: Iterable[str] = (),
    *,
    output: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    allow_code: bool = False,
    shard: str | None = None,
    progress: Progress | None = None,
) -> tuple[Path, Report]:
    """Curate a source as a recipe says: the data set's folder, and what was done.

    `source` is a file, a folder of pictures, a hub id, or "mini"; `shard`, as "3/8", measures a part of a run
    that `merge_folders` puts together. Raises ConfigError for a recipe that cannot be run, or that names
    nothing to draw real prompts with, InputError for rows that cannot be read, LoadError for models.
    """
    settings = read_curation(source, recipe, assignments)
    part = None if shard is None else Shard.parse(shard)
    if part is not None and not settings.confidence.enabled:
        raise ConfigError("--shard divides the drawing, and without pictures nothing is drawn")
    folder = choose_folder(output, Path(source).stem or "data")

    work = PairWork(settings.confidence, device=device, dtype=dtype, allow_code=allow_code)
    with lock_folder(folder), opened(**settings.scale.chosen) as executor:
        report = curate(
            records_of(source, settings),
            settings,
            folder,
            measure=partial(executor.map, work) if settings.confidence.enabled else None,
            shard=part,
            inputs=digest_instruments(settings.confidence),
            resume=resume,
            force=force,
            progress=progress,
        )
    return folder, report


class PairWork(Work[Sequence[Pair], Sequence[Measured | Unmeasured]]):
    """Measures pairs with a pipeline and scores of its own: here, or once in every worker."""

    def __init__(self, settings: ConfidenceSettings, *, device: str, dtype: str, allow_code: bool) -> None:
        super().__init__()
        self.settings, self.device, self.dtype, self.allow_code = settings, device, dtype, allow_code

    def build(self) -> Meter:
        """Load the pipeline and the scores."""
        drawing = load_instruments(
            self.settings, device=self.device, dtype=self.dtype, allow_code=self.allow_code
        )
        return Meter(drawing, self.settings)

    def work(self, built: Meter, item: Sequence[Pair]) -> Sequence[Measured | Unmeasured]:
        """Measure a batch."""
        return built.measure(item)

    def split(self, item: Sequence[Pair]) -> Sequence[Sequence[Pair]]:
        """Halve a batch."""
        middle = len(item) // 2
        return [item[:middle], item[middle:]] if middle else [item]

    def join(self, results: Sequence[Sequence[Measured | Unmeasured]]) -> Sequence[Measured | Unmeasured]:
        """Put the pairs of parts together."""
        return [each for part in results for each in part]

    def lost(self, item: Sequence[Pair], reason: str) -> Sequence[Measured | Unmeasured]:
        """Name the pair that ends workers."""
        return [Unmeasured(pair.measured_as, reason) for pair in item]


def read_curation(
    source: str | Path, recipe: str | Path | None = None, assignments: Iterable[str] = ()
) -> CurateSettings:
    """What a recipe says for a source, with what draws and scores named; raises ConfigError."""
    return _name_instruments(load_config(CurateSettings, recipe, assignments), source)


def load_instruments(
    settings: ConfidenceSettings, *, device: str = "auto", dtype: str = "auto", allow_code: bool = False
) -> Instruments:
    """The pipeline and the scores that confidence is measured with; mini's judges join mini's pictures."""
    pipeline = load_pipeline(settings.pipeline or MINI, device=device, dtype=dtype)
    named = {AESTHETIC: settings.aesthetic or MINI, CLIP: settings.clip or MINI}
    scores: dict[str, Reward] = {
        kind: load_reward(_score_source(name, kind), device=device, dtype=dtype)
        for kind, name in named.items()
    }
    for name in settings.judges:
        scores[name] = load_reward(name, device=device, dtype=dtype, allow_code=allow_code)
    if settings.pipeline == MINI:
        from dfprompt.api.mini_evaluation import MiniFidelity

        scores["fidelity"] = MiniFidelity()

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return pipeline.generate(list(prompts), list(seeds), plain=True)

    return Instruments(draw, scores)


def records_of(source: str | Path, settings: CurateSettings) -> Iterable[PromptRecord]:
    """Rows of a source, "mini" being the mini world's logs."""
    if source == MINI:
        return read_logs(settings.source.limit or _LOGGED)
    return read_records(source, settings.source)


def read_logs(count: int) -> Iterator[PromptRecord]:
    """Lines of the mini world's prompt logs, split by their own short forms, with the facts they ask for."""
    from dfprompt.mini.logs import experience, iter_logs

    for number, logged in enumerate(iter_logs(count, seed=_LOG_SEED, learnt=experience()), start=1):
        facts = {"subject": logged.subject, "colour": logged.colour, "scene": logged.scene}
        yield PromptRecord(logged.prompt, f"mini:{number}", logged.short, logged.modifiers, extra=facts)


def _name_instruments(settings: CurateSettings, source: str | Path) -> CurateSettings:
    """Name what draws and scores, so that the record of a data set does.

    Only the mini world's own prompts are drawn by it unasked: real prompts scored by it would be filtered
    by models that never saw such pictures.
    """
    asked = settings.confidence
    if not asked.enabled:  # nothing is drawn: who would have, is no part of what was done
        nobody = asked.model_copy(update={"pipeline": None, "aesthetic": None, "clip": None})
        return settings.model_copy(update={"confidence": nobody})
    pipeline = asked.pipeline or (MINI if source == MINI else None)
    if pipeline is None:
        raise ConfigError(
            f"what draws and scores the prompts of {source}? Name it with --pipeline (a folder or hub id), "
            "or clean the text only with --no-images"
        )
    usual = {AESTHETIC: MINI, CLIP: MINI} if pipeline == MINI else {AESTHETIC: AESTHETIC, CLIP: CLIP}
    named = {"aesthetic": asked.aesthetic or usual[AESTHETIC], "clip": asked.clip or usual[CLIP]}
    confidence = asked.model_copy(update={"pipeline": pipeline, **named})
    return settings.model_copy(update={"confidence": confidence})


def _score_source(name: str, kind: str) -> str:
    return f"{kind}:{mini_folder(kind)}" if name == MINI else name
