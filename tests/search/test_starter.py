"""The starter policy: seeded rules, verbatim words, bans; labelled as unlearned."""

from __future__ import annotations

import pytest

from dfprompt.api.policies import load_policy
from dfprompt.errors import ConfigError
from dfprompt.evaluation.methods import PolicyMethod
from dfprompt.policy import Bans, SamplingSettings, TokenBudget
from dfprompt.prompt import EARLY, LATE, parse_prompt
from dfprompt.search.lexicon import built_in_lexicon, make_lexicon
from dfprompt.search.starter import LABEL, StarterPolicy


def test_the_users_words_come_first_and_spans_are_the_lists_own() -> None:
    for seed in range(20):
        ((rewrite,),) = StarterPolicy().candidates(["a [sic] cat, "], 1, seed)
        assert rewrite.prompt.plain_text.startswith("a [sic] cat, ")
        assert parse_prompt(str(rewrite.prompt)) == rewrite.prompt
        entries = [built_in_lexicon().find(span.text) for span in rewrite.modifiers]
        assert [entry and entry.span for entry in entries] == list(rewrite.modifiers)
        assert [entry and entry.category for entry in entries] == ["composition", "light", "texture"]
        assert rewrite.modifiers[0].effect_range == EARLY
        assert rewrite.modifiers[2].effect_range == LATE


def test_a_candidate_depends_on_its_seed_and_number_alone() -> None:
    few, many = (StarterPolicy().candidates(["a cat", "a dog"], count, 7) for count in (2, 5))
    assert [[str(each.prompt) for each in row[:2]] for row in many] == [
        [str(each.prompt) for each in row] for row in few
    ]
    assert len({str(each.prompt) for each in many[0]}) == 5
    assert str(StarterPolicy().candidates(["a cat"], 1, 8)[0][0].prompt) != str(few[0][0].prompt)


def test_a_category_the_prompt_speaks_of_is_left_to_it() -> None:
    for seed in range(10):
        ((rewrite,),) = StarterPolicy().candidates(["a close-up of a cat at golden hour"], 1, seed)
        kinds = {built_in_lexicon().find(span.text).category for span in rewrite.modifiers}
        assert not kinds & {"composition", "light"}


def test_bans_and_numbers_hold() -> None:
    policy = StarterPolicy(make_lexicon(["mist", "film grain"], "two"))
    banned = SamplingSettings(bans=Bans(words=["grain"]))
    (row,) = policy.rewrite(["a cat"], [1], banned)
    assert str(row.prompt) == "a cat, [mist:early:0.75]"
    (row,) = StarterPolicy().rewrite(["a cat"], [1], SamplingSettings(max_modifiers=1))
    assert len(row.modifiers) == 1
    (row,) = policy.rewrite(["a cat"], [1], SamplingSettings(budget=TokenBudget(3)))
    assert str(row.prompt) == "a cat, [mist:early:0.75]"  # counted in words: film grain would make five


def test_it_says_that_it_was_not_learned() -> None:
    policy = load_policy("starter")
    assert isinstance(policy, StarterPolicy)
    assert policy.name == LABEL == "starter (rules, not learned)"
    assert policy.candidates(["a cat"], 1, 0)[0][0].logprob == 0.0
    with pytest.raises(ConfigError, match="nothing can be trained"):
        policy.sample(["a cat"], [1], SamplingSettings())
    assert policy.name in PolicyMethod(policy, num_inference_steps=10).definition
