"""Contrasts between arms: which methods are paired, and what comes out, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from dfprompt.measurement.rows import Row
from experiments.stage_two.contrasts import find_contrasts, format_contrasts

PROMPTS = [f"p{number}" for number in range(8)]


def rows(method: str, value: float, slope: float = 0.0) -> list[Row]:
    """One picture for each of two noises per prompt; prompts and noises differ, methods by `value`."""
    return [
        Row(method, prompt, prompt, seed, scores={"reward": value + at + 10 * seed + slope * at})
        for at, prompt in enumerate(PROMPTS)
        for seed in (0, 1)
    ]


def test_arms_are_paired_seed_by_seed_and_pooled() -> None:
    table = [*rows("plain", 0.0), *rows("stage-1", 0.5), *rows("frozen-1", 1.0), *rows("frozen-2", 1.0)]
    table += [*rows("ppo-1", 1.5), *rows("ppo-2", 2.5), *rows("stripped:ppo-1", 1.0)]
    found = {each.says: each for each in find_contrasts(table, ["reward", "missing"])}
    heads = found["what trained heads bring: stage 2 over words alone"]
    assert [each.difference for each in heads.seeds] == pytest.approx([0.5, 1.5])
    assert heads.pooled.difference == pytest.approx(1.0)
    assert (heads.pooled.prompts, heads.pooled.pairs) == (8, 16)
    assert heads.agrees
    # Stage 1 has no training seeds of its own: each of stage 2's is held against it.
    assert found["stage 2 over stage 1"].pooled.difference == pytest.approx(1.5)
    assert len(found["stage 2 over stage 1"].seeds) == 2
    # Only the first seed was stripped, so only it is compared.
    assert [each.difference for each in found["what the controls bring to the same words"].seeds] == [0.5]
    assert "heads alone over stage 1" not in found


def test_pictures_won_are_counted_seed_by_seed() -> None:
    """One seed wins every picture, the other loses every one: half are won, though all means are above."""
    table = [*rows("frozen-1", 0.0), *rows("frozen-2", 0.0), *rows("ppo-1", 3.0), *rows("ppo-2", -1.0)]
    (heads,) = find_contrasts(table, ["reward"])
    assert heads.pooled.win_rate == 1.0
    assert heads.win_rate == 0.5


def test_a_sign_that_one_seed_does_not_share_is_no_agreement() -> None:
    table = [*rows("frozen-1", 1.0), *rows("frozen-2", 1.0), *rows("ppo-1", 3.0), *rows("ppo-2", 0.9)]
    (heads,) = find_contrasts(table, ["reward"])
    assert heads.pooled.difference > 0
    assert not heads.agrees


def test_a_seed_of_which_nothing_came_does_not_take_the_others_along() -> None:
    table = [*rows("frozen-1", 0.0), *rows("frozen-2", 0.0), *rows("ppo-1", 3.0)]
    table += [
        dataclasses.replace(row, scores={}, failed={"method": "no rewrite"}) for row in rows("ppo-2", 0.0)
    ]
    (heads,) = find_contrasts(table, ["reward"])
    assert heads.pooled.difference == pytest.approx(3.0)
    assert len(heads.seeds) == 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_seed_without_a_difference_agrees_with_none(sign: float) -> None:
    table = [*rows("frozen-1", 0.0), *rows("frozen-2", 0.0), *rows("ppo-1", sign), *rows("ppo-2", 0.0)]
    (heads,) = find_contrasts(table, ["reward"])
    assert not heads.agrees


def test_one_picture_tells_nothing_from_0() -> None:
    table = [rows(name, value)[0] for name, value in (("plain", 0.0), ("ppo-1", 1.0))]
    text = format_contrasts(find_contrasts(table, ["reward"]))
    assert "not told from 0" in text


def test_the_table_says_everything() -> None:
    table = [*rows("plain", 0.0), *rows("ppo-1", 1.0, slope=0.1), *rows("ppo-2", 2.0)]
    text = format_contrasts(find_contrasts(table, ["reward"]))
    assert "| stage 2 over the plain prompt | reward | +1.675 |" in text
    assert "+1.350, +2.000" in text
    assert "100%" in text
    assert "| 2 of 2 |" in text


def test_the_table_marks_what_seeds_or_the_interval_do_not_bear_out() -> None:
    table = [*rows("frozen-1", 1.0), *rows("frozen-2", 1.0), *rows("ppo-1", 3.0), *rows("ppo-2", 0.9)]
    assert "seeds differ" in format_contrasts(find_contrasts(table, ["reward"]))
    table = [*rows("frozen-1", 0.0), *rows("ppo-1", -3.5, slope=1.0)]
    assert "not told from 0" in format_contrasts(find_contrasts(table, ["reward"]))


def test_the_run_made_to_hack_is_also_held_against_its_own_reward() -> None:
    table = [*rows("plain", 0.0), *rows("hack-1", 1.0), *rows("ppo-1", 1.0)]
    table = [
        dataclasses.replace(row, scores={**row.scores, "aesthetic": 2 * row.scores["reward"]})
        for row in table
    ]
    found = [each for each in find_contrasts(table, ["reward"]) if each.score == "aesthetic"]
    assert [(each.says, each.pooled.difference) for each in found] == [
        ("the run made to hack, over the plain prompt", pytest.approx(2.0))
    ]
