"""Candidates: distinct, ranked by mean log-probability, each from its own seed."""

from __future__ import annotations

import dataclasses

import pytest

from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.policies import load_policy
from dfprompt.errors import ConfigError, DFPromptWarning
from dfprompt.policy import Rewrite, SamplingSettings
from dfprompt.policy.bans import Bans
from dfprompt.policy.kinds import KindHunt, same_kind
from dfprompt.policy.policy import candidate_seed
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.prompt import DFPrompt, Span, Weight, parse_prompt
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


def test_candidates_differ_in_kind_as_far_as_there_are_kinds() -> None:
    """Drawn one after the other, the first of every kind: by hand, from the draws themselves."""
    policy = tiny_policy(ending=2.0)
    (found,) = policy.candidates(["a red cat"], 4, 3, HOW)
    draws = policy.rewrite(["a red cat"] * 16, [candidate_seed(3, number) for number in range(16)], HOW)
    words = [frozenset(span.text.casefold() for span in each.modifiers) for each in draws]
    kept: list[int] = []
    for number, mine in enumerate(words):
        if all(2 * len(mine & words[at]) < len(mine | words[at]) for at in kept) and (mine or not kept):
            kept.append(number)
    assert len(kept) >= 4
    assert sorted(each.candidate for each in found) == kept[:4]


def rewritten(*texts: str) -> Rewrite:
    modifiers = tuple(Span(text) for text in texts)
    prompt = append_modifiers(DFPrompt.from_plain("a cat"), modifiers)
    return Rewrite("a cat", prompt, modifiers, 0.0, 1, 0)


def test_one_kind_is_half_of_the_words_in_any_order_with_any_control() -> None:
    assert same_kind(rewritten("mist", "8k"), rewritten("8k", "Mist"))
    assert same_kind(rewritten("mist"), rewritten("mist", "8k"))
    assert not same_kind(rewritten("mist", "8k"), rewritten("8k", "bokeh"))
    assert same_kind(rewritten(), rewritten())
    assert not same_kind(rewritten(), rewritten("mist"))
    louder = rewritten("mist")
    louder = dataclasses.replace(louder, modifiers=(Span("mist", "late", Weight("1.5")),))
    assert same_kind(louder, rewritten("mist"))


def hunt(count: int, *drawn: Rewrite) -> KindHunt:
    found = KindHunt(count, HOW)
    for each in drawn:
        found.take(each)
    return found


def test_where_kinds_run_out_other_texts_follow() -> None:
    drawn = [rewritten("mist"), rewritten("mist", "8k"), rewritten("mist"), rewritten("bokeh")]
    for count, texts in ((2, ["mist", "bokeh"]), (3, ["mist", "bokeh", "mist, 8k"])):
        found = hunt(count, *drawn).found()
        assert [str(each.prompt).removeprefix("a cat, ") for each in found] == texts


def test_a_policy_that_repeats_itself_is_pushed_from_its_own_words() -> None:
    """Three draws as asked; then without the commonest half of each kind's words, then without all."""
    stuck = [rewritten("mist", "8k", "bokeh")] * 4
    assert hunt(3, *stuck[:3]).settings() == HOW
    pushed = hunt(3, *stuck).settings()
    assert list(pushed.bans.words) == ["8k", "bokeh"]
    assert (pushed.temperature, pushed.min_modifiers) == (1.0, 1)
    assert list(hunt(3, *stuck, *stuck[:3]).settings().bans.words) == ["mist", "8k", "bokeh"]
    assert hunt(3, *stuck, rewritten("mist", "glow", "oil")).settings() == HOW
    assert [hunt(3, *stuck[:each]).alike for each in range(5)] == [1, 3, 2, 1, 3]
    assert [hunt(3, *stuck, *stuck[:each]).alike for each in (1, 2, 3, 4)] == [2, 1, 3, 2]
    given_up = hunt(2, stuck[0], *stuck, *stuck, stuck[0])
    assert not given_up.missing
    assert len(given_up.found()) == 1


def test_nothing_left_of_a_pushed_draw_is_no_kind_and_no_news() -> None:
    cut = dataclasses.replace(rewritten(), dropped=(("mist", "banned: mist"), ("oil", "said already")))
    found = hunt(2, *[rewritten("mist")] * 4, cut)
    assert [each.modifiers for each in found.kinds] == [rewritten("mist").modifiers]
    assert found.others[-1].dropped == (("oil", "said already"),)


@pytest.mark.slow
def test_four_candidates_of_the_packaged_policy_are_four_sets_of_words_of_three_kinds() -> None:
    """It writes one rewrite nearly always, and knows few words: where kinds run out, other words follow."""
    prompts = [each.text for each in make_mini_prompts(3, part="validation")]
    for found in load_policy("mini").candidates(prompts, 4, 0):
        words = [frozenset(span.text for span in each.modifiers) for each in found]
        kinds: list[frozenset[str]] = []
        for own in words:
            if all(2 * len(own & kept) < max(1, len(own | kept)) for kept in kinds):
                kinds.append(own)
        assert len(set(words)) == 4
        assert len(kinds) >= 3


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
    nothing = dataclasses.replace(HOW, bans=Bans(patterns=["."]), max_new_tokens=4)
    with pytest.warns(DFPromptWarning, match="1 different rewrites of"):
        (found,) = tiny_policy(ending=2.0).candidates(["a red cat"], 3, 0, nothing)
    assert [str(each.prompt) for each in found] == ["a red cat"]


def test_a_policy_that_leaves_a_prompt_alone_still_has_other_looks_to_offer() -> None:
    (found,) = tiny_policy(ending=30.0).candidates(["a red cat"], 3, 0, HOW)
    assert [each.changed for each in found].count(False) == 1
    assert len(found) == 3


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
