"""All scores of an evaluation: rewards and judges together, each failure kept to its own rows and name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from dfprompt.errors import ConfigError, DFPromptError, RewardError
from dfprompt.measurement.isolation import attempt
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.rewards import CompositeReward, ImageBatch, Reward, Score, as_score

Kind: TypeAlias = Literal["reward", "judge"]
Role: TypeAlias = Literal["reward", "judge", "part"]
"""What a column is: optimised, only watched, or a score that enters a composite."""
Plain: TypeAlias = int | Mapping[str, float] | None
"""Where a picture's plain picture is: a row of the same batch, its recorded columns, or nowhere."""


@dataclass
class Scored:
    """One picture's columns, and what could not be computed, by score."""

    scores: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Scoreboard:
    """Scores pictures with every reward and judge, sharing the image towers they have in common.

    Columns carry the labels of the mappings; a composite's parts and terms carry their own names, behind
    "LABEL." where another score has that name. Raises ConfigError for a label that is both.
    """

    def __init__(self, rewards: Mapping[str, Reward], judges: Mapping[str, Reward] | None = None) -> None:
        if both := sorted(rewards.keys() & (judges or {}).keys()):
            raise ConfigError(f"{', '.join(both)}: a score is either a reward or a judge")
        self.kinds: dict[str, Kind] = {
            **dict.fromkeys(rewards, "reward"),
            **dict.fromkeys(judges or {}, "judge"),
        }
        self.scores: dict[str, Score] = {
            label: as_score(score, label) for label, score in {**rewards, **(judges or {})}.items()
        }
        self._columns = dict(self._name_columns())

    @property
    def chooser(self) -> str:
        """The label by which best-of-n chooses: the first reward; raises ConfigError if there is none."""
        for label, kind in self.kinds.items():
            if kind == "reward":
                return label
        raise ConfigError("an evaluation needs at least one reward")

    def measure(
        self,
        images: Tensor,
        prompts: Sequence[PlainPrompt],
        plain: Sequence[Plain],
        only: Sequence[str] | None = None,
    ) -> list[Scored]:
        """Score pictures (B,3,H,W) against their plain prompts, one Scored per row.

        `plain` says for each row where the scores of its plain picture are; `only` names the scores wanted.
        """
        batch, found = ImageBatch(images), [Scored() for _ in prompts]
        for label in self.scores if only is None else only:
            for row, result in enumerate(self._measure(label, batch, prompts, plain)):
                if isinstance(result, DFPromptError):
                    found[row].failed[label] = str(result)
                else:
                    found[row].scores.update(result)
        return found

    def _measure(
        self, label: str, batch: ImageBatch, prompts: Sequence[PlainPrompt], plain: Sequence[Plain]
    ) -> list[dict[str, float] | DFPromptError]:
        score = self.scores[label]
        if isinstance(score, CompositeReward) and score.needs_plain:
            return self._measure_against_plain(label, score, batch, prompts, plain)

        def work(rows: Sequence[int]) -> list[dict[str, float]]:
            some = [prompts[row] for row in rows]
            columns = score.columns(_take(batch, rows), _texts(some), _records(some))
            return self._rows(label, columns)

        return attempt(work, range(len(prompts)))

    def _measure_against_plain(
        self,
        label: str,
        score: CompositeReward,
        batch: ImageBatch,
        prompts: Sequence[PlainPrompt],
        plain: Sequence[Plain],
    ) -> list[dict[str, float] | DFPromptError]:
        """Score the parts of every picture first, because its plain picture may be a row beside it."""

        def measure_parts(rows: Sequence[int]) -> list[dict[str, float]]:
            some = [prompts[row] for row in rows]
            columns = {
                name: part.score_batch(_take(batch, rows), _texts(some), _records(some))
                for name, part in score.parts.items()
            }
            return [dict(zip(columns, values, strict=True)) for values in _transpose(columns)]

        parts = attempt(measure_parts, range(len(prompts)))
        bases = [self._plain_parts(label, score, parts, where) for where in plain]

        def work(rows: Sequence[int]) -> list[dict[str, float]]:
            some = [prompts[row] for row in rows]
            chosen = [bases[row] for row in rows]
            missing = next((base for base in chosen if isinstance(base, DFPromptError)), None)
            if missing is not None:
                raise missing
            columns = {
                name: torch.tensor([base[name] for base in chosen if not isinstance(base, DFPromptError)])
                for name in score.parts
            }
            texts, records = _texts(some), _records(some)
            terms = score.score_terms(_take(batch, rows), texts, records, plain=columns)
            judged = {
                name: judge.score_batch(_take(batch, rows), texts, records)
                for name, judge in score.judges.items()
            }
            return self._rows(label, {score.name: terms.reward, **terms.scores, **terms.terms, **judged})

        return attempt(work, range(len(prompts)))

    def _plain_parts(
        self,
        label: str,
        score: CompositeReward,
        parts: Sequence[dict[str, float] | DFPromptError],
        where: Plain,
    ) -> dict[str, float] | DFPromptError:
        if isinstance(where, int):
            return parts[where]
        recorded = {
            name: where[self._columns[label, name]]
            for name in score.parts
            if where is not None and self._columns[label, name] in where
        }
        if len(recorded) < len(score.parts):
            return RewardError(f"{label} compares with the plain picture of its seed, which has no scores")
        return recorded

    def _rows(self, label: str, columns: Mapping[str, Tensor]) -> list[dict[str, float]]:
        names = [self._columns.get((label, name), f"{label}.{name}") for name in columns]
        return [dict(zip(names, values, strict=True)) for values in _transpose(columns)]

    def _name_columns(self) -> Iterator[tuple[tuple[str, str], str]]:
        taken = set(self.scores)
        for label, score in self.scores.items():
            yield (label, score.name), label
            for inner in _inner_names(score):
                name = f"{label}.{inner}" if inner in taken else inner
                taken.add(name)
                yield (label, inner), name

    def measures(self) -> dict[str, str]:
        """Return the columns whose scores say what they measure, with what that is."""
        told = {label: score.measures for label, score in self.scores.items()}
        for label, score in self.scores.items():
            if isinstance(score, CompositeReward):
                told |= {self._columns[label, name]: judge.measures for name, judge in score.judges.items()}
        return {name: what for name, what in told.items() if what}

    def columns(self) -> dict[str, Role]:
        """Return every column that tables show with its role; a composite's terms and gates are left out."""
        shown: dict[str, Role] = {}
        for (label, inner), name in self._columns.items():
            score = self.scores[label]
            if inner == score.name:
                shown[name] = self.kinds[label]
            elif isinstance(score, CompositeReward) and inner in {*score.parts, *score.extra}:
                shown[name] = "part"
            elif isinstance(score, CompositeReward) and inner in score.judges:
                shown[name] = "judge"
        return shown


def _inner_names(score: Score) -> list[str]:
    if not isinstance(score, CompositeReward):
        return []
    gates = [f"{name}_{'term' if name == 'aesthetic' else 'gate'}" for name in score.parts]
    extra = [column for name in score.extra for column in (name, f"{name}_term")]
    return [*score.parts, *gates, *extra, *score.judges]


def _transpose(columns: Mapping[str, Tensor]) -> list[tuple[float, ...]]:
    return list(zip(*(values.tolist() for values in columns.values()), strict=True))


def _take(batch: ImageBatch, rows: Sequence[int]) -> ImageBatch:
    """The whole batch keeps what it has computed already."""
    return batch if len(rows) == len(batch) else ImageBatch(batch.images[list(rows)])


def _texts(prompts: Sequence[PlainPrompt]) -> list[str]:
    return [prompt.text for prompt in prompts]


def _records(prompts: Sequence[PlainPrompt]) -> list[Mapping[str, object]]:
    return [prompt.record for prompt in prompts]
