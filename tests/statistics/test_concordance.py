"""Agreement and order against second ways to the same numbers, and against published ones."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.statistics.concordance import agree_by_unit, fleiss_kappa, krippendorff_alpha
from dfprompt.statistics.davidson import fit_davidson
from dfprompt.statistics.significance import sign_test

# K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example C: four observers, twelve units.
OBSERVED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
# J. L. Fleiss (1971) as the textbook example: 14 raters, 10 units, 5 names; kappa 0.210.
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
tables = st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=12)


def test_published_examples() -> None:
    counts = [[sum(row[unit] == name for row in OBSERVED) for name in range(1, 6)] for unit in range(12)]
    assert krippendorff_alpha(counts) == pytest.approx(0.743, abs=0.0005)
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=0.0005)


def alpha_by_pairs(counts: list[list[int]]) -> float:
    """Observed and expected disagreement by listing every pair of values."""
    units = [[name for name, count in enumerate(row) for _ in range(count)] for row in counts]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    observed = sum(
        (one != other) / (len(unit) - 1) for unit in units for one, other in itertools.permutations(unit, 2)
    )
    expected = sum(one != other for one, other in itertools.permutations(values, 2))
    if not expected:
        return math.nan
    return 1 - (observed / len(values)) / (expected / (len(values) * (len(values) - 1)))


def kappa_by_pairs(counts: list[list[int]]) -> float:
    """The share of pairs that are alike, unit by unit, against the shares of the names."""
    units = [[name for name, count in enumerate(row) for _ in range(count)] for row in counts]
    units = [unit for unit in units if len(unit) > 1]
    if not units:
        return math.nan
    alike = [
        sum(a == b for a, b in pairs) / len(pairs)
        for unit in units
        if (pairs := list(itertools.combinations(unit, 2)))
    ]
    names = Counter(value for unit in units for value in unit)
    chance = sum((count / names.total()) ** 2 for count in names.values())
    return math.nan if len(names) == 1 else (sum(alike) / len(alike) - chance) / (1 - chance)


@given(tables)
def test_alpha_and_kappa_equal_a_second_implementation(counts: list[list[int]]) -> None:
    assert krippendorff_alpha(counts) == pytest.approx(alpha_by_pairs(counts), nan_ok=True)
    assert fleiss_kappa(counts) == pytest.approx(kappa_by_pairs(counts), nan_ok=True)


def test_chance_gives_nought_and_agreement_one() -> None:
    random = np.random.default_rng(0)
    counts = random.multinomial(6, [0.5, 0.3, 0.2], size=4000)
    assert krippendorff_alpha(counts) == pytest.approx(0, abs=0.01)
    assert fleiss_kappa(counts) == pytest.approx(0, abs=0.01)
    assert krippendorff_alpha([[5, 0, 0], [0, 2, 0]]) == fleiss_kappa([[5, 0, 0], [0, 2, 0]]) == 1
    assert agree_by_unit([[2, 2]]).tolist() == [pytest.approx(1 / 3)]
    assert math.isnan(krippendorff_alpha([[1, 0, 0]]))


def sampled(strengths: list[float], draws: float, count: int, seed: int) -> np.ndarray:
    """Comparisons of the model, all pairs in turn."""
    random = np.random.default_rng(seed)
    rows = []
    pairs = list(itertools.combinations(range(len(strengths)), 2))
    for number in range(count):
        i, j = pairs[number % len(pairs)]
        one, other = math.exp(strengths[i]), math.exp(strengths[j])
        weights = np.array([one, other, math.exp(draws) * math.sqrt(one * other)])
        rows.append((i, j, (1.0, 0.0, 0.5)[int(random.choice(3, p=weights / weights.sum()))]))
    return np.array(rows)


def test_davidson_finds_the_strengths_that_made_the_answers() -> None:
    truth = [0.8, 0.1, -0.9]
    rows = sampled(truth, -0.7, 9_000, seed=1)
    found = fit_davidson(rows, np.arange(len(rows)) % 300, np.arange(len(rows)) % 200, 3)
    assert found.strengths == pytest.approx(truth, abs=0.07)
    assert found.draws == pytest.approx(-0.7, abs=0.07)


def test_davidson_is_the_likeliest_of_a_grid() -> None:
    rows = sampled([0.5, 0.0, -0.5], -0.5, 120, seed=3)
    found = fit_davidson(rows, np.arange(120) % 12, np.arange(120) % 20, 3)

    def likelihood(one: float, two: float, draws: float) -> float:
        strengths = [one, two, -one - two]
        total = 0.0
        for i, j, value in rows:
            a, b = math.exp(strengths[int(i)]), math.exp(strengths[int(j)])
            tie = math.exp(draws) * math.sqrt(a * b)
            total += math.log({1.0: a, 0.0: b, 0.5: tie}[float(value)] / (a + b + tie))
        return total

    best = likelihood(*found.strengths[:2], found.draws)
    for step in itertools.product((-0.02, 0, 0.02), repeat=3):
        moved = (found.strengths[0] + step[0], found.strengths[1] + step[1], found.draws + step[2])
        assert likelihood(*moved) <= best + 1e-4
    assert all(
        low < strength < high for strength, (low, high) in zip(found.strengths, found.intervals, strict=True)
    )


def test_what_never_lost_has_a_finite_strength() -> None:
    found = fit_davidson([(0, 1, 1.0), (0, 2, 1.0), (1, 2, 0.5)] * 4, np.arange(12), np.arange(12), 3)
    assert np.isfinite(found.strengths).all()
    assert found.strengths[0] > found.strengths[1]


@pytest.mark.parametrize(
    ("above", "below", "p"), [(0, 0, 1.0), (8, 2, 0.109375), (10, 0, 2 / 1024), (2, 8, 0.109375)]
)
def test_sign_test_by_hand(above: int, below: int, p: float) -> None:
    assert sign_test(above, below) == pytest.approx(p)
