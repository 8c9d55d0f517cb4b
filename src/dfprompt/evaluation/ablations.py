"""Ablations of controls: the same modifiers at other times, or with other weights, against plain.

Every arm is a method of an ordinary evaluation: one row per picture, resumable, all arms of a prompt and seed
from the same noise and drawn together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dfprompt.errors import InputError
from dfprompt.evaluation.effects import EVERY, Effect, ScoreTable, adjusted
from dfprompt.evaluation.methods import Method
from dfprompt.evaluation.run import Outcome, Plan, run_evaluation
from dfprompt.evaluation.summary import Failure, Summary, summarize
from dfprompt.excerpt import quote
from dfprompt.measurement.places import file_name
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN
from dfprompt.measurement.scoreboard import Role
from dfprompt.measurement.shots import AT_ONCE, Progress
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.prompt import EARLY, FULL, LATE, DFPrompt, EffectRange, Span, Weight
from dfprompt.prompt.effect import UNIT

_LONGEST = 120  # characters of a modifier in a file name


@dataclass(frozen=True)
class Arm:
    """One control that every modifier is given: its name in tables, its range and its weight."""

    name: str
    effect_range: EffectRange = FULL
    weight: Weight = UNIT

    @property
    def key(self) -> str:
        """The name in rows and folders."""
        return self.name.replace(" %", "").replace(" ", "-")

    def span(self, modifier: str) -> Span:
        """Return the modifier with this control."""
        return Span(modifier, self.effect_range, self.weight)


@dataclass(frozen=True)
class Design:
    """An ablation: its arms, and the one that the others are compared with besides plain."""

    kind: Literal["range", "weight"]
    arms: tuple[Arm, ...]
    reference: str

    def arm(self, name: str) -> Arm:
        """Return an arm by name."""
        return next(arm for arm in self.arms if arm.name == name)


RANGES = Design(
    "range",
    (
        Arm("first half", EARLY),
        Arm("last half", LATE),
        Arm("first 15 %", EffectRange(1, "0.85")),
        Arm("last 15 %", EffectRange("0.15", 0)),
        Arm("all", FULL),
    ),
    reference="all",
)
WEIGHTS = Design(
    "weight",
    tuple(Arm(f"weight {weight}", FULL, Weight(weight)) for weight in ("0.5", "0.75", "1", "1.25", "1.5")),
    reference="weight 1",
)


class ControlledModifier:
    """Appends one modifier with one control to every prompt."""

    pictures = 1

    def __init__(self, arm: Arm, modifier: str) -> None:
        self._span = arm.span(modifier)
        self.name, self.definition = method_name(arm, modifier), f"the modifier {self._span}"

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """The prompt's own words stay as they are."""
        return [append_modifiers(DFPrompt.from_plain(prompt.text), [self._span]) for prompt in prompts]


def method_name(arm: Arm, modifier: str) -> str:
    """Return what rows call a modifier under an arm.

    >>> method_name(RANGES.arm("first 15 %"), "film grain")
    'first-15:film grain'
    """
    return f"{arm.key}:{modifier}"


def check_modifiers(modifiers: Sequence[str]) -> list[str]:
    """Return the modifiers without spaces around them.

    Raises InputError for none, for one that stands there twice, for one with brackets (its control is what
    the ablation sets) and for one too long to name a folder.
    """
    words = [modifier.strip() for modifier in modifiers if modifier.strip()]
    if not words:
        raise InputError('an ablation needs at least one modifier, such as --modifiers "film grain, bokeh"')
    known: set[str] = set()
    for word in words:
        if "[" in word or "]" in word:
            raise InputError(
                f"the modifier {quote(word)} has brackets; give plain words, their control is what is varied"
            )
        if len(file_name(word)) > _LONGEST:
            raise InputError(f"the modifier {quote(word)} is too long; give a few words")
        if word.casefold() in known:
            raise InputError(f"the modifier {quote(word)} stands there twice")
        known.add(word.casefold())
    return words


@dataclass(frozen=True)
class Ablation:
    """What an ablation found.

    `pooled` compares each arm, as a mean over the modifiers, with plain and with the reference arm;
    `single` each modifier under each arm with plain. `plain` holds plain's mean by score.
    """

    design: Design
    modifiers: tuple[str, ...]
    scores: dict[str, Role]
    plain: dict[str, float | None]
    pooled: tuple[Effect, ...]
    single: tuple[Effect, ...]
    prompts: int
    seeds: int
    rows: int
    failures: tuple[Failure, ...]

    @property
    def effects(self) -> tuple[Effect, ...]:
        """All of them, the pooled ones first."""
        return self.pooled + self.single

    def to_json(self) -> dict[str, Any]:
        """Return kind, modifiers, arms, scores with plain's means, effects and failures."""
        arms = [
            {"arm": arm.name, "range": arm.effect_range.arrow, "weight": str(arm.weight)}
            for arm in self.design.arms
        ]
        return {
            "ablation": self.design.kind,
            "modifiers": list(self.modifiers),
            "arms": arms,
            "prompts": self.prompts,
            "seeds": self.seeds,
            "rows": self.rows,
            "scores": [
                {"score": score, "role": role, "plain": self.plain[score]}
                for score, role in self.scores.items()
            ],
            "effects": [effect.to_json() for effect in self.effects],
            "failures": [vars(failure) for failure in self.failures],
        }


def ablate(
    pipeline: ImagePipeline,
    design: Design,
    modifiers: Sequence[str],
    plan: Plan,
    folder: Path,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
    pictures_at_once: int = AT_ONCE,
) -> Ablation:
    """Draw every modifier under every arm beside plain, and compare; `plan.methods` are not looked at.

    What the folder holds of it already is not drawn again. Raises InputError as `check_modifiers` does and
    what `run_evaluation` raises; failures of single pictures and scores are rows.
    """
    words = check_modifiers(modifiers)
    methods: list[Method] = [ControlledModifier(arm, word) for word in words for arm in design.arms]
    outcome = run_evaluation(
        pipeline,
        replace(plan, methods=methods),
        folder,
        pictures_at_once=pictures_at_once,
        retry_failed=retry_failed,
        progress=progress,
    )
    return read_ablation(design, words, outcome)


def read_ablation(design: Design, modifiers: Sequence[str], outcome: Outcome) -> Ablation:
    """Compute an ablation's numbers from the rows of its evaluation."""
    summary, scores = summarize(outcome), outcome.plan.scoreboard.columns()
    return Ablation(
        design=design,
        modifiers=tuple(modifiers),
        scores=scores,
        plain={score: summary.of(PLAIN, score).mean for score in scores},
        pooled=tuple(adjusted(list(_pooled(design, modifiers, ScoreTable(outcome.rows), scores)))),
        single=tuple(_single(design, modifiers, summary, scores)),
        prompts=summary.prompts,
        seeds=summary.seeds,
        rows=len(outcome.rows),
        failures=summary.failures,
    )


def _pooled(
    design: Design, modifiers: Sequence[str], table: ScoreTable, scores: dict[str, Role]
) -> Iterator[Effect]:
    def names(arm: Arm) -> list[str]:
        return [method_name(arm, word) for word in modifiers]

    reference = design.arm(design.reference)
    for score, role in scores.items():
        for arm in design.arms:
            against = {PLAIN: [PLAIN] * len(modifiers)}
            if arm != reference:
                against[reference.name] = names(reference)
            for baseline, methods in against.items():
                comparison = table.compare(names(arm), methods, score)
                yield Effect(EVERY, arm.name, baseline, score, role, comparison)


def _single(
    design: Design, modifiers: Sequence[str], summary: Summary, scores: dict[str, Role]
) -> Iterator[Effect]:
    for score, role in scores.items():
        for word in modifiers:
            for arm in design.arms:
                comparison = summary.of(method_name(arm, word), score).comparison
                yield Effect(word, arm.name, PLAIN, score, role, comparison)
