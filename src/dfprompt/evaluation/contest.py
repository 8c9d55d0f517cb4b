"""A few prompts side by side: plain words and their rewrites, drawn from the same seeds and scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from dfprompt.conditioning.compile import plan_prompts
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.schedule import read_schedule
from dfprompt.errors import ConfigError
from dfprompt.images.recipe import ModelMark, Recipe
from dfprompt.measurement.measure import can_share
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN
from dfprompt.measurement.scoreboard import Scoreboard, Scored
from dfprompt.pipeline.image_pipeline import ImagePipeline, Pictures
from dfprompt.pipeline.progress import Report
from dfprompt.pipeline.schedulers import make_scheduler
from dfprompt.pipeline.stock import scheduled
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.plan import Plan
from dfprompt.requests.render import RenderSettings
from dfprompt.statistics.comparison import Comparison, Key, compare_scores, mean_of_prompts


@dataclass(frozen=True)
class Contender:
    """One way to say a prompt: its label in grids and tables, the DF-Prompt, the policy that wrote it."""

    label: str
    prompt: DFPrompt
    policy: ModelMark | None = None


@dataclass(frozen=True)
class Contest:
    """A plain prompt and its rewrites, each with a label of its own."""

    plain: PlainPrompt
    rewrites: tuple[Contender, ...]

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """The plain prompt first, every character of it words; then the rewrites."""
        return (Contender(PLAIN, DFPrompt.from_plain(self.plain.text)), *self.rewrites)


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture (3,H,W) of a contender: its seed, its scores, its recipe."""

    contest: int
    contender: Contender
    seed: int
    image: Tensor
    scored: Scored
    recipe: Recipe


@dataclass(frozen=True, eq=False)
class Match:
    """Contests drawn and scored; shots come by contest, contender, seed."""

    contests: tuple[Contest, ...]
    seeds: tuple[int, ...]
    shots: tuple[Shot, ...]
    scoreboard: Scoreboard
    pictures: Pictures

    def of(self, contest: int, label: str) -> list[Shot]:
        """Return a contender's pictures, in the order of the seeds."""
        return [shot for shot in self.shots if (shot.contest, shot.contender.label) == (contest, label)]

    def plan_of(self, prompt: DFPrompt) -> Plan:
        """Return the plan by which the pipeline drew a prompt."""
        pipe, settings = self.pictures.pipeline.pipe, self.pictures.request.settings
        with scheduled(pipe, make_scheduler(str(settings.scheduler), pipe)):
            schedule = read_schedule(
                pipe,
                num_inference_steps=settings.num_inference_steps,
                clock=settings.clock,
                height=settings.height,
                width=settings.width,
            )
        return plan_prompts([prompt], None, schedule, Options(absence=settings.absence))[0][0]


@dataclass(frozen=True)
class Standing:
    """A contender in one score: its mean, and its comparison with the plain pictures of the same seeds."""

    label: str
    score: str
    mean: float | None
    comparison: Comparison | None


def draw_contests(
    pipeline: ImagePipeline,
    contests: Sequence[Contest],
    seeds: Sequence[int],
    scoreboard: Scoreboard,
    settings: RenderSettings | None = None,
    *,
    negative_prompt: str | None = None,
    progress: bool | Report = False,
) -> Match:
    """Draw every contender with every seed in one go, and score the pictures on the plain prompts.

    What the prompts of a seed have in common is computed once where the lockstep loop knows the pipeline.
    A failing score is named in the shots. Raises ConfigError for nothing to compare and for labels that
    are not distinct, and what drawing raises.
    """
    _check(contests, seeds)
    places = [
        (number, contender, seed)
        for number, contest in enumerate(contests)
        for contender in contest.contenders
        for seed in seeds
    ]
    request = pipeline.read(
        [contender.prompt for _, contender, _ in places],
        [seed for *_, seed in places],
        settings,
        negative_prompt=negative_prompt,
    )
    pictures = pipeline.draw_request(request, share=can_share(pipeline), progress=progress)
    plain_rows = {
        (number, seed): row
        for row, (number, contender, seed) in enumerate(places)
        if contender.label == PLAIN
    }
    scored = scoreboard.measure(
        pictures.images,
        [contests[number].plain for number, *_ in places],
        [plain_rows[number, seed] for number, _, seed in places],
    )
    shots = [
        Shot(number, contender, seed, image, result, recipe)
        for (number, contender, seed), image, result, recipe in zip(
            places, pictures.images, scored, _recipes(pictures, places, scored), strict=True
        )
    ]
    return Match(tuple(contests), tuple(seeds), tuple(shots), scoreboard, pictures)


def _check(contests: Sequence[Contest], seeds: Sequence[int]) -> None:
    if not contests or not seeds:
        raise ConfigError("a comparison needs at least one prompt and one seed")
    if len(set(seeds)) < len(seeds):
        raise ConfigError("a seed stands twice among the seeds")
    for contest in contests:
        labels = [contender.label for contender in contest.contenders]
        if len(set(labels)) < len(labels):
            raise ConfigError(f"the rewrites of one prompt need different labels, got {', '.join(labels)}")


def _recipes(
    pictures: Pictures, places: Sequence[tuple[int, Contender, int]], scored: Sequence[Scored]
) -> Iterator[Recipe]:
    for row, ((_, contender, _), result) in enumerate(zip(places, scored, strict=True)):
        yield pictures.pipeline.recipe(
            pictures.request, row, policy=contender.policy, scores=dict(result.scores)
        )


def rank(match: Match, contest: int | None = None) -> list[Standing]:
    """Return every contender's standing in every score: in one contest, or over all of them by label."""
    shots = [shot for shot in match.shots if contest in (None, shot.contest)]
    labels = list(dict.fromkeys(shot.contender.label for shot in shots))
    standings = []
    for score in match.scoreboard.columns():
        values: dict[str, dict[Key, float]] = {label: {} for label in labels}
        for shot in shots:
            if score in shot.scored.scores:
                values[shot.contender.label][str(shot.contest), shot.seed] = shot.scored.scores[score]
        for label in labels:
            own = values[label]
            comparison = None if label == PLAIN else compare_scores(own, values[PLAIN])
            standings.append(Standing(label, score, mean_of_prompts(own) if own else None, comparison))
    return standings


def relabel(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    """Number the labels that occur more than once: "policy 1", "policy 2".

    >>> [each.label for each in relabel([Contender("policy", DFPrompt(["a"]))] * 2)]
    ['policy 1', 'policy 2']
    """
    labels = [contender.label for contender in contenders]
    seen: dict[str, int] = {}
    numbered = []
    for contender in contenders:
        label = contender.label
        seen[label] = seen.get(label, 0) + 1
        several = labels.count(label) > 1
        numbered.append(replace(contender, label=f"{label} {seen[label]}" if several else label))
    return tuple(numbered)
