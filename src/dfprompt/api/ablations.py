"""`dfprompt ablate`: experiments of one command each, with a table, a plot and every picture kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.api.checks import check
from dfprompt.api.companions import MINI, choose_lexicon, companions_of
from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.scoring import require_scoreboard
from dfprompt.evaluation.ablation_plots import plot_attribution, plot_ranges, plot_weights
from dfprompt.evaluation.ablation_tables import format_ablation, format_attribution, format_effects_csv
from dfprompt.evaluation.ablations import RANGES, WEIGHTS, Ablation, Design, ablate, check_modifiers
from dfprompt.evaluation.attribution import Attribution, attribute, plain_words
from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.plotting import check_plotting
from dfprompt.evaluation.run import Plan
from dfprompt.evaluation.summary import Failure
from dfprompt.measurement.log import ROWS
from dfprompt.measurement.prompts import PlainPrompt, as_prompts, read_plain_prompts
from dfprompt.measurement.shots import Progress
from dfprompt.pipeline.companions import NOTHING, Companions
from dfprompt.prompt.reading import read_prompt
from dfprompt.requests.doors import front_door
from dfprompt.requests.evaluate import AblateModifiersRequest, AttributionRequest
from dfprompt.search.lexicon import built_in_lexicon
from dfprompt.storage import check_ours, lock_folder

TABLE, CSV, RESULT = "table.md", "table.csv", "result.json"
PLOTS = ("range.png", "weight.png", "attribution.png")
RANGE_STEPS = 20  # the outer 15 % are three steps then


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


@front_door(AblateModifiersRequest, "prompts", "output", "modifiers")
def ablate_ranges(request: AblateModifiersRequest, *, progress: Progress | None = None) -> AblationRun:
    """Draw modifiers in the first and last half, the first and last 15 % of the steps and all of them.

    `prompts` is a file as `read_plain_prompts` takes it, "mini" (`count` held-out prompts) or a list;
    `modifiers` are words, by default some of the pipeline's own, or one of each category of the built-in
    list. 20 steps unless told otherwise. Writes rows, pictures, table.md, table.csv, range.png and
    result.json; run again with the same output, it goes on. Raises InputError, ConfigError or LoadError for
    what cannot be, EvaluationError for a folder with another experiment; failures of pictures and scores are
    rows.

    >>> # run = ablate_ranges("prompts.txt", "out", ["film grain"], pipeline="models/sd15")
    """
    if request.num_inference_steps is None:
        request = request.model_copy(update={"num_inference_steps": RANGE_STEPS})
    return _ablate(RANGES, request, progress)


@front_door(AblateModifiersRequest, "prompts", "output", "modifiers")
def ablate_weights(request: AblateModifiersRequest, *, progress: Progress | None = None) -> AblationRun:
    """Draw modifiers over the full range with the weights 0.5, 0.75, 1, 1.25 and 1.5.

    Arguments, files (weight.png) and errors as for `ablate_ranges`; steps are the pipeline's own.
    """
    return _ablate(WEIGHTS, request, progress)


def _ablate(design: Design, request: AblateModifiersRequest, progress: Progress | None) -> AblationRun:
    check(request)
    _check_folder(Path(request.output))
    folder, words = Path(request.output), [str(each) for each in request.modifiers]
    if words:
        words = check_modifiers([entry.text for entry in choose_lexicon(words, NOTHING).entries])
    listed = _read_prompts(request.prompts, request.count)
    pipeline = open_pipeline(request)
    companions = companions_of(pipeline)
    board = require_scoreboard(request, companions)
    plan = Plan(listed, (), request.numbers, board, request.settings, request.negative_prompt)
    with lock_folder(folder):
        found = ablate(
            pipeline,
            design,
            words or default_modifiers(companions),
            plan,
            folder,
            retry_failed=request.retry_failed,
            progress=progress,
        )
        titles = {"range": "Modifiers at other times", "weight": "Modifiers with other weights"}
        title = f"{titles[design.kind]}: {pipeline.name}"
        page = format_ablation(found, title=title, note=companions.note)
        plot = folder / f"{design.kind}.png"
        (plot_ranges if design is RANGES else plot_weights)(found, plot)
        return _write(found, folder, page, plot)


@front_door(AttributionRequest, "df_prompt", "output")
def attribute_modifiers(request: AttributionRequest, *, progress: Progress | None = None) -> AblationRun:
    """Measure what each modifier of a DF-Prompt, its range and its weight do, and prune what does not help.

    Dropped is every span whose mean effect on the first reward (the written prompt minus the same without the
    span, over the seeds) is below 0; what is left is measured once more on as many fresh seeds. Files
    (attribution.png) and errors as for `ablate_ranges`.

    >>> # run = attribute_modifiers("a cat, [film grain:late:1.25]", "out")
    """
    check(request)
    _check_folder(Path(request.output))
    folder, written = Path(request.output), request.df_prompt
    if isinstance(written, str):
        written = read_prompt(
            written,
            dialect=request.dialect,
            strict=request.strict,
            num_inference_steps=request.num_inference_steps,
        )
    plain_words(written)
    pipeline = open_pipeline(request)
    companions = companions_of(pipeline)
    board = require_scoreboard(request, companions)
    plan = Plan((), (), request.numbers, board, request.settings, request.negative_prompt)
    with lock_folder(folder):
        found = attribute(
            pipeline, written, plan, folder, retry_failed=request.retry_failed, progress=progress
        )
        title = f"What each modifier brings: {pipeline.name}"
        page = format_attribution(found, title=title, note=companions.note)
        plot = folder / "attribution.png"
        plot_attribution(found, plot)
        return _write(found, folder, page, plot)


def _check_folder(folder: Path) -> None:
    check_ours(folder, (TABLE, CSV, RESULT, "pictures", *PLOTS), ROWS)
    check_plotting()


def default_modifiers(companions: Companions) -> list[str]:
    """Return some of a pipeline's own modifiers, or the first of every category of the built-in list.

    >>> default_modifiers(companions_of("mini"))[0]
    'golden hour'
    """
    if companions.examples:
        return list(companions.examples)
    return [entries[0].text for entries in built_in_lexicon().categories().values()]


def _read_prompts(prompts: str | Path | Sequence[str | PlainPrompt], count: int) -> list[PlainPrompt]:
    if not isinstance(prompts, str | Path):
        return as_prompts(prompts)
    return make_mini_prompts(count) if str(prompts) == MINI else read_plain_prompts(prompts)


def _write(found: Ablation | Attribution, folder: Path, page: str, plot: Path) -> AblationRun:
    effects = found.effects + (found.remeasured if isinstance(found, Attribution) else ())
    files = (folder / TABLE, folder / CSV, plot, folder / RESULT)
    run = AblationRun(found, folder, page, files)
    write_text(files[0], page + "\n")
    write_text(files[1], format_effects_csv(effects))
    write_text(files[3], json.dumps({"dfprompt": 1, **run.to_json()}, indent=1, allow_nan=False) + "\n")
    return run
