"""ComfyUI's percents count sampling time: switches fall on the steps of a named scheduler, both ways."""

from __future__ import annotations

import random

import pytest

from dfprompt.errors import InputError
from dfprompt.prompt import DFPrompt, EffectRange, Span, make_plan, parse_prompt
from dfprompt.prompt.dialects import convert_prompt, export_comfyui_nodes, export_prompt, import_prompt
from dfprompt.prompt.dialects.comfyui_clock import SCHEDULERS, sampling_times

# ComfyUI shows a conditioning at the steps whose share of sampling time lies in start..end, ends included.


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 1000])
def test_times_rise_from_0_to_1_at_most(scheduler: str, steps: int) -> None:
    times = sampling_times(scheduler, steps)
    assert len(times) == steps
    assert times[0] == 0
    assert list(times) == sorted(times)
    assert times[-1] <= 1


@pytest.mark.parametrize("scheduler", ["karras", "exponential"])
@pytest.mark.parametrize("steps", [4, 10, 25])
def test_noise_levels_are_where_diffusers_puts_them(scheduler: str, steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        **{f"use_{scheduler}_sigmas": True},
    )
    theirs.set_timesteps(steps)
    done = [1 - float(timestep) / 999 for timestep in theirs.timesteps]
    assert list(map(float, sampling_times(scheduler, steps))) == pytest.approx(done, abs=1e-5)


def drawn(chance: random.Random) -> DFPrompt:
    pieces: list[str | Span] = ["a cat"]
    for word in ("oak", "pine")[: chance.randrange(1, 3)]:
        low, high = sorted(chance.sample(range(21), 2))
        pieces += [", ", Span(word, EffectRange(high / 20, low / 20), chance.choice((1, "1.3")))]
    return DFPrompt(pieces)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_switch_falls_on_its_step_or_is_lost_by_name(scheduler: str) -> None:
    chance = random.Random(scheduler)
    exact = 0
    for _ in range(60):
        prompt, steps = drawn(chance), chance.randrange(2, 31)
        done = export_prompt(prompt, "comfyui", steps, scheduler=scheduler)
        if done.lost:
            assert all("within a hundredth" in loss or "none of the" in loss for loss in done.lost)
            continue
        assert done.assumed == ()
        exact += 1
        back = import_prompt(done.text, "comfyui", steps, scheduler=scheduler).prompt
        wanted, found = (
            [(step.text, step.weights) for step in make_plan(each, steps).steps] for each in (prompt, back)
        )
        assert found == wanted
    assert exact > 25


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_cores_nodes_show_each_text_at_its_steps_alone(scheduler: str) -> None:
    chance = random.Random(scheduler)
    for _ in range(40):
        prompt, steps = drawn(chance), chance.randrange(2, 31)
        rows = export_comfyui_nodes(prompt, steps, scheduler=scheduler)
        plan = make_plan(prompt, steps).steps
        for time, planned in zip(sampling_times(scheduler, steps), plan, strict=True):
            shown = [text for text, start, end in rows if start <= time <= end]
            assert len(shown) == 1
            assert ("oak" in shown[0], "pine" in shown[0]) == ("oak" in planned.text, "pine" in planned.text)


def test_ranges_that_count_sampling_time_are_percents_as_they_are() -> None:
    done = convert_prompt("a [x:0.7->0.3]", "native", "comfyui", clock="timestep")
    assert (done.text, done.assumed, done.lost) == ("a [x:0.3,0.7]", (), ())
    back = convert_prompt(done.text, "comfyui", "native", clock="timestep")
    assert (back.text, back.assumed) == ("a [x:0.7->0.3]", ())
    placed = convert_prompt("a [x:0.7->0.3]", "native", "comfyui", 20, clock="timestep", scheduler="karras")
    begin, end = (float(share) for share in placed.text[5:-1].split(","))
    times = list(map(float, sampling_times("karras", 20)))
    assert [0.3 <= time < 0.7 for time in times] == [begin <= time <= end for time in times]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("comfyui", None, "steps", "karras"), "number is not given"),
        (("comfyui", 20, "steps", "beta"), "no scheduler of ComfyUI whose steps are known"),
        (("a1111", 20, "steps", "karras"), "for the dialect comfyui"),
        (("comfyui", 20, "sigma", None), "the clock must be one of"),
    ],
)
def test_what_no_run_has_is_refused(arguments: tuple[str, int | None, str, str | None], problem: str) -> None:
    dialect, steps, clock, scheduler = arguments
    with pytest.raises(InputError, match=problem):
        export_prompt(parse_prompt("a"), dialect, steps, clock=clock, scheduler=scheduler)  # type: ignore[arg-type]


def test_a_clock_is_no_matter_of_tools_that_count_steps() -> None:
    with pytest.raises(InputError, match="other tools count steps"):
        convert_prompt("a", "a1111", "comfyui", 20, clock="timestep")
    with pytest.raises(InputError, match="for the dialect comfyui"):
        convert_prompt("a", "native", "a1111", 20, scheduler="karras")
