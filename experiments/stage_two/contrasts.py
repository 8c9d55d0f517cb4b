"""What the arms are there for: differences between them, paired by prompt and noise, training seeds pooled.

Intervals resample prompts: each prompt's difference is the mean over its noises and over training seeds, so
they hold for these trainings. Every training seed also stands alone, and a claim needs all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from dfprompt.measurement.rows import Row
from dfprompt.statistics.comparison import Comparison, Key, compare_scores

_SEED = re.compile(r"(.+)-(\d+)")
_HACK = "hack"
_HACKED = "aesthetic"  # all that the run made to hack was rewarded for
# What each contrast says, one arm, the other; a number behind an arm's name is its training seed.
CONTRASTS = (
    ("stage 2 over the plain prompt", "ppo", "plain"),
    ("words alone over the plain prompt", "frozen", "plain"),
    ("stage 2 over stage 1", "ppo", "stage-1"),
    ("stage 1 over the language model", "stage-1", "language-model"),
    ("stage 1 over random modifiers", "stage-1", "random"),
    ("stage 2 over what users wrote", "ppo", "human"),
    ("stage 2 over the best fixed suffix", "ppo", "suffix"),
    ("stage 2 over the best fixed suffix with its best controls", "ppo", "suffix-controls"),
    ("stage 2 over best-of-4 plain pictures", "ppo", "best-of-4"),
    ("best of 4 pictures in both: stage 2 over the plain prompt", "best-of-4:ppo-1", "best-of-4"),
    ("what trained heads bring: stage 2 over words alone", "ppo", "frozen"),
    ("the same by GRPO: over words alone by GRPO", "grpo", "grpo-frozen"),
    ("words alone: GRPO over PPO", "grpo-frozen", "frozen"),
    ("what the controls bring to the same words", "ppo", "stripped:ppo"),
    ("what matching controls to words brings", "ppo", "shuffled:ppo"),
    ("what different controls bring over the best single one", "ppo", "constant:ppo"),
    ("GRPO: what the controls bring to the same words", "grpo", "stripped:grpo"),
    ("GRPO: what matching controls to words brings", "grpo", "shuffled:grpo"),
    ("GRPO: what different controls bring over the best single one", "grpo", "constant:grpo"),
    (
        "placebo: controls that were ignored in training, left out, over words alone",
        "stripped:placebo",
        "frozen",
    ),
    ("heads alone over stage 1", "heads", "stage-1"),
    ("what comparing controls on the same words brings to PPO", "compared", "ppo"),
    ("what comparing controls on the same words brings to GRPO", "grpo", "one-draw"),
    ("a control per phrase over one per token", "ppo", "token"),
    ("PPO over GRPO", "ppo", "grpo"),
    ("GRPO over the plain prompt", "grpo", "plain"),
    ("the run made to hack, over the plain prompt", _HACK, "plain"),
    ("the run made to hack, over stage 1", _HACK, "stage-1"),
)


@dataclass(frozen=True)
class Contrast:
    """One difference in one score: pooled over training seeds, and for each of them."""

    says: str
    score: str
    pooled: Comparison
    seeds: tuple[Comparison, ...]

    @property
    def win_rate(self) -> float:
        """The share of pictures won, ties half, mean over training seeds.

        Of the pooled difference it would be another: its pictures are means of several, and win more often.
        """
        return fmean(each.win_rate for each in self.seeds)

    @property
    def agrees(self) -> bool:
        """Whether every training seed has the sign of the pooled difference; none at all is no sign."""
        return all(each.difference * self.pooled.difference > 0 for each in self.seeds)


def find_contrasts(rows: Iterable[Row], scores: Sequence[str]) -> list[Contrast]:
    """Every contrast whose arms were evaluated, in every score."""
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    found = []
    for says, first, second in CONTRASTS:
        pairs = list(_pairs(by_method, first, second))
        for score in [*scores, _HACKED] if first == _HACK else scores:
            values = [(_values(by_method[a], score), _values(by_method[b], score)) for a, b in pairs]
            if (contrast := _contrast(says, score, values)) is not None:
                found.append(contrast)
    return found


def _contrast(
    says: str, score: str, values: Sequence[tuple[Mapping[Key, float], Mapping[Key, float]]]
) -> Contrast | None:
    """The contrast of both arms' values by training seed; None where no picture has both."""
    # A seed of which no picture came has no part in the mean either: it would leave nothing of it.
    seeds = [(found, a, b) for a, b in values if (found := compare_scores(a, b)) is not None]
    if not seeds:
        return None
    pooled = compare_scores(_mean([a for _, a, _ in seeds]), _mean([b for *_, b in seeds]))
    return None if pooled is None else Contrast(says, score, pooled, tuple(found for found, *_ in seeds))


def format_contrasts(contrasts: Sequence[Contrast]) -> str:
    """A markdown table: difference, interval, share of pictures won, each training seed, whether all agree.

    "All" is the verdict that a claim needs: an interval without 0 and every training seed on its side of it.
    """
    lines = [
        "| contrast | score | difference | 95 % interval | won | training seeds | holds for all |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in contrasts:
        pooled = each.pooled
        low, high = pooled.interval
        seeds = ", ".join(f"{one.difference:+.3f}" for one in each.seeds)
        lines.append(
            f"| {each.says} | {each.score} | {pooled.difference:+.3f} | {low:+.3f} to {high:+.3f} "
            f"| {each.win_rate:.0%} | {seeds} | {_verdict(each)} |"
        )
    return "\n".join(lines) + "\n"


def _verdict(contrast: Contrast) -> str:
    low, high = contrast.pooled.interval
    if not (low > 0 or high < 0):  # nor by an interval that one prompt cannot have
        return "not told from 0"
    return f"{len(contrast.seeds)} of {len(contrast.seeds)}" if contrast.agrees else "**seeds differ**"


def _pairs(methods: Mapping[str, object], first: str, second: str) -> Iterable[tuple[str, str]]:
    """The methods of two arms that belong together: seed by seed, or all seeds against what has none."""
    ones, others = _seeds(methods, first), _seeds(methods, second)
    for seed, name in ones.items():
        if seed in others:
            yield name, others[seed]
        elif None in others:
            yield name, others[None]


def _seeds(methods: Iterable[str], arm: str) -> dict[int | None, str]:
    if arm in methods:
        return {None: arm}
    matches = ((match, name) for name in methods if (match := _SEED.fullmatch(name)))
    return {int(match[2]): name for match, name in sorted(matches, key=lambda m: m[1]) if match[1] == arm}


def _values(rows: Sequence[Row], score: str) -> dict[Key, float]:
    return {(row.prompt_id, row.seed): row.scores[score] for row in rows if score in row.scores}


def _mean(values: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    """The mean over training seeds of every picture all of them have."""
    shared = set(values[0]).intersection(*values[1:])
    return {key: sum(each[key] for each in values) / len(values) for key in sorted(shared)}
