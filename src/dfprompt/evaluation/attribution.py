"""What each modifier of a written DF-Prompt brings, and its range, and its weight; and what pruning leaves.

The written prompt is drawn beside itself without one modifier, with that modifier over the full range, and
with it at weight 1, from the same seeds. The choice of what to keep is made on these seeds, so the pruned
prompt is measured again on seeds that chose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dfprompt.errors import InputError
from dfprompt.evaluation.effects import Effect, ScoreTable, adjusted
from dfprompt.evaluation.methods import Method
from dfprompt.evaluation.run import Outcome, Plan, run_evaluation
from dfprompt.evaluation.summary import Failure, summarize
from dfprompt.excerpt import quote
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN
from dfprompt.measurement.scoreboard import Role
from dfprompt.measurement.shots import AT_ONCE, Progress
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import FULL, DFPrompt, Span
from dfprompt.prompt.effect import UNIT

WRITTEN, PRUNED = "written", "pruned"
WHOLE = "the whole prompt"
Kind = Literal["modifier", "range", "weight"]
_BASELINES: dict[Kind, str] = {"modifier": "without it", "range": "full range", "weight": "weight 1"}


@dataclass(frozen=True)
class Change:
    """The written prompt with one thing taken back: of which span (numbered from 0), what, and the result."""

    span: int
    kind: Kind
    prompt: DFPrompt

    @property
    def method(self) -> str:
        """The name in rows."""
        return f"{_BASELINES[self.kind].replace(' it', '').replace(' ', '-')}:{self.span + 1}"


class FixedPrompt:
    """One DF-Prompt, whatever the plain prompt."""

    pictures = 1

    def __init__(self, name: str, prompt: DFPrompt) -> None:
        self.name, self.definition, self._prompt = name, str(prompt), prompt

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """The same for all."""
        return [self._prompt] * len(prompts)


def plain_words(written: DFPrompt) -> str:
    """Return a prompt's words outside its spans; raises InputError where there are no spans or no words.

    >>> plain_words(DFPrompt(["a cat, ", Span("film grain", "late")]))
    'a cat'
    """
    if not written.controls:
        raise InputError(
            f"{quote(str(written))} has no spans, so there is nothing to attribute; put a modifier in "
            "brackets, as in [film grain:late]"
        )
    words = keep_spans(written, ()).plain_text.strip()
    if not words:
        raise InputError(f"{quote(str(written))} has no words outside its spans; begin with the plain prompt")
    return words


def keep_spans(written: DFPrompt, kept: Sequence[int]) -> DFPrompt:
    """Return the prompt with only the spans numbered in `kept`; separators left over go.

    >>> print(keep_spans(DFPrompt(["a cat, ", Span("grain"), ", ", Span("mist")]), [1]))
    a cat, [mist:full]
    """
    left = written
    for index in reversed(range(len(written.controls))):
        if index not in kept:
            left = left.without(index)
    return left


def changes_of(written: DFPrompt) -> list[Change]:
    """Return what is drawn beside a prompt: per span, without it, and its range and weight undone if any."""
    found = []
    for index, span in enumerate(written.controls):
        found.append(Change(index, "modifier", written.without(index)))
        if span.effect_range != FULL:
            found.append(Change(index, "range", written.with_range(index, FULL)))
        if span.weight != UNIT:
            found.append(Change(index, "weight", written.with_weight(index, UNIT)))
    return found


@dataclass(frozen=True)
class Attribution:
    """What each change does, and what is left when what does not help the reward is pruned.

    `effects` are differences of the written prompt to the changed one (above 0: what was taken back had
    raised the score), and of written to plain. `remeasured` holds the pruned prompt against written and
    plain on fresh seeds; empty where nothing was dropped.
    """

    written: DFPrompt
    plain: str
    reward: str
    scores: dict[str, Role]
    effects: tuple[Effect, ...]
    kept: tuple[int, ...]
    remeasured: tuple[Effect, ...]
    seeds: tuple[int, ...]
    fresh_seeds: tuple[int, ...]
    rows: int
    failures: tuple[Failure, ...]

    @property
    def pruned(self) -> DFPrompt:
        """The written prompt with the kept spans alone."""
        return keep_spans(self.written, self.kept)

    @property
    def dropped(self) -> tuple[Span, ...]:
        """The spans that were pruned."""
        return tuple(span for index, span in enumerate(self.written.controls) if index not in self.kept)

    def to_json(self) -> dict[str, Any]:
        """Return the prompts, what was kept and dropped, seeds, effects on both sets of seeds, failures."""
        return {
            "ablation": "attribution",
            "df_prompt": str(self.written),
            "prompt": self.plain,
            "reward": self.reward,
            "seeds": list(self.seeds),
            "fresh_seeds": list(self.fresh_seeds),
            "rows": self.rows,
            "scores": [{"score": score, "role": role} for score, role in self.scores.items()],
            "effects": [effect.to_json() for effect in self.effects],
            "pruned": str(self.pruned),
            "kept": [str(self.written.controls[index]) for index in self.kept],
            "dropped": [str(span) for span in self.dropped],
            "remeasured": [effect.to_json() for effect in self.remeasured],
            "failures": [vars(failure) for failure in self.failures],
        }


def attribute(
    pipeline: ImagePipeline,
    written: DFPrompt,
    plan: Plan,
    folder: Path,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
    pictures_at_once: int = AT_ONCE,
) -> Attribution:
    """Draw a prompt beside its changes, prune it by the first reward, and measure what is left once more.

    Of `plan` the seeds, scores and settings are used. A modifier is dropped if its mean effect on the
    first reward is below 0; one whose effect could not be measured stays. The pruned prompt is drawn on as
    many seeds again, behind the last one. Raises InputError for a prompt without spans or without words
    outside them, and what `run_evaluation` raises; failures of single pictures and scores are rows.
    """
    plain, changes = plain_words(written), changes_of(written)

    def run(methods: Sequence[Method], seeds: Sequence[int], *, retry: bool) -> Outcome:
        return run_evaluation(
            pipeline,
            replace(plan, prompts=[PlainPrompt(plain)], methods=methods, seeds=seeds),
            folder,
            pictures_at_once=pictures_at_once,
            retry_failed=retry,
            progress=progress,
        )

    own = FixedPrompt(WRITTEN, written)
    arms: list[Method] = [own, *(FixedPrompt(change.method, change.prompt) for change in changes)]
    outcome = run(arms, plan.seeds, retry=retry_failed)
    scores, reward = plan.scoreboard.columns(), plan.scoreboard.chooser
    effects = adjusted(list(_effects(written, changes, ScoreTable(outcome.rows), scores)))
    kept = _choose(written, [effect for effect in effects if effect.score == reward])
    outcomes = [outcome]
    fresh: tuple[int, ...] = ()
    remeasured: list[Effect] = []
    if len(kept) < len(written.controls):
        fresh = tuple(range(max(plan.seeds) + 1, max(plan.seeds) + 1 + len(outcome.plan.seeds)))
        left = FixedPrompt(_kept_name(kept), keep_spans(written, kept))
        outcomes.append(run([own, left], fresh, retry=False))
        table = ScoreTable(outcomes[1].rows)
        remeasured = adjusted(list(_remeasured(left.name, table, scores)))
    return Attribution(
        written=written,
        plain=plain,
        reward=reward,
        scores=scores,
        effects=tuple(effects),
        kept=kept,
        remeasured=tuple(remeasured),
        seeds=tuple(outcome.plan.seeds),
        fresh_seeds=fresh,
        rows=sum(len(each.rows) for each in outcomes),
        failures=tuple(failure for each in outcomes for failure in summarize(each).failures),
    )


def _effects(
    written: DFPrompt, changes: Sequence[Change], table: ScoreTable, scores: dict[str, Role]
) -> Iterator[Effect]:
    names = span_names(written)
    for score, role in scores.items():
        yield Effect(WHOLE, WRITTEN, PLAIN, score, role, table.compare([WRITTEN], [PLAIN], score))
        for change in changes:
            comparison = table.compare([WRITTEN], [change.method], score)
            baseline = _BASELINES[change.kind]
            yield Effect(names[change.span], change.kind, baseline, score, role, comparison)


def span_names(written: DFPrompt) -> list[str]:
    """Return each span's words, numbered where two spans say the same.

    >>> span_names(DFPrompt([Span("mist"), " a cat ", Span("mist")]))
    ['mist (1)', 'mist (2)']
    """
    texts = [span.text.strip() for span in written.controls]
    return [
        f"{text} ({texts[: index + 1].count(text)})" if texts.count(text) > 1 else text
        for index, text in enumerate(texts)
    ]


def _choose(written: DFPrompt, effects: Sequence[Effect]) -> tuple[int, ...]:
    """Return the numbers of the spans whose own effect on the reward is not below 0 in the mean."""
    found = {effect.modifier: effect.comparison for effect in effects if effect.arm == "modifier"}
    comparisons = [found[name] for name in span_names(written)]
    return tuple(index for index, each in enumerate(comparisons) if each is None or not each.difference < 0)


def _kept_name(kept: Sequence[int]) -> str:
    """A name that says what was kept, so that a folder may hold another choice after more seeds."""
    return f"{PRUNED}:{'-'.join(str(index + 1) for index in kept) or 'nothing'}"


def _remeasured(name: str, table: ScoreTable, scores: dict[str, Role]) -> Iterator[Effect]:
    pairs = ((PRUNED, name, WRITTEN), (PRUNED, name, PLAIN), (WRITTEN, WRITTEN, PLAIN))
    for score, role in scores.items():
        for arm, method, baseline in pairs:
            comparison = table.compare([method], [baseline], score)
            yield Effect(WHOLE, arm, baseline, score, role, comparison, fresh=True)
