"""Statistics against scipy, numbers worked by hand, and simulated data whose truth is known."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import scipy.stats

from dfprompt.errors import ConfigError
from dfprompt.statistics import intervals, significance
from dfprompt.statistics.comparison import (
    ONE_SIDED,
    TWO_SIDED,
    compare_scores,
    pair_differences,
    resampled_units,
)
from dfprompt.statistics.intervals import (
    bootstrap_interval,
    bootstrap_intervals,
    expanded_tail,
    mean_with_interval,
)
from dfprompt.statistics.paired_t import compare_seeds
from dfprompt.statistics.significance import adjust_holm, sign_flip_test
from dfprompt.statistics.student_t import student_central, student_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10, 31, 200, 1999])
def test_student_agrees_with_scipy(freedom: int) -> None:
    for t in (0.0, 0.1, 1.0, 2.5, 30.0):
        expected = 1 - 2 * scipy.stats.t.sf(t, freedom)
        assert student_central(t, freedom) == pytest.approx(expected, abs=1e-12)
    for central in (0.5, 0.9, 0.95, 0.999):
        expected = scipy.stats.t.ppf((1 + central) / 2, freedom)
        assert student_quantile(central, freedom) == pytest.approx(expected, rel=1e-9)


def test_student_far_out_is_normal_to_three_digits() -> None:
    assert student_quantile(0.95, 2000) == pytest.approx(scipy.stats.t.ppf(0.975, 2000), rel=1e-3)


@pytest.mark.parametrize(("t", "freedom"), [(1.0, 0), (-1.0, 3), (math.nan, 3)])
def test_student_refuses_what_has_no_probability(t: float, freedom: int) -> None:
    with pytest.raises(ConfigError):
        student_central(t, freedom)


def test_pairs_need_both_sides() -> None:
    scores = {("a", 0): 3.0, ("a", 1): 5.0, ("b", 0): 1.0, ("c", 0): 2.0}
    baseline = {("a", 0): 1.0, ("a", 1): 5.5, ("c", 0): 2.0, ("d", 0): 9.0}
    assert pair_differences(scores, baseline) == {"a": [2.0, -0.5], "c": [0.0]}


def test_prompts_weigh_the_same_however_many_seeds_they_have() -> None:
    """a: 2, -1, -1 (mean 0, one win of three); b: 3 (a win); c: 0 (a tie)."""
    baseline = {("a", 0): 0.0, ("a", 1): 0.0, ("a", 2): 0.0, ("b", 0): 0.0, ("c", 0): 0.0}
    scores = {("a", 0): 2.0, ("a", 1): -1.0, ("a", 2): -1.0, ("b", 0): 3.0, ("c", 0): 0.0}
    found = compare_scores(scores, baseline)
    assert found is not None
    assert found.difference == pytest.approx(1.0)
    assert found.win_rate == pytest.approx((1 / 3 + 1 + 0.5) / 3)
    assert (found.prompts, found.pairs, found.units) == (3, 5, "prompts")
    assert found.p == 1.0  # units 0, 3, 0: every sign pattern reaches the observed sum
    assert found.interval.low <= found.difference <= found.interval.high
    assert 0 <= found.win_interval.low <= found.win_rate <= found.win_interval.high <= 1


def test_nothing_in_common_is_no_comparison() -> None:
    assert compare_scores({("a", 0): 1.0}, {("a", 1): 1.0}) is None


def test_a_single_prompt_resamples_its_seeds() -> None:
    units, kind = resampled_units({"a": [1.0, 2.0, 4.0]})
    assert kind == "seeds"
    assert units.tolist() == [1.0, 2.0, 4.0]


def test_one_unit_has_no_interval() -> None:
    found = compare_scores({("a", 0): 2.0}, {("a", 0): 1.0})
    assert found is not None
    assert math.isnan(found.interval.low)
    assert math.isnan(found.interval.high)
    assert found.p == 1.0


def test_interval_is_scipys_percentile_interval_at_the_expanded_level() -> None:
    data = np.random.default_rng(3).gamma(2.0, size=25)
    level = 1 - 2 * expanded_tail(0.95, 25)
    expected = scipy.stats.bootstrap(
        (data,), np.mean, confidence_level=level, n_resamples=40_000, method="percentile", random_state=1
    ).confidence_interval
    found = bootstrap_interval(data, draws=40_000)
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.02 * width)
    assert found.high == pytest.approx(expected.high, abs=0.02 * width)


def test_interval_of_many_normal_units_is_the_t_interval() -> None:
    data = np.random.default_rng(4).normal(size=12)
    expected = scipy.stats.t.interval(0.95, 11, loc=data.mean(), scale=scipy.stats.sem(data))
    found = bootstrap_interval(data, draws=60_000)
    width = expected[1] - expected[0]
    assert found.high - found.low == pytest.approx(width, rel=0.05)


def test_below_six_units_it_is_the_t_interval() -> None:
    data = np.random.default_rng(9).normal(size=5)
    expected = scipy.stats.t.interval(0.95, 4, loc=data.mean(), scale=scipy.stats.sem(data))
    assert bootstrap_interval(data) == pytest.approx(expected, rel=1e-9)
    baseline = {(name, 0): 0.0 for name in "abcde"}
    wins = compare_scores({key: 1.0 if key[0] != "a" else -1.0 for key in baseline}, baseline)
    assert wins is not None
    assert wins.win_interval.high == 1.0
    assert wins.win_interval.low < 0.8


def test_intervals_of_several_data_sets_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(5).normal(size=(7, 10))
    together = bootstrap_intervals(data)
    monkeypatch.setattr(intervals, "_BLOCK", 2 * 4000)
    assert bootstrap_intervals(data) == pytest.approx(together, abs=1e-12)
    for row, ends in zip(data, together, strict=True):
        assert bootstrap_interval(row) == pytest.approx(tuple(ends), abs=1e-12)


@pytest.mark.parametrize("count", [3, 8, 11])
def test_sign_flips_agree_with_scipy(count: int) -> None:
    generator = np.random.default_rng(count)
    first, second = generator.normal(0.4, size=count), generator.normal(size=count)
    expected = scipy.stats.permutation_test(
        (first, second), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert float(sign_flip_test(first - second)) == pytest.approx(expected, abs=1e-12)


def test_sign_flips_one_by_one() -> None:
    units = [0.3, -1.2, 2.0, 0.7, 0.0]
    reached = [
        abs(sum(sign * unit for sign, unit in zip(signs, units, strict=True))) >= abs(sum(units)) - 1e-12
        for signs in itertools.product((1, -1), repeat=len(units))
    ]
    assert float(sign_flip_test(units)) == pytest.approx(sum(reached) / len(reached))


def test_sampled_flips_are_near_the_t_test() -> None:
    data = np.random.default_rng(6).normal(0.3, size=40)
    found = float(sign_flip_test(data))
    assert found == pytest.approx(scipy.stats.ttest_1samp(data, 0).pvalue, abs=0.02)
    assert float(sign_flip_test(np.full(40, 2.0))) == pytest.approx(1e-4)


def test_flips_of_many_data_sets_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(7).normal(size=(5, 20))
    monkeypatch.setattr(significance, "_BLOCK", 20_000)
    assert sign_flip_test(data).tolist() == [float(sign_flip_test(row)) for row in data]


def test_holm_by_hand() -> None:
    """Sorted .01 .02 .03 .9 times 4 3 2 1 = .04 .06 .06 .9; the third may not fall below the second."""
    assert adjust_holm([0.03, 0.9, 0.01, 0.02]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert adjust_holm([0.5, 0.6]) == [1.0, 1.0]
    assert adjust_holm([]) == []


def test_holm_rejects_what_the_step_down_procedure_rejects() -> None:
    """The second formula: go up the sorted p-values while p <= alpha / (tests left), then stop."""
    generator = np.random.default_rng(8)
    for _ in range(200):
        p = (generator.random(6) ** 3).tolist()
        adjusted = adjust_holm(p)
        for alpha in (0.01, 0.05, 0.2):
            rejected = set()
            for rank, index in enumerate(sorted(range(6), key=lambda i: p[i])):
                if p[index] > alpha / (6 - rank):
                    break
                rejected.add(index)
            assert {index for index, value in enumerate(adjusted) if value <= alpha} == rejected


@pytest.mark.parametrize("values", [[1.0, math.nan], [math.inf, 0.0]])
def test_failed_scores_may_not_slip_in(values: list[float]) -> None:
    with pytest.raises(ConfigError, match="finite"):
        bootstrap_interval(values)
    with pytest.raises(ConfigError, match="finite"):
        sign_flip_test(values)


# ---- simulation: 1,000 data sets with prompt and seed effects whose true mean is known --------------------

_SETS, _SEEDS = 1000, 4


def _simulate(prompts: int, effect: float, *, skewed: bool = False, seed: int = 0) -> np.ndarray:
    """Differences (sets, prompts, seeds): a mean, an effect per prompt, noise per picture."""
    generator = np.random.default_rng([seed, prompts, skewed])
    shape = (_SETS, prompts, 1)
    per_prompt = generator.exponential(size=shape) - 1 if skewed else generator.normal(size=shape)
    return effect + per_prompt + 1.5 * generator.normal(size=(_SETS, prompts, _SEEDS))


@pytest.mark.parametrize(
    ("prompts", "skewed"),
    [(3, False), (5, False), (6, False), (12, False), (30, False), (100, False), (12, True), (50, True)],
)
def test_intervals_cover_the_truth(prompts: int, skewed: bool) -> None:
    units = _simulate(prompts, 0.7, skewed=skewed).mean(axis=2)
    ends = bootstrap_intervals(units, draws=2000)
    coverage = ((ends[:, 0] <= 0.7) & (ends[:, 1] >= 0.7)).mean()
    assert 0.92 <= coverage <= 0.97


def test_intervals_over_pictures_instead_of_prompts_would_not_cover() -> None:
    """What the design avoids: taking the seeds of a prompt for independent data."""
    ends = bootstrap_intervals(_simulate(30, 0.7).reshape(_SETS, -1), draws=1000)
    assert ((ends[:, 0] <= 0.7) & (ends[:, 1] >= 0.7)).mean() < 0.9


def test_resampling_seeds_inside_prompts_again_would_cover_too_much() -> None:
    data = _simulate(30, 0.0)[:300] - 0.9 * _simulate(30, 0.0)[:300].mean(axis=2, keepdims=True)
    once = bootstrap_intervals(data.mean(axis=2), draws=500)
    generator = np.random.default_rng(1)
    rows = np.arange(300)[:, None, None]
    means = []
    for _ in range(300):
        chosen = generator.integers(0, 30, (300, 30, 1))
        seeds = generator.integers(0, _SEEDS, (300, 30, _SEEDS))
        means.append(data[rows, chosen, seeds].mean(axis=(1, 2)))
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    assert np.median(high - low) > 1.3 * np.median(once[:, 1] - once[:, 0])


@pytest.mark.parametrize(("prompts", "skewed"), [(8, False), (12, True), (30, False), (50, True)])
def test_false_positives_come_at_the_nominal_rate(prompts: int, skewed: bool) -> None:
    p = sign_flip_test(_simulate(prompts, 0.0, skewed=skewed).mean(axis=2), flips=1999)
    rate = (p <= 0.05).mean()
    assert rate == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / _SETS))


def test_a_real_effect_is_found() -> None:
    p = sign_flip_test(_simulate(30, 1.0).mean(axis=2), flips=1999)
    assert (p <= 0.05).mean() > 0.95


def test_holm_holds_the_rate_of_any_false_positive() -> None:
    """Five true null hypotheses tested together: at least one falls in about 5 %, not in 23 %."""
    units = _simulate(12, 0.0).mean(axis=2).reshape(200, 5, 12)
    p = sign_flip_test(units)
    family = np.mean([min(adjust_holm(row.tolist())) <= 0.05 for row in p])
    assert family <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert np.mean([row.min() <= 0.05 for row in p]) > 0.12


def test_won_tied_and_lost_count_pairs_and_the_share_counts_ties_half() -> None:
    baseline = {("a", 0): 0.0, ("a", 1): 0.0, ("b", 0): 0.0, ("c", 0): 0.0, ("d", 0): 5.0}
    scores = {("a", 0): 1.0, ("a", 1): 0.0, ("b", 0): -2.0, ("c", 0): 4.0, ("e", 0): 9.0}
    found = compare_scores(scores, baseline)
    assert found is not None
    assert (found.won, found.tied, found.lost, found.pairs) == (2, 1, 1, 4)
    assert found.win_rate == pytest.approx((0.75 + 0 + 1) / 3)


def test_both_means_are_of_the_pairs_both_have() -> None:
    """Plain has a prompt the method lacks, and it is its worst: a mean over all of plain would flatter."""
    baseline = {("a", 0): 1.0, ("b", 0): 3.0, ("lacking", 0): -100.0}
    scores = {("a", 0): 2.0, ("b", 0): 5.0, ("alone", 0): 50.0}
    found = compare_scores(scores, baseline)
    assert found is not None
    assert (found.mean, found.baseline_mean) == (3.5, 2.0)
    assert found.mean - found.baseline_mean == pytest.approx(found.difference)


def test_the_one_shape_of_a_comparison_as_json() -> None:
    """Of prompts, of seeds, with and without an interval: the same keys, and nothing that is not JSON."""
    flat = {(prompt, 0): 0.0 for prompt in "abcdef"}
    made = [
        compare_scores(dict.fromkeys(flat, 1.0), flat),
        compare_scores({("a", 0): 1.0}, {("a", 0): 0.0}),
        compare_seeds([1.0, 2.0, 3.0]),
        compare_seeds([1.0]),
    ]
    written = [found.to_json() for found in made if found is not None]
    assert len(written) == 4
    assert len({tuple(each) for each in written}) == 1
    assert [each["interval"] is None for each in written] == [False, True, False, True]
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert [each["test"] for each in written] == [TWO_SIDED, TWO_SIDED, ONE_SIDED, ONE_SIDED]


@pytest.mark.parametrize("values", [[0.3, -0.1, 0.4], [1.0, 2.0, 3.0, 4.5, -2.0, 0.0, 7.0]])
def test_seeds_of_one_prompt_agree_with_scipy(values: list[float]) -> None:
    found = compare_seeds(values)
    assert found is not None
    expected = scipy.stats.ttest_1samp(values, 0, alternative="greater")
    both = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.interval == pytest.approx((both.low, both.high), rel=1e-9)


def test_a_mean_has_the_interval_of_every_table() -> None:
    """Three units: a percentile bootstrap would say [1, 3], as if no mean beyond the data were possible."""
    found = mean_with_interval([1.0, 2.0, 3.0])
    assert (found.mean, found.units) == (2.0, 3)
    assert (found.low, found.high) == pytest.approx((-0.4841, 4.4841), abs=1e-4)
    assert (found.low, found.high) == bootstrap_interval([1.0, 2.0, 3.0])
