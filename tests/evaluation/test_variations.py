"""The same words at other times: what stands where, and what shares its pictures."""

from __future__ import annotations

import pytest

from dfprompt.errors import PromptValueError
from dfprompt.evaluation.variations import vary
from dfprompt.prompt import DFPrompt, make_plan, parse_prompt


def _texts(base: str, words: str, **options: bool) -> list[str]:
    return [str(each.prompt) for each in vary(parse_prompt(base), words, **options)]


def test_words_stand_behind_the_prompt_or_where_they_are_already() -> None:
    assert _texts("a red house", " oil painting ") == [
        "a red house, [oil painting:full]",
        "a red house, [oil painting:early]",
        "a red house, [oil painting:late]",
        "a red house, [oil painting:late:0.75]",
    ]
    assert _texts("an Oil Painting of a house", "oil painting")[2] == "an [Oil Painting:late] of a house"
    assert _texts("a cathedral", "cat")[1] == "a cathedral, [cat:early]"  # no whole word
    assert _texts("a cat, [fog:early]", "fog")[2] == "a cat, [fog:early], [fog:late]"
    assert _texts("a cat, f/3.5 lens", "3.5")[1] == "a cat, f/[3.5:early] lens"


def test_a_pipeline_without_weights_has_a_shorter_time_instead() -> None:
    assert _texts("a cat", "snow", weights=False)[3] == "a cat, [snow:0.25->0]"


def test_what_is_heard_is_what_the_label_says() -> None:
    plans = {each.label: make_plan(each.prompt, 4) for each in vary(DFPrompt.from_plain("a cat."), "snow")}
    heard = {label: [step.text for step in plan.steps] for label, plan in plans.items()}
    assert heard["all the time"] == ["a cat. snow"] * 4 or heard["all the time"] == ["a cat., snow"] * 4
    assert heard["early"][2:] == heard["late"][:2] == ["a cat."] * 2
    assert heard["late"] == heard["late and gently"]
    weights = [[part.weight for part in step.weights] for step in plans["late and gently"].steps]
    assert weights == [[], [], [0.75], [0.75]]


def test_words_that_cannot_be_a_span_are_refused() -> None:
    with pytest.raises(PromptValueError):
        vary(DFPrompt(["a cat"]), " ")
