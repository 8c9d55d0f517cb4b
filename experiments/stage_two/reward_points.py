"""The points of the reward ablation: what each changes in the reward, or in the filter of stage 1's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dfprompt.config import nearest
from dfprompt.data.settings import ConfidenceSettings
from dfprompt.errors import ConfigError
from dfprompt.rewards.settings import CompositeSettings

ALL, TERMS = "all", "terms"
_REWARD_KNOBS, _FILTER_KNOBS = ("a", "b", "zeta", "kappa"), ("sigma", "gamma")
KNOBS = (*_REWARD_KNOBS, *_FILTER_KNOBS)
# Below and above the recipe's own value. Thresholds live on their model's scale: a quarter of it is far.
_FACTORS = {"a": (0.5, 2.0), "zeta": (0.75, 1.25), "kappa": (0.75, 1.25), "gamma": (0.5, 2.0)}
_VALUES = {"b": (0.5, 1.0), "sigma": (0.0, 1.0)}
_MOST_POINTS = 40


@dataclass(frozen=True)
class Point:
    """One training; `reward` changes the reward recipe, `confidence` the filter of stage 1's data.

    `group` is the knob it turns ("terms" where terms are left out) and `value` what it is turned to.
    """

    name: str
    says: str
    group: str = ALL
    value: float | None = None
    reward: tuple[str, ...] = ()
    confidence: tuple[str, ...] = ()


def make_points(
    constants: CompositeSettings,
    confidence: ConfidenceSettings,
    sweeps: Mapping[str, Sequence[float]] | None = None,
    only: Sequence[str] = (),
) -> tuple[Point, ...]:
    """Every point, the recipe as it is first; `sweeps` are values of a knob in place of the usual two.

    `only` are knobs (a, b, zeta, kappa, sigma, gamma) or "terms"; all of them unless given. Values that the
    recipe already has make no point. Raises ConfigError for a knob there is not and for too many points.

    >>> [point.name for point in make_points(CompositeSettings(), ConfidenceSettings(), only=["a"])]
    ['all', 'a-0.5', 'a-2']
    """
    wanted = dict(sweeps or {})
    for name in (*wanted, *only):
        if name not in (*KNOBS, TERMS):
            raise ConfigError(f"there is no knob {name!r}; {nearest(name, [TERMS, *KNOBS])}")
    asked = [*only, *wanted]
    if not confidence.enabled and (idle := [knob for knob in asked if knob in _FILTER_KNOBS]):
        raise ConfigError(
            f"the curate recipe filters nothing (confidence.enabled), so {idle[0]} changes nothing"
        )
    # Without a filter its knobs would make trainings that are all the same.
    chosen = asked or [TERMS, *(KNOBS if confidence.enabled else _REWARD_KNOBS)]
    points = [Point(ALL, "the recipe as it is")]
    if TERMS in chosen:
        points += _terms()
    for knob in KNOBS:
        if knob in chosen:
            own = float(getattr(constants if knob in _REWARD_KNOBS else confidence, knob))
            points += _sweep(knob, own, wanted.get(knob))
    if len(points) > _MOST_POINTS:
        raise ConfigError(f"{len(points)} trainings are too many for one experiment (most: {_MOST_POINTS})")
    return tuple(points)


def _terms() -> Iterator[Point]:
    kept = {"aesthetic": "a", "clip": "c", "preference": "d"}
    for score, weight in kept.items():
        changes = tuple(f"composite.{other}=0" for other in kept.values() if other != weight)
        yield Point(f"{score}-only", f"the {score} term alone", TERMS, None, changes)


def _sweep(knob: str, own: float, values: Sequence[float] | None) -> Iterator[Point]:
    if values is None:
        values = _VALUES[knob] if knob in _VALUES else tuple(own * factor for factor in _FACTORS[knob])
    for value in dict.fromkeys(values):
        if value == own:
            continue
        name, says = f"{knob}-{value:g}", f"{knob} {value:g} instead of {own:g}"
        if knob in _FILTER_KNOBS:
            yield Point(name, says, knob, value, confidence=(f"confidence.{knob}={value!r}",))
        else:
            yield Point(name, says, knob, value, reward=(f"composite.{knob}={value!r}",))
