"""Candidates: distinct, ranked by mean log-probability, each from its own seed."""

from __future__ import annotations

import pytest

from dfprompt.errors import ConfigError, DFPromptWarning
from dfprompt.policy import SamplingSettings
from dfprompt.policy.bundle import candidate_seed
from dfprompt.prompt import parse_prompt
from tiny_policies import tiny_policy

HOW = SamplingSettings(max_new_tokens=20)


def test_candidates_are_distinct_and_ranked() -> None:
    policy = tiny_policy(ending=2.0)
    (found,) = policy.candidates(["a red cat"], 6, 3, HOW)
    assert len(found) == 6
    assert len({str(each.prompt) for each in found}) == 6
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert all(each.score == each.logprob / each.actions for each in found)


def test_more_candidates_and_more_prompts_change_none_drawn_before() -> None:
    policy = tiny_policy(ending=2.0)
    (few,) = policy.candidates(["a red cat"], 2, 3, HOW)
    other, many = policy.candidates(["the blue star", "a red cat"], 6, 3, HOW, batch_size=5)
    by_number = {each.candidate: str(each.prompt) for each in many}
    for each in few:
        assert by_number[each.candidate] == str(each.prompt)
    assert all(each.plain == "the blue star" for each in other)


def test_one_candidate_is_the_rewrite_of_the_seed_itself() -> None:
    policy = tiny_policy()
    (found,) = policy.candidates(["a red cat"], 1, 5, HOW)
    assert found[0].prompt == policy.rewrite(["a red cat"], [5], HOW)[0].prompt
    assert candidate_seed(5, 0) == 5
    assert len({candidate_seed(5, number) for number in range(100)}) == 100


def test_a_policy_with_little_to_say_says_so() -> None:
    policy = tiny_policy(ending=30.0)
    with pytest.warns(DFPromptWarning, match="1 different rewrites of"):
        (found,) = policy.candidates(["a red cat"], 3, 0, HOW)
    assert [str(each.prompt) for each in found] == ["a red cat"]


def test_spans_of_a_dfprompt_are_kept() -> None:
    base = parse_prompt("a cat, [snow:early]")
    for row in tiny_policy().rewrite([base] * 4, [1, 2, 3, 4], HOW):
        assert str(row.prompt).startswith("a cat, [snow:early]")
        assert row.plain == "a cat, snow"


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ConfigError, match="seed"):
        tiny_policy().candidates(["a"], 1, seed, HOW)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="candidates"):
        tiny_policy().candidates(["a"], 0, 1, HOW)
