"""`dfprompt ablate`: experiments of one command each, with a table, a plot and every picture kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.api.comparison import is_mini
from dfprompt.api.mini_evaluation import NOTE, make_mini_prompts
from dfprompt.api.pipelines import MINI, load_pipeline
from dfprompt.api.rewards import RewardLike
from dfprompt.api.scoring import FIDELITY, load_scoreboard
from dfprompt.errors import ConfigError, InputError
from dfprompt.evaluation.ablation_plots import check_plotting, plot_attribution, plot_ranges, plot_weights
from dfprompt.evaluation.ablation_tables import format_ablation, format_attribution, format_effects_csv
from dfprompt.evaluation.ablations import RANGES, WEIGHTS, Ablation, Design, ablate, check_modifiers
from dfprompt.evaluation.attribution import Attribution, attribute, plain_words
from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.run import Plan
from dfprompt.evaluation.summary import Failure
from dfprompt.measurement.log import ROWS
from dfprompt.measurement.measure import Progress
from dfprompt.measurement.prompts import PlainPrompt, as_prompts, read_plain_prompts
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.requests.render import RenderSettings
from dfprompt.search.lexicon import built_in_lexicon
from dfprompt.storage import check_ours, lock_folder

TABLE, CSV, RESULT = "table.md", "table.csv", "result.json"
PLOTS = ("range.png", "weight.png", "attribution.png")
RANGE_STEPS = 20  # the outer 15 % are three steps then
# One or two of every kind: disturbing, too strong, faint, a composition, harmful, without any effect.
MINI_MODIFIERS = (
    "golden hour",
    "detailed texture",
    "watercolor",
    "vivid colors",
    "soft glow",
    "close-up",
    "film grain",
    "8k",
)
_USUAL_REWARDS = ("clip", "aesthetic")


@dataclass(frozen=True, eq=False)
class AblationRun:
    """What came out of an ablation, and the files written."""

    result: Ablation | Attribution
    folder: Path
    page: str
    files: tuple[Path, ...]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What failed: methods, pictures and scores, by name."""
        return self.result.failures

    def to_json(self) -> dict[str, Any]:
        """Return output, files and the numbers; docs/ablations.md says the keys."""
        return {
            "output": str(self.folder),
            "files": [str(path) for path in self.files],
            **self.result.to_json(),
        }


@dataclass(frozen=True)
class AblationOptions:
    """What every ablation can be told: how to draw, what to score with, where to go on.

    `rewards` and `judges` are names as `load_reward` takes them, or callables; without any, the mini world's
    own with the mini pipeline, else CLIP and aesthetic.
    """

    seeds: Sequence[int] = (0, 1)
    pipeline: str | Path | ImagePipeline = MINI
    rewards: Sequence[RewardLike] = ()
    judges: Sequence[RewardLike] = ()
    settings: RenderSettings | None = None
    negative_prompt: str | None = None
    retry_failed: bool = False
    device: str = "auto"
    dtype: str = "auto"
    allow_code: bool = False
    assignments: Iterable[str] = ()
    progress: Progress | None = None

    def load_pipeline(self) -> ImagePipeline:
        """Return the pipeline, loaded where it is a name."""
        if isinstance(self.pipeline, ImagePipeline):
            return self.pipeline
        return load_pipeline(self.pipeline, device=self.device, dtype=self.dtype)

    def load_scores(self, *, mini: bool) -> Scoreboard:
        """Return the scores; `mini`: the pipeline draws the mini world."""
        return load_scoreboard(
            self.rewards or ([MINI] if mini else _USUAL_REWARDS),
            self.judges or ([FIDELITY] if mini else ()),
            device=self.device,
            dtype=self.dtype,
            allow_code=self.allow_code,
            assignments=self.assignments,
        )


def ablate_ranges(
    prompts: str | Path | Sequence[str | PlainPrompt],
    output: str | Path,
    modifiers: Sequence[str] = (),
    *,
    count: int = 24,
    options: AblationOptions | None = None,
) -> AblationRun:
    """Draw modifiers in the first and last half, the first and last 15 % of the steps and all of them.

    `prompts` is a file as `read_plain_prompts` takes it, "mini" (`count` held-out prompts) or a list;
    `modifiers` are words, by default some of the mini world's, or one of each category of the built-in list.
    20 steps unless the settings say otherwise. Writes rows, pictures, table.md, table.csv, range.png and
    result.json; run again with the same output, it goes on. Raises InputError, ConfigError or LoadError for
    what cannot be, EvaluationError for a folder with another experiment; failures of pictures and scores are
    rows.

    >>> # run = ablate_ranges("prompts.txt", "out", ["film grain"], options=AblationOptions(pipeline="sd15"))
    """
    chosen = options or AblationOptions()
    settings = chosen.settings or RenderSettings()
    if settings.num_inference_steps is None:
        settings = settings.model_copy(update={"num_inference_steps": RANGE_STEPS})
    return _ablate(RANGES, prompts, Path(output), modifiers, count, settings, chosen)


def ablate_weights(
    prompts: str | Path | Sequence[str | PlainPrompt],
    output: str | Path,
    modifiers: Sequence[str] = (),
    *,
    count: int = 24,
    options: AblationOptions | None = None,
) -> AblationRun:
    """Draw modifiers over the full range with the weights 0.5, 0.75, 1, 1.25 and 1.5.

    Arguments, files (weight.png) and errors as for `ablate_ranges`; steps are the pipeline's own.
    """
    chosen = options or AblationOptions()
    return _ablate(WEIGHTS, prompts, Path(output), modifiers, count, chosen.settings, chosen)


def _ablate(
    design: Design,
    prompts: str | Path | Sequence[str | PlainPrompt],
    folder: Path,
    modifiers: Sequence[str],
    count: int,
    settings: RenderSettings | None,
    options: AblationOptions,
) -> AblationRun:
    check_ablation(folder, modifiers)
    listed = _read_prompts(prompts, count)
    pipeline = options.load_pipeline()
    mini = is_mini(pipeline)
    board = options.load_scores(mini=mini)
    plan = Plan(listed, (), options.seeds, board, settings or RenderSettings(), options.negative_prompt)
    with lock_folder(folder):
        found = ablate(
            pipeline,
            design,
            modifiers or default_modifiers(mini=mini),
            plan,
            folder,
            retry_failed=options.retry_failed,
            progress=options.progress,
        )
        titles = {"range": "Modifiers at other times", "weight": "Modifiers with other weights"}
        title = f"{titles[design.kind]}: {pipeline.name}"
        page = format_ablation(found, title=title, note=NOTE if mini else "")
        plot = folder / f"{design.kind}.png"
        (plot_ranges if design is RANGES else plot_weights)(found, plot)
        return _write(found, folder, page, plot)


def attribute_modifiers(
    df_prompt: DFPrompt, output: str | Path, *, options: AblationOptions | None = None
) -> AblationRun:
    """Measure what each modifier of a DF-Prompt, its range and its weight do, and prune what does not help.

    Dropped is every span whose mean effect on the first reward (the written prompt minus the same without the
    span, over the seeds) is below 0; what is left is measured once more on as many fresh seeds. Files
    (attribution.png) and errors as for `ablate_ranges`.

    >>> # run = attribute_modifiers(parse_prompt("a cat, [film grain:late:1.25]"), "out")
    """
    chosen, folder = options or AblationOptions(), Path(output)
    check_attribution(df_prompt, folder)
    pipeline = chosen.load_pipeline()
    mini = is_mini(pipeline)
    board = chosen.load_scores(mini=mini)
    settings = chosen.settings or RenderSettings()
    plan = Plan((), (), chosen.seeds, board, settings, chosen.negative_prompt)
    with lock_folder(folder):
        found = attribute(
            pipeline, df_prompt, plan, folder, retry_failed=chosen.retry_failed, progress=chosen.progress
        )
        title = f"What each modifier brings: {pipeline.name}"
        page = format_attribution(found, title=title, note=NOTE if mini else "")
        plot = folder / "attribution.png"
        plot_attribution(found, plot)
        return _write(found, folder, page, plot)


def check_ablation(folder: Path, modifiers: Sequence[str]) -> None:
    """Raise InputError or ConfigError for what cannot be, before anything heavy is loaded."""
    if modifiers:
        check_modifiers(modifiers)
    _check_folder(folder)


def check_attribution(df_prompt: DFPrompt, folder: Path) -> None:
    """Raise InputError or ConfigError for what cannot be, before anything heavy is loaded."""
    plain_words(df_prompt)
    _check_folder(folder)


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise InputError(f"{folder} is a file; name a folder")
    check_ours(folder, (TABLE, CSV, RESULT, "pictures", *PLOTS), ROWS)
    check_plotting()


def default_modifiers(*, mini: bool) -> list[str]:
    """Return some of the mini world's modifiers, or the first of every category of the built-in list.

    >>> default_modifiers(mini=True)[0]
    'golden hour'
    """
    if mini:
        return list(MINI_MODIFIERS)
    return [entries[0].text for entries in built_in_lexicon().categories().values()]


def _read_prompts(prompts: str | Path | Sequence[str | PlainPrompt], count: int) -> list[PlainPrompt]:
    if not isinstance(prompts, str | Path):
        return as_prompts(prompts)
    if str(prompts) != MINI:
        return read_plain_prompts(prompts)
    if count < 1:
        raise ConfigError(f"the number of prompts must be at least 1, not {count}")
    return make_mini_prompts(count)


def _write(found: Ablation | Attribution, folder: Path, page: str, plot: Path) -> AblationRun:
    effects = found.effects + (found.remeasured if isinstance(found, Attribution) else ())
    files = (folder / TABLE, folder / CSV, plot, folder / RESULT)
    run = AblationRun(found, folder, page, files)
    write_text(files[0], page + "\n")
    write_text(files[1], format_effects_csv(effects))
    write_text(files[3], json.dumps({"dfprompt": 1, **run.to_json()}, indent=1, allow_nan=False) + "\n")
    return run
