"""Intervals that hold what is true, and power that is what happens."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dfprompt.statistics.agreement import share_intervals, share_with_interval
from dfprompt.study.power import SHARES, compute_power, find_detectable, power_at
from dfprompt.study.simulation import Design, Spread, logit_of, make_design, simulate

DESIGNS = {
    "many people, few prompts": (100, 20, 50),
    "as many prompts as people": (120, 20, 100),
    "many prompts": (120, 25, 200),
    "small": (30, 20, 40),
}


@pytest.mark.parametrize("name", list(DESIGNS))
@pytest.mark.parametrize("preference", [0.56, 0.7])
def test_two_way_intervals_hold_the_truth_and_row_intervals_do_not(name: str, preference: float) -> None:
    people, each, pairs = DESIGNS[name]
    design = make_design(range(pairs), people, each, seed=0)
    rows = np.arange(design.answers)
    held = {"both": 0, "rows": 0, "people": 0, "prompts": 0}
    studies = 300
    for values in simulate(design, preference, Spread(), studies, seed=2):
        for kind, clusters in {
            "both": (design.prompts, design.participants),
            "rows": (rows, None),
            "people": (design.participants, None),
            "prompts": (design.prompts, None),
        }.items():
            ends = share_intervals(values, *clusters)
            held[kind] += int(((ends[:, 0] <= preference) & (preference <= ends[:, 1])).sum())
    assert 0.93 <= held["both"] / studies <= 0.97
    assert held["rows"] / studies < 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("people", "each", "pairs"), [(30, 10, 60), (40, 20, 30), (16, 25, 100)])
@pytest.mark.few(1)
def test_the_power_that_is_printed_is_what_happens(people: int, each: int, pairs: int) -> None:
    spread = Spread(0.5, 0.7, 0.15)
    power = compute_power(range(pairs), people, each, spread)
    assert power.detectable is not None
    for share, printed in {**power.chances, power.detectable: 0.8}.items():
        seen = play(power.design, share, spread, studies=4000)
        assert abs(printed - seen) <= 0.03, (share, printed, seen)
    sentence = power.sentence()
    assert all(f"{100 * power.chances[share]:.0f} % at {100 * share:.0f} %" in sentence for share in SHARES)


def play(design: Design, preference: float, spread: Spread, studies: int) -> float:
    """Power by a second way: every study from other random numbers, one answer's chance from its own sum."""
    random = np.random.default_rng(2026)
    won = preference / (1 - spread.draws) - spread.draws / 2 / (1 - spread.draws)
    grid = np.linspace(-8, 8, 4001)
    normal = np.exp(-(grid**2) / 2)
    low, high = -5.0, 5.0
    while high - low > 1e-6:  # the mean chance over people and prompts, by a plain sum
        middle = (low + high) / 2
        logits = middle + math.hypot(spread.participants, spread.prompts) * grid
        mean = float((normal / (1 + np.exp(-logits))).sum() / normal.sum())
        low, high = (middle, high) if mean < won else (low, middle)
    played = []
    for _ in range(studies):
        people = random.normal(0, spread.participants, design.participants.max() + 1)
        prompts = random.normal(0, spread.prompts, design.prompts.max() + 1)
        chance = 1 / (1 + np.exp(-(low + people[design.participants] + prompts[design.prompts])))
        answers = np.where(random.random(design.answers) < chance, 1.0, 0.0)
        answers[random.random(design.answers) < spread.draws] = 0.5
        played.append(answers)
    low_ends, high_ends = share_intervals(np.stack(played), design.prompts, design.participants).T
    return 1 - float(((low_ends <= 0.5) & (high_ends >= 0.5)).mean())


def test_many_intervals_are_each_ones_interval() -> None:
    design = make_design(range(12), 9, 5, seed=1)
    values = next(simulate(design, 0.6, Spread(), 20, seed=3))
    ends = share_intervals(values, design.prompts, design.participants)
    for row, both in zip(values, ends, strict=True):
        one = share_with_interval(row, design.prompts.tolist(), design.participants.tolist()).interval
        assert tuple(both) == pytest.approx(tuple(one))


def test_the_two_way_variance_is_the_one_by_hand() -> None:
    """Cameron, Gelbach and Miller by loops over all pairs of answers that share a cluster."""
    design = make_design(range(7), 6, 4, seed=1)
    values = next(simulate(design, 0.6, Spread(), 1, seed=5))[0]
    rest = values - values.mean()
    people, prompts = design.participants.tolist(), design.prompts.tolist()
    total = {"people": 0.0, "prompts": 0.0, "cells": 0.0}
    for one in range(len(rest)):
        for other in range(len(rest)):
            product = rest[one] * rest[other]
            total["people"] += product * (people[one] == people[other])
            total["prompts"] += product * (prompts[one] == prompts[other])
            total["cells"] += product * (one == other)
    groups = {"people": 6, "prompts": 7, "cells": len(rest)}
    parts = {name: total[name] * groups[name] / (groups[name] - 1) / len(rest) ** 2 for name in total}
    variance = max(parts["people"] + parts["prompts"] - parts["cells"], parts["people"], parts["prompts"])
    share = float(values.mean())
    count, t = min(share * (1 - share) / variance, len(rest)), 2.570581836
    middle = (share + t * t / (2 * count)) / (1 + t * t / count)
    half = t / (1 + t * t / count) * math.sqrt(share * (1 - share) / count + t * t / (4 * count**2))
    found = share_with_interval(values, prompts, people).interval
    assert found == pytest.approx((middle - half, middle + half))


@pytest.mark.parametrize("preference", [0.3, 0.5, 0.56, 0.8])
def test_answers_have_the_share_that_was_asked(preference: float) -> None:
    design = make_design(range(100), 100, 10, seed=0)
    spread = Spread(0.6, 0.9, 0.2)
    values = np.concatenate(list(simulate(design, preference, spread, 400, seed=1)))
    assert values.mean() == pytest.approx(preference, abs=0.006)
    assert (values == 0.5).mean() == pytest.approx(0.2, abs=0.003)
    assert logit_of(preference, spread) == pytest.approx(-logit_of(1 - preference, spread), abs=1e-6)


def test_what_can_be_seen_is_seen_with_four_in_five_and_some_designs_see_nothing() -> None:
    design = make_design(range(40), 40, 20, seed=0)
    share = find_detectable(design, Spread())
    assert share is not None
    assert power_at(design, share, Spread(), 2000, seed=9) == pytest.approx(0.8, abs=0.03)
    assert find_detectable(make_design(range(3), 3, 2, seed=0), Spread()) is None


@pytest.mark.slow
def test_prompts_help_where_they_are_few_and_people_where_those_are() -> None:
    few_prompts = compute_power(range(20), 150, 20, Spread())
    few_people = compute_power(range(200), 20, 20, Spread())
    assert few_prompts.more_prompts is not None
    assert few_prompts.more_people is not None
    assert few_prompts.more_prompts < few_prompts.more_people
    assert "more prompts help more" in few_prompts.sentence()
    assert "more people help more" in few_people.sentence()
