"""The controls a policy can choose: a table of effect ranges and one of weights, by class number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfprompt.errors import ConfigError, DFPromptError
from dfprompt.excerpt import quote
from dfprompt.prompt import FULL, DFPrompt, EffectRange, Span, Weight, make_plan
from dfprompt.prompt.effect import UNIT
from dfprompt.prompt.fields import read_range

RANGES = ("full", "early", "late")
WEIGHTS = (0.5, 0.75, 1.0, 1.25, 1.5)
# Where the heads start: mostly the default, everything else drawn often enough to be learnt from.
RANGE_START = (0.6, 0.2, 0.2)
WEIGHT_START = (0.05, 0.15, 0.60, 0.15, 0.05)


@dataclass(frozen=True)
class ControlTables:
    """The classes of both heads, decoded: class number -> effect range, class number -> weight.

    >>> tables = make_tables(RANGES, WEIGHTS)
    >>> tables.ranges[1], tables.weights[3]
    (EffectRange(1, 0.5), Weight(1.25))
    """

    ranges: tuple[EffectRange, ...]
    weights: tuple[Weight, ...]

    @property
    def default_range(self) -> int:
        """The class of the full range."""
        return self.ranges.index(FULL)

    @property
    def default_weight(self) -> int:
        """The class of weight 1."""
        return self.weights.index(UNIT)

    def acting(self, num_inference_steps: int | None, strength: float = 1.0) -> tuple[bool, ...]:
        """Say for each range class whether it acts at any step of a run; without a step count all do.

        A policy never draws a range that acts at no step (early, where image-to-image runs only the
        tail; late, in a run of one step).

        >>> make_tables(RANGES, WEIGHTS).acting(1)
        (True, True, False)
        """
        if num_inference_steps is None:
            return (True,) * len(self.ranges)
        plans = (
            make_plan(DFPrompt([Span("x", effect_range)]), num_inference_steps, strength=strength)
            for effect_range in self.ranges
        )
        return tuple(not plan.never_active for plan in plans)


def make_tables(ranges: Sequence[str], weights: Sequence[float]) -> ControlTables:
    """Decode the tables of a config; raises ConfigError naming the entry that cannot be read.

    Both must hold the default (full range, weight 1), no entry twice, and no weight 0.
    """
    decoded = ControlTables(tuple(map(_range, ranges)), tuple(map(_weight, weights)))
    for name, table, default in (("ranges", decoded.ranges, FULL), ("weights", decoded.weights, UNIT)):
        if len(set(table)) < len(table):
            raise ConfigError(f"the table of {name} holds an entry twice: {', '.join(map(str, table))}")
        if default not in table:
            raise ConfigError(
                f"the table of {name} must hold the default, {default}, but has {', '.join(map(str, table))}"
            )
    return decoded


def check_start(shares: Sequence[float], classes: int, name: str) -> tuple[float, ...]:
    """Return starting probabilities that sum to 1; raises ConfigError for others than one per class."""
    if len(shares) != classes or any(not share > 0 for share in shares):
        raise ConfigError(f"{name} needs {classes} probabilities above 0, got {quote(list(shares))}")
    total = sum(shares)
    if abs(total - 1) > 0.01:
        raise ConfigError(f"{name} must sum to 1, and {quote(list(shares))} sums to {total:g}")
    return tuple(share / total for share in shares)


def _range(text: str) -> EffectRange:
    found = read_range(text) if isinstance(text, str) and text.strip() else None
    if found is None:
        raise ConfigError(f"{quote(text)} is not an effect range; write early, late, full or 1->0.85")
    return found


def _weight(value: float) -> Weight:
    try:
        weight = Weight(value)
    except DFPromptError as error:
        raise ConfigError(f"{quote(value)} in the table of weights: {error}") from error
    if not weight.first:
        raise ConfigError("weight 0 in the table of weights removes the words; let the policy not say them")
    return weight
