"""Plans: texts, weights and offsets at every step, exact ramps, spans that never act."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.prompt import DFPrompt, EffectRange, Span, Weight, make_plan, parse_prompt
from dfprompt.prompt.bars import make_bars
from dfprompt.prompt.formatter import describe_track, explain_silence
from prompt_strategies import prompts


def test_a_prompt_worked_by_hand() -> None:
    plan = make_plan(parse_prompt("a red horse, [anime style:early:1.5], [film grain:late:0.5], sharp"), 4)
    assert [(p.step, p.time_left, p.text) for p in plan.steps] == [
        (0, 1, "a red horse, anime style, sharp"),
        (1, Fraction(3, 4), "a red horse, anime style, sharp"),
        (2, Fraction(1, 2), "a red horse, film grain, sharp"),
        (3, Fraction(1, 4), "a red horse, film grain, sharp"),
    ]
    (heavy,) = plan.steps[0].weights
    assert (heavy.text, heavy.start, heavy.end, heavy.weight) == ("anime style", 13, 24, Fraction(3, 2))
    (light,) = plan.steps[3].weights
    assert (light.text, light.start, light.end, light.weight) == ("film grain", 13, 23, Fraction(1, 2))
    assert plan.never_active == ()


def test_json_is_the_documented_one() -> None:
    plan = make_plan(parse_prompt("a cat, [snow:late:1.25], [x:0.1->0]"), 2)
    assert plan.to_json() == {
        "dfprompt": 1,
        "steps": 2,
        "clock": "steps",
        "plan": [
            {"step": 0, "time_left": 1.0, "text": "a cat", "weights": []},
            {
                "step": 1,
                "time_left": 0.5,
                "text": "a cat, snow",
                "weights": [{"text": "snow", "start": 7, "end": 11, "weight": 1.25}],
            },
        ],
        "never_active": ["[x:0.1->0]"],
    }
    json.dumps(plan.to_json())


def test_a_ramp_runs_from_its_first_active_step_to_its_last() -> None:
    plan = make_plan(DFPrompt([Span("neon", EffectRange("0.7", "0.2"), Weight("0.5", "1.5"))]), 10)
    assert plan.tracks[0].weights == (
        *[0] * 3,
        *(Fraction(1, 2) + Fraction(k, 4) for k in range(5)),
        *[0] * 2,
    )


def test_a_ramp_of_one_step_has_its_first_weight() -> None:
    plan = make_plan(DFPrompt([Span("x", EffectRange("0.1", 0), Weight("0.5", "1.5"))]), 10)
    assert plan.tracks[0].weights[-1] == Fraction(1, 2)


def test_a_cut_run_shows_the_tail_of_the_whole_ramp() -> None:
    prompt = DFPrompt([Span("x", "full", Weight(0, 2))])
    whole, cut = make_plan(prompt, 5), make_plan(prompt, 5, strength=0.4)
    assert cut.tracks[0].weights == whole.tracks[0].weights[3:] == (Fraction(3, 2), 2)


def test_both_evaluations_of_a_second_order_step_share_the_ramps_weight() -> None:
    plan = make_plan(DFPrompt([Span("x", "full", Weight(0, 2))]), 3, order=2)
    assert plan.tracks[0].weights == (0, 0, 1, 1, 2)
    assert [planned.text for planned in plan.steps] == ["", "", "x", "x", "x"]


def test_weight_zero_is_absence() -> None:
    plan = make_plan(parse_prompt("a cat, [dog:full:0], sharp"), 2)
    assert {planned.text for planned in plan.steps} == {"a cat, sharp"}
    assert plan.never_active == (Span("dog", "full", 0),)
    assert "weight 0" in explain_silence(plan, plan.never_active[0])


def test_spans_outside_the_tail_never_act() -> None:
    plan = make_plan(parse_prompt("a, [b:early], [c:late]"), 10, strength=0.5)
    assert plan.never_active == (Span("b", "early"),)
    assert "raise the strength" in explain_silence(plan, plan.never_active[0])


def test_masking_keeps_the_text_and_lists_what_is_hidden() -> None:
    plan = make_plan(parse_prompt("a cat, [snow:late:2], sharp"), 2, absence="mask")
    assert [planned.text for planned in plan.steps] == ["a cat, snow, sharp"] * 2
    assert plan.steps[0].hidden == ((6, 12),)
    assert plan.steps[0].weights == ()
    assert plan.steps[1].hidden == ()
    assert (plan.steps[1].weights[0].start, plan.steps[1].weights[0].end) == (7, 11)


@given(prompts, st.integers(1, 20), st.sampled_from(["delete", "mask"]))
def test_offsets_always_cut_out_the_weighted_words(prompt: DFPrompt, steps: int, absence: str) -> None:
    plan = make_plan(prompt, steps, absence=absence)  # type: ignore[arg-type]
    assert len(plan.steps) == steps
    for at, planned in enumerate(plan.steps):
        ends = [edge for part in planned.weights for edge in (part.start, part.end)]
        assert ends == sorted(ends)
        for part in planned.weights:
            assert planned.text[part.start : part.end] == part.text
            assert part.weight not in (0, 1)
        weighted = [track.span.text for track in plan.tracks if track.weights[at] not in (0, 1)]
        assert len(planned.weights) <= len(weighted)


@given(prompts, st.integers(1, 20))
def test_words_without_control_are_the_plain_prompt_at_every_step(prompt: DFPrompt, steps: int) -> None:
    plain = DFPrompt.from_plain(prompt.plain_text)
    neutral = DFPrompt(piece if isinstance(piece, str) else Span(piece.text) for piece in prompt.spans)
    for made in (make_plan(plain, steps), make_plan(neutral, steps)):
        assert {planned.text for planned in made.steps} == {prompt.plain_text}
        assert not any(planned.weights for planned in made.steps)


@given(prompts, st.integers(1, 12))
def test_plans_of_equal_prompts_are_equal(prompt: DFPrompt, steps: int) -> None:
    assert make_plan(prompt, steps) == make_plan(DFPrompt.from_json(prompt.to_json()), steps)


def test_bars_say_words_weight_and_steps() -> None:
    plan = make_plan(parse_prompt("a cat, [snow:late:1.5], [neon:1->0:0.5->1], [x:0.01->0]"), 4)
    bars = make_bars(plan)
    assert [(bar.words, bar.weight, bar.when) for bar in bars] == [
        ("a cat", "", "plain words"),
        ("snow", "x1.5", "late half: steps 3-4 of 4"),
        ("neon", "x0.5->1", "all the way: steps 1-4 of 4"),
        ("x", "", "last 1 %: no step of 4"),
    ]
    assert bars[1].levels == (0, 0, Fraction(3, 2), Fraction(3, 2))


def test_bars_leave_steps_empty_that_do_not_run() -> None:
    plan = make_plan(parse_prompt("a cat"), 4, strength=0.5)
    assert make_bars(plan)[0].levels == (None, None, 1, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [("[x:late]", "late half: steps 6-10 of 10"), ("[x:0.1->0]", "last 10 %: step 10 of 10")],
)
def test_ranges_are_said_in_words(text: str, words: str) -> None:
    plan = make_plan(parse_prompt(text), 10)
    assert describe_track(plan, plan.tracks[0]) == words
