"""The step rule on both clocks, against the published tables and a second, integer formula."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import PromptValueError
from dfprompt.prompt import DFPrompt, EffectRange, Span, make_plan, parse_prompt
from dfprompt.prompt.clocks import first_step_run, make_evaluations
from prompt_strategies import MICRO, micro, ranges

# Schedulers' own numbers, read off diffusers 0.42.
HEUN_4 = [999.0, 666.0, 666.0, 333.0, 333.0, 0.0, 0.0]
PNDM_5 = [801, 601, 601, 401, 201, 1]
SD3_4 = [1000.0, 857.6923217773438, 602.1505737304688, 8.928571701049805]


def active_steps(effect: EffectRange | str, steps: int, **run: object) -> list[int]:
    plan = make_plan(DFPrompt([Span("x", effect)]), steps, **run)  # type: ignore[arg-type]
    return [planned.step for planned in plan.steps if planned.text]


@pytest.mark.parametrize(
    ("steps", "effect", "expected"),
    [
        (10, "[x:1->0.5]", range(0, 5)),
        (10, "[x:0.5->0]", range(5, 10)),
        (10, "[x:1->0.85]", range(0, 2)),
        (7, "[x:1->0.5]", range(0, 4)),
        (7, "[x:0.5->0]", range(4, 7)),
        (25, "[x:1->0.5]", range(0, 13)),
        (50, "[x:1->0.85]", range(0, 8)),
        (100, "[x:0.29->0]", range(71, 100)),  # floats make it 28 steps; exact arithmetic says 29
        (10, "[x:full]", range(0, 10)),
        (1, "[x:early]", range(0, 1)),
        (1, "[x:late]", range(0)),
        (10, "[x:0.05->0]", range(0)),
        (10, "[x:0.1->0]", range(9, 10)),
        (3, "[x:0.666667->0]", range(1, 3)),
        (3, "[x:0.666666->0]", range(2, 3)),
    ],
)
def test_published_and_hand_worked_step_tables(steps: int, effect: str, expected: range) -> None:
    (span,) = parse_prompt(effect).controls
    assert active_steps(span.effect_range, steps) == list(expected)


@given(ranges, st.integers(1, 200))
def test_step_rule_agrees_with_the_integer_formula(effect: EffectRange, steps: int) -> None:
    start, end = int(effect.start * MICRO), int(effect.end * MICRO)
    expected = [i for i in range(steps) if end * steps < (steps - i) * MICRO <= start * steps]
    assert active_steps(effect, steps) == expected


@given(st.integers(1, MICRO - 1), st.integers(1, 120))
def test_two_ranges_that_meet_tile_every_step_once(border: int, steps: int) -> None:
    first = active_steps(EffectRange(1, micro(border)), steps)
    second = active_steps(EffectRange(micro(border), 0), steps)
    assert first + second == list(range(steps))


@given(st.integers(1, MICRO - 1), st.lists(st.floats(0, 1000), min_size=1, max_size=40).map(sorted))
def test_they_tile_the_timestep_clock_too(border: int, timesteps: list[float]) -> None:
    run = {"clock": "timestep", "timesteps": timesteps[::-1]}
    first = active_steps(EffectRange(1, micro(border)), len(timesteps), **run)
    second = active_steps(EffectRange(micro(border), 0), len(timesteps), **run)
    assert first + second == list(range(len(timesteps)))


def test_timestep_clock_reads_time_left_off_the_scheduler() -> None:
    shifted = make_evaluations(4, clock="timestep", timesteps=SD3_4)
    assert [float(e.time_left) for e in shifted] == [1.0, 0.857692, 0.602151, 0.008929]
    # A shifted schedule spends most steps early: three of four lie above one half, not two.
    assert active_steps("early", 4, clock="timestep", timesteps=SD3_4) == [0, 1, 2]
    assert active_steps("early", 4) == [0, 1]


def test_timesteps_of_zero_belong_to_an_end_of_zero() -> None:
    assert active_steps("late", 4, clock="timestep", timesteps=[999, 666, 333, 0]) == [2, 3]


def test_float32_noise_does_not_move_a_border() -> None:
    noisy = [850.00006, 849.99994]
    effect = EffectRange("0.85", 0)
    assert active_steps(effect, 2, clock="timestep", timesteps=noisy) == [0, 1]


def test_other_training_lengths_scale() -> None:
    run = {"clock": "timestep", "timesteps": [50, 25], "num_train_timesteps": 50}
    assert active_steps("late", 2, **run) == [1]


def test_second_order_samplers_count_steps_not_evaluations() -> None:
    table = [0, 0, 1, 1, 2, 2, 3]
    assert [e.step for e in make_evaluations(4, order=2)] == table
    assert [e.step for e in make_evaluations(4, timesteps=HEUN_4, order=2)] == table
    plan = make_plan(parse_prompt("[x:early]"), 4, order=2)
    assert [planned.text for planned in plan.steps] == ["x", "x", "x", "x", "", "", ""]
    own = make_evaluations(4, clock="timestep", timesteps=HEUN_4, order=2)
    assert [float(e.time_left) for e in own[:3]] == [0.999, 0.666, 0.666]


def test_pndm_has_a_table_of_its_own() -> None:
    table = [0, 0, 1, 2, 3, 4]
    made = make_evaluations(5, timesteps=PNDM_5, step_of_evaluation=table)
    assert [e.step for e in made] == table
    assert [e.time_left for e in made][:3] == [1, 1, Fraction(4, 5)]
    with pytest.raises(PromptValueError, match="pass step_of_evaluation"):
        make_evaluations(5, timesteps=PNDM_5)
    with pytest.raises(PromptValueError, match="5 step numbers for 6 timesteps"):
        make_evaluations(5, timesteps=PNDM_5, step_of_evaluation=table[:5])


@pytest.mark.parametrize(
    ("steps", "strength", "first"),
    [(10, 1.0, 0), (10, 0.5, 5), (10, 0.3, 7), (10, 0.35, 7), (100, 0.29, 72), (3, 0.34, 2), (50, 0.999, 1)],
)
def test_strength_cuts_where_diffusers_cuts(steps: int, strength: float, first: int) -> None:
    # max(N - min(int(N * strength), N), 0) of StableDiffusionImg2ImgPipeline.get_timesteps, in floats.
    assert first_step_run(steps, strength) == first


def test_image_to_image_keeps_the_meaning_of_ranges() -> None:
    assert active_steps("early", 10, strength=0.5) == []
    assert active_steps("late", 10, strength=0.5) == [5, 6, 7, 8, 9]
    assert active_steps("late", 10, strength=0.3) == [7, 8, 9]
    plan = make_plan(parse_prompt("x"), 4, order=2, strength=0.5)
    assert [planned.step for planned in plan.steps] == [2, 2, 3]
    assert [planned.step for planned in make_plan(parse_prompt("x"), 10, first_step=8).steps] == [8, 9]


def test_a_table_of_its_own_is_cut_by_evaluations() -> None:
    table = [0, 0, 1, 2, 3, 4]
    run = {"timesteps": PNDM_5, "step_of_evaluation": table, "first_step": 4, "order": 2}
    plan = make_plan(parse_prompt("x"), 5, **run)  # type: ignore[arg-type]
    assert [planned.step for planned in plan.steps] == [3, 4]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"num_inference_steps": 0}, "between 1 and 10000"),
        ({"num_inference_steps": 10**9}, "between 1 and 10000"),
        ({"num_inference_steps": 2.0}, "must be an integer"),
        ({"num_inference_steps": True}, "must be an integer"),
        ({"clock": "sigma"}, "steps, timestep"),
        ({"clock": "timestep"}, "needs the scheduler's timesteps"),
        ({"clock": "timestep", "timesteps": [1001, 2, 1, 0]}, "between 0 and the scheduler's 1000"),
        ({"clock": "timestep", "timesteps": [float("nan"), 2, 1, 0]}, "between 0 and"),
        ({"clock": "timestep", "timesteps": ["999", 2, 1, 0]}, "must be a number"),
        ({"clock": "timestep", "timesteps": []}, "0 evaluations do not fit"),
        ({"timesteps": [3, 2, 1, 1, 0]}, "5 evaluations do not fit 4 steps"),
        ({"order": 4}, "order of a sampler"),
        ({"strength": 0}, "above 0 and up to 1"),
        ({"strength": 1.5}, "above 0 and up to 1"),
        ({"strength": float("nan")}, "above 0 and up to 1"),
        ({"strength": "half"}, "must be a number"),
        ({"strength": 0.2}, "use at least 0.25"),
        ({"first_step": 4}, "no step is left"),
        ({"first_step": -1}, "no step is left"),
        ({"step_of_evaluation": [0, 2, 1, 3]}, "rising numbers"),
        ({"absence": "hide"}, "delete or mask"),
    ],
)
def test_arguments_no_run_can_have(arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(PromptValueError, match=problem):
        make_plan(DFPrompt(["x"]), **{"num_inference_steps": 4, **arguments})  # type: ignore[arg-type]


def test_decimal_and_fraction_strengths_are_numbers() -> None:
    assert first_step_run(10, Decimal("0.5")) == first_step_run(10, Fraction(1, 2)) == 5  # type: ignore[arg-type]
