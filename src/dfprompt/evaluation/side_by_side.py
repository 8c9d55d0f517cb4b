"""A few prompts side by side: plain words and their rewrites, drawn from the same seeds and scored."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfprompt.conditioning.compile import plan_prompts
from dfprompt.conditioning.options import Options
from dfprompt.errors import ConfigError
from dfprompt.evaluation.summary import ScoreLine, score_lines
from dfprompt.images.metadata import ModelMark
from dfprompt.images.reading import read_image
from dfprompt.measurement.log import MeasurementLog
from dfprompt.measurement.measure import Measurement, fingerprint
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rescoring import check_scores
from dfprompt.measurement.rows import PLAIN, Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import AT_ONCE, Elsewhere, HowToDraw, Progress, Shot
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.plan import Plan
from dfprompt.requests.render import RenderSettings

KIND = "comparison"


@dataclass(frozen=True)
class Rewrite:
    """One way to say a prompt: its label in grids and tables, the DF-Prompt, the policy that wrote it.

    `unchanged` says why a policy added nothing, where it did.
    """

    label: str
    prompt: DFPrompt
    policy: ModelMark | None = None
    unchanged: str = ""


@dataclass(frozen=True)
class Compared:
    """A plain prompt and its rewrites, each with a label of its own."""

    plain: PlainPrompt
    rewrites: tuple[Rewrite, ...]

    @property
    def all(self) -> tuple[Rewrite, ...]:
        """The plain prompt first, every character of it words; then the rewrites."""
        return (Rewrite(PLAIN, DFPrompt.from_plain(self.plain.text)), *self.rewrites)


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Prompts drawn and scored: a row per prompt, seed and rewrite; pictures lie below `folder`.

    `same` names, by prompt id and label, the rewrite whose pictures another one shares: what says the same
    at every step is drawn once.
    """

    prompts: tuple[Compared, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    columns: dict[str, Any]
    pipeline: ImagePipeline
    settings: RenderSettings
    folder: Path
    same: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def same_as(self, prompt: Compared, rewrite: Rewrite) -> str | None:
        """Return the label of the rewrite whose pictures this one shares; None if it has its own."""
        return self.same.get((prompt.plain.id, rewrite.label))

    def of(self, prompt: Compared, label: str) -> list[Row]:
        """Return a rewrite's rows, in the order of the seeds."""
        return [row for row in self.rows if (row.prompt_id, row.method) == (prompt.plain.id, label)]

    def size(self) -> tuple[int, int]:
        """Height and width of the pictures, in pixels."""
        return read_image(self.folder / str(self.rows[0].picture)).size

    def lines(self, prompt: Compared | None = None) -> list[ScoreLine]:
        """Return every rewrite in every score: of one prompt, or over all of them by label."""
        rows: dict[str, list[Row]] = {}
        for row in self.rows:
            if prompt is None or row.prompt_id == prompt.plain.id:
                rows.setdefault(row.method, []).append(row)
        return score_lines(rows, self.columns)

    def plan_of(self, prompt: DFPrompt) -> Plan:
        """Return the plan by which the pipeline drew a prompt."""
        return make_plans(self.pipeline, self.settings, [prompt])[0]


def make_plans(pipeline: ImagePipeline, settings: RenderSettings, prompts: Sequence[DFPrompt]) -> list[Plan]:
    """Return the plans by which a pipeline draws prompts, with settings whose defaults are filled in."""
    schedule, options = pipeline.schedule(settings), Options(absence=settings.absence)
    return [plan_prompts([prompt], None, schedule, options)[0][0] for prompt in prompts]


def find_same(
    pipeline: ImagePipeline, settings: RenderSettings, prompts: Sequence[Compared]
) -> dict[tuple[str, str], str]:
    """Return, by prompt id and label, which earlier rewrite says the same at every step."""
    same: dict[tuple[str, str], str] = {}
    for prompt in prompts:
        first: dict[Hashable, str] = {}
        plans = make_plans(pipeline, settings, [each.prompt for each in prompt.all])
        for each, plan in zip(prompt.all, plans, strict=True):
            heard = first.setdefault(_what_is_heard(plan), each.label)
            if heard != each.label:
                same[prompt.plain.id, each.label] = heard
    return same


def _what_is_heard(plan: Plan) -> Hashable:
    """What decides the picture: text, weights and hidden words of every step, and LoRAs over time."""
    tags = tuple((track.span.text, track.weights) for track in plan.tracks if track.span in plan.prompt.tags)
    return tuple((step.text, step.weights, step.hidden) for step in plan.steps), tags


def draw_side_by_side(
    pipeline: ImagePipeline,
    prompts: Sequence[Compared],
    seeds: Sequence[int],
    scoreboard: Scoreboard,
    how: HowToDraw,
    log: Path,
    name: Callable[[Compared, str, int], str],
    *,
    resume: bool = False,
    at_once: int = AT_ONCE,
    progress: Progress | None = None,
    elsewhere: Elsewhere | None = None,
) -> SideBySide:
    """Draw every rewrite with every seed beside the plain prompt, and score the pictures on its words.

    `name` gives a picture's file beside the log. `progress` is told after every `at_once` pictures how many
    are written down; with `elsewhere` other processes draw and score. With `resume` what the log holds is not
    drawn again. A failing score is named in the rows. Raises ConfigError for nothing to compare and for
    labels that are not distinct, InputError for a log of another comparison, and what drawing raises.
    """
    check_distinct(prompts, seeds)
    settings = pipeline.resolve(how.settings)
    same = find_same(pipeline, settings, prompts)
    shots = [
        Shot(
            each.label,
            prompt.plain,
            each.prompt,
            seed,
            (seed,),
            picture=name(prompt, each.label, seed),
            policy=each.policy,
        )
        for prompt in prompts
        for seed in seeds
        for each in prompt.all
        if (prompt.plain.id, each.label) not in same
    ]
    asked = fingerprint(pipeline, scoreboard, how)
    with MeasurementLog(log, asked, kind=KIND, resume=resume) as open_log:
        check_scores(log.parent, open_log.rows, [each.plain for each in prompts], scoreboard)
        measurement = Measurement(pipeline, scoreboard, open_log, how, isolated=False, elsewhere=elsewhere)
        at_once = at_once if elsewhere is None else 1  # a seed's pictures, or there were too few batches
        measured = measurement.measure(shots, at_once=at_once, retry_failed=resume, progress=progress)
        rows = {row.key: row for row in measured}
    for prompt in prompts:  # what is drawn once still counts for each that says it
        for each in prompt.all:
            for seed in seeds:
                shared = same.get((prompt.plain.id, each.label), each.label)
                row = rows[shared, prompt.plain.id, seed]
                if shared != each.label:
                    row = replace(row, method=each.label, df_prompt=str(each.prompt), pictures=0)
                rows[each.label, prompt.plain.id, seed] = row
    return SideBySide(
        tuple(prompts),
        tuple(seeds),
        tuple(rows[e.label, p.plain.id, s] for p in prompts for s in seeds for e in p.all),
        dict(scoreboard.columns()),
        pipeline,
        settings,
        log.parent,
        same,
    )


def check_distinct(prompts: Sequence[Compared], seeds: Sequence[int]) -> None:
    """Raise ConfigError for nothing to compare, a seed twice, or rewrites that share a label."""
    if not prompts or not seeds:
        raise ConfigError("a comparison needs at least one prompt and one seed")
    if len(set(seeds)) < len(seeds):
        raise ConfigError("a seed stands twice among the seeds")
    for prompt in prompts:
        labels = [each.label for each in prompt.all]
        if len(set(labels)) < len(labels):
            raise ConfigError(f"the rewrites of one prompt need different labels, got {', '.join(labels)}")


def relabel(rewrites: Sequence[Rewrite]) -> tuple[Rewrite, ...]:
    """Number the labels that occur more than once: "policy 1", "policy 2".

    >>> [each.label for each in relabel([Rewrite("policy", DFPrompt(["a"]))] * 2)]
    ['policy 1', 'policy 2']
    """
    labels = [each.label for each in rewrites]
    seen: dict[str, int] = {}
    numbered = []
    for each in rewrites:
        label = each.label
        seen[label] = seen.get(label, 0) + 1
        several = labels.count(label) > 1
        numbered.append(replace(each, label=f"{label} {seen[label]}" if several else label))
    return tuple(numbered)
