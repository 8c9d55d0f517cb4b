"""Sampling: the same row in every batch and process, bans, budgets, limits, the user's text untouched."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
import warnings
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfprompt.errors import ConfigError, DFPromptWarning
from dfprompt.policy import Bans, Policy, SamplingSettings, TokenBudget, Trajectory, compute_logprobs
from dfprompt.policy.bans import normalize, split_words
from dfprompt.policy.row_sampler import RowSampler, SampledRow
from dfprompt.policy.vocabulary import INSIDE, OPEN, START
from dfprompt.prompt import DFPrompt, format_prompt, make_plan, parse_prompt
from property_profiles import examples
from tiny_policies import tiny_policy, tiny_tokenizer

CONTROLS = ("phrase", "token", "none")
PROMPTS = ("a red cat on a hill", "cat", "", "the blue star in the snow, at night, with soft film grain")
SHORT = SamplingSettings(max_new_tokens=24)
ROLLOUT = SHORT.for_rollouts()
BANNING = SamplingSettings(max_new_tokens=24, bans=Bans(substrings=["o", "e"]))
MANY = list(range(100, 116))


def rows_of(trajectory: Trajectory) -> list[tuple[object, ...]]:
    """What was drawn in each row, without padding."""
    lengths = trajectory.token_mask.sum(1).tolist()
    return [
        (
            trajectory.tokens[row, :length].tolist(),
            trajectory.range_ids[row, :length].tolist(),
            trajectory.weight_ids[row, :length].tolist(),
            trajectory.phrases[row],
            trajectory.ends[row],
        )
        for row, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("how", [SHORT, ROLLOUT, BANNING], ids=["use", "rollout", "bans"])
@pytest.mark.parametrize("trunk", ["gpt2", "llama"])
@pytest.mark.few(5)
def test_a_row_is_the_same_in_every_batch_order_and_without_cache(
    control: str, how: SamplingSettings, trunk: str
) -> None:
    policy = tiny_policy(control, trunk=trunk)
    prompts, seeds = [*PROMPTS, *PROMPTS], list(range(8))
    together = rows_of(policy.sample(prompts, seeds, how))
    assert rows_of(policy.sample(prompts[::-1], seeds[::-1], how)) == together[::-1]
    assert rows_of(policy.sample(prompts, seeds, dataclasses.replace(how, use_cache=False))) == together
    for prompt, seed, row in zip(prompts, seeds, together, strict=True):
        assert rows_of(policy.sample([prompt], [seed], how)) == [row]


def test_the_same_seed_gives_the_same_text_in_another_process() -> None:
    code = (
        "from tiny_policies import tiny_policy\n"
        "rows = tiny_policy().rewrite(['a red cat', 'the blue star'], [3, 4])\n"
        "print(*[row.prompt for row in rows], sep='\\n')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="tests"
    )
    here = tiny_policy().rewrite(["the blue star", "a red cat"], [4, 3])
    assert ran.stdout.splitlines() == [str(here[1].prompt), str(here[0].prompt)]


def test_seeds_differ() -> None:
    texts = {str(row.prompt) for row in tiny_policy(ending=0.0).rewrite(["a red cat"] * 16, MANY, SHORT)}
    assert len(texts) > 8


@pytest.mark.parametrize("control", CONTROLS)
def test_what_is_drawn_follows_the_grammar(control: str) -> None:
    policy = tiny_policy(control)
    trajectory = policy.sample(["a red cat"] * 16, MANY, ROLLOUT)
    masks = policy.vocabulary.masks
    kinds = set()
    for row in range(16):
        state = START
        for at in range(int(trajectory.token_mask[row].sum())):
            token = int(trajectory.tokens[row, at])
            assert trajectory.states[row, at] == state
            assert masks[state, token]
            kinds.add((state, policy.vocabulary.closes(token)))
            state = policy.vocabulary.follow(state, token)
    assert kinds == {(START, True), (OPEN, False), (INSIDE, True), (INSIDE, False)}


@pytest.mark.parametrize("control", CONTROLS)
def test_each_modifier_has_one_control_where_it_belongs(control: str) -> None:
    trajectory = tiny_policy(control).sample(["a red cat"] * 16, MANY, ROLLOUT)
    seen = 0
    for row, phrases in enumerate(trajectory.phrases):
        marked = trajectory.control_mask[row].nonzero().flatten().tolist()
        words = [at for phrase in phrases for at in range(phrase.start, phrase.end)]
        closing = [phrase.end for phrase in phrases if not phrase.dropped]
        assert marked == {"phrase": closing, "token": words, "none": []}[control]
        for phrase in phrases:
            if control == "phrase" and not phrase.dropped:
                assert phrase.range_id == trajectory.range_ids[row, phrase.end]
                assert phrase.weight_id == trajectory.weight_ids[row, phrase.end]
            if control == "none":
                assert (phrase.range_id, phrase.weight_id) == (0, 2)
            seen += not phrase.dropped
    assert seen > 10


def test_token_control_takes_the_majority_and_of_equals_the_first() -> None:
    trajectory = tiny_policy("token").sample(["a red cat"] * 16, MANY, ROLLOUT)
    for row, phrases in enumerate(trajectory.phrases):
        for phrase in phrases:
            if phrase.dropped:
                continue
            for ids, chosen in (
                (trajectory.range_ids, phrase.range_id),
                (trajectory.weight_ids, phrase.weight_id),
            ):
                votes = ids[row, phrase.start : phrase.end].tolist()
                most = max(votes.count(each) for each in votes)
                assert chosen == next(each for each in votes if votes.count(each) == most)


def test_classes_that_act_at_no_step_are_never_drawn() -> None:
    policy = tiny_policy()
    free = policy.sample(["a red cat"] * 16, MANY, ROLLOUT)
    bound = policy.sample(["a red cat"] * 16, MANY, ROLLOUT, acting=[True, True, False])
    assert (free.range_ids[free.control_mask] == 2).any()
    assert not (bound.range_ids[bound.control_mask] == 2).any()
    assert torch.equal(bound.range_allowed, torch.tensor([[True, True, False]]).expand(16, -1))
    for wrong in ([True, True], [False] * 3):
        with pytest.raises(ConfigError, match="acting"):
            policy.sample(["a"], [1], ROLLOUT, acting=wrong)


# Bans


@pytest.mark.parametrize("control", CONTROLS)
def test_banned_words_never_appear(control: str) -> None:
    policy = tiny_policy(control, favour=("gore", "Gore", "film grain", "soft glow"))
    free = policy.rewrite(["a red cat"] * 32, list(range(32)), SHORT)
    words = {word for row in free for span in row.modifiers for word in split_words(span.text)}
    assert "gore" in words, "the test needs a policy that says it"
    bans = Bans(words=["GORE", "soft glow"], patterns=["^film"])
    bound = policy.rewrite(["a red cat"] * 32, list(range(32)), dataclasses.replace(SHORT, bans=bans))
    said = [span.text for row in bound for span in row.modifiers]
    assert said
    for text in said:
        assert "gore" not in split_words(text)
        assert "soft glow" not in " ".join(split_words(text))
        assert not normalize(text).startswith("film")


@given(
    st.sampled_from(["gore", "GORE", "gOrE", "extreme gore", "gore-free", "a gore's"]),
    st.lists(st.integers(1, 12), max_size=6),
)
def test_a_banned_word_is_refused_however_it_is_cut_into_tokens(text: str, cuts: list[int]) -> None:
    policy, tokenizer = tiny_policy(), tiny_tokenizer()
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    ids = [token for start, end in pairwise(edges) for token in tokenizer(text[start:end])["input_ids"]]
    how = dataclasses.replace(SHORT, bans=Bans(words=["Gore"]))
    row = RowSampler("a cat", 1, "none", policy.vocabulary, how, policy.model.config.tables)
    for token in (policy.vocabulary.separator_id, *ids):
        assert row.take(SampledRow(token, row.state, 0.0, slot=len(row.drawn))) is None
    for closer in (policy.vocabulary.separator_id, policy.vocabulary.end_id):
        refused = copy.deepcopy(row).take(SampledRow(closer, row.state, 0.0, slot=99))
        assert refused == list(range(1, 1 + len(ids)))


def test_a_modifier_that_stays_banned_is_dropped_after_four_redraws() -> None:
    policy = tiny_policy(closing=4.0)
    drawn = dataclasses.replace(SHORT, bans=Bans(patterns=["."]))  # everything is banned
    rows = policy.rewrite(["a red cat"] * 8, MANY[:8], drawn)
    assert all(not row.modifiers and str(row.prompt) == "a red cat" for row in rows)
    assert any(reason == "banned: ." for row in rows for _, reason in row.dropped)
    once = policy.sample(["a red cat"], [100], dataclasses.replace(drawn, redraws=0))
    more = policy.sample(["a red cat"], [100], drawn)
    assert once.phrases != more.phrases, "a redraw draws again"


def test_every_modifier_has_its_own_four_redraws() -> None:
    policy = tiny_policy()
    (word,) = policy.vocabulary.encode_modifier("film") or ()
    row = RowSampler("a", 1, "none", policy.vocabulary, dataclasses.replace(SHORT, bans=Bans(words=["film"])),
              policy.model.config.tables)  # fmt: skip
    row.take(SampledRow(policy.vocabulary.separator_id, row.state, 0.0, 0))
    for _ in range(2):
        for refusal in range(5):
            assert row.take(SampledRow(word, row.state, 0.0, 7)) is None
            refused = row.take(SampledRow(policy.vocabulary.separator_id, row.state, 0.0, 8))
            assert refused == ([7] if refusal < 4 else None)
    assert [phrase.dropped for phrase in row.phrases] == ["banned: film"] * 2


def test_redrawn_words_leave_no_trace_in_the_model() -> None:
    """What follows a redraw is what the model says without the words that were taken back."""
    policy = tiny_policy()
    trajectory = policy.sample(["a red cat"] * 8, MANY[:8], BANNING)
    assert trajectory.token_mask.sum() > 8 * 4
    with torch.no_grad():
        again = compute_logprobs(policy.model, policy.vocabulary, trajectory)
    torch.testing.assert_close(again.text, trajectory.text_logprobs, atol=1e-4, rtol=0)


def test_nothing_is_said_twice_and_nothing_looks_like_control() -> None:
    policy = tiny_policy(favour=("film grain", "+", "BREAK"), closing=4.0, ending=-3)
    rows = policy.rewrite(["a red cat, film grain"] * 16, MANY, SHORT)
    for row in rows:
        said = [normalize(span.text) for span in row.modifiers]
        assert len(set(said)) == len(said)
        assert "film grain" not in said
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parse_prompt(format_prompt(DFPrompt(row.modifiers)))


def test_rollouts_are_neither_banned_nor_redrawn_nor_truncated() -> None:
    rollout = BANNING.for_rollouts()
    assert (rollout.temperature, rollout.top_k, rollout.top_p) == (1.0, 0, 1.0)
    assert not rollout.bans
    assert (rollout.redraws, rollout.tidy) == (0, False)
    assert rollout.max_new_tokens == BANNING.max_new_tokens


# Limits


@pytest.mark.parametrize("limit", [6, 9, 14])
@pytest.mark.parametrize("how", [SHORT, ROLLOUT], ids=["use", "rollout"])
def test_the_budget_is_kept_as_the_reader_counts(limit: int, how: SamplingSettings) -> None:
    tokenizer = tiny_tokenizer()
    policy = tiny_policy(budget=limit, ending=-3)
    ends = set()
    for row in policy.rewrite(["a red cat"] * 16, MANY, how):
        assert len(tokenizer(row.prompt.plain_text)["input_ids"]) <= limit
        ends.add(row.end)
    assert "budget" in ends


def test_a_text_that_fills_the_budget_is_left_alone() -> None:
    policy = tiny_policy(budget=2)
    trajectory = policy.sample(["a red cat on a hill", "a"], [1, 2], SHORT)
    assert trajectory.ends[0] == "budget"
    assert int(trajectory.token_mask[0].sum()) == int(trajectory.actions[0]) == 0
    assert float(trajectory.logprobs[0]) == 0
    (row, _) = policy.rewrite(["a red cat on a hill", "a"], [1, 2], SHORT)
    assert str(row.prompt) == "a red cat on a hill"
    everywhere = policy.sample(["a red cat on a hill"] * 2, [1, 2], SHORT)
    assert everywhere.tokens.shape == (2, 0)
    assert everywhere.logprobs.tolist() == [0, 0]


def test_an_unfinished_modifier_is_dropped_and_has_no_control() -> None:
    policy = tiny_policy(closing=-2.0, ending=-2.0)
    trajectory = policy.sample(
        ["a red cat"] * 4, [1, 2, 3, 4], dataclasses.replace(ROLLOUT, max_new_tokens=5)
    )
    for row in range(4):
        assert int(trajectory.token_mask[row].sum()) <= 5
        if trajectory.ends[row] == "length" and trajectory.phrases[row]:
            assert trajectory.phrases[row][-1].dropped == "unfinished"
    assert not trajectory.control_mask.any()


def test_a_limit_of_modifiers_ends_the_row_after_their_controls() -> None:
    policy = tiny_policy(ending=-9.0, closing=4.5)
    trajectory = policy.sample(["a red cat"] * 8, MANY[:8], dataclasses.replace(ROLLOUT, max_modifiers=1))
    full = [row for row in range(8) if trajectory.ends[row] == "modifiers"]
    assert full
    for row in full:
        assert len(trajectory.phrases[row]) == 1
        assert trajectory.control_mask[row].sum() == 1


def test_ending_at_once_is_legal_and_is_one_choice() -> None:
    policy = tiny_policy(closing=-9.0, ending=9.0)
    trajectory = policy.sample(["a red cat"], [1], SHORT)
    assert trajectory.tokens.tolist() == [[policy.vocabulary.end_id]]
    assert trajectory.actions.tolist() == [1]
    assert str(policy.rewrite(["a red cat"], [1], SHORT)[0].prompt) == "a red cat"


def test_long_texts_are_read_from_their_beginning_with_a_warning() -> None:
    policy = tiny_policy(budget=500)
    with pytest.warns(DFPromptWarning, match="reads only the first 72"):
        trajectory = policy.sample(["a red cat " * 60], [1], SHORT)
    assert trajectory.context_ids.shape[1] == 96 - 24
    with pytest.raises(ConfigError, match="96"):
        policy.sample(["a"], [1], SamplingSettings(max_new_tokens=96))


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"temperature": float("nan")}, {"control_temperature": -0.1},
              {"end_bias": float("inf")}, {"top_p": 0.0}, {"top_k": -1},
              {"max_new_tokens": 0}, {"max_modifiers": 0}, {"redraws": 1.5}],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SamplingSettings(**wrong)  # type: ignore[arg-type]


def test_controls_in_use_are_the_likeliest_and_words_stay_free() -> None:
    policy = tiny_policy()
    prompts = ["a red cat", "the blue star", "a hill"] * 4
    trajectory = policy.sample(prompts, list(range(12)), SamplingSettings(max_new_tokens=24))
    now = compute_logprobs(policy.model, policy.vocabulary, trajectory)
    where = trajectory.control_mask
    assert where.sum() > 10
    assert torch.equal(trajectory.range_ids[where], now.range_all.argmax(-1)[where])
    assert torch.equal(trajectory.weight_ids[where], now.weight_all.argmax(-1)[where])
    freely = SamplingSettings(control_temperature=1, max_new_tokens=24)
    drawn = policy.sample(prompts, list(range(12)), freely)
    assert torch.equal(drawn.tokens, trajectory.tokens), "words are drawn from the same numbers"
    assert not torch.equal(drawn.range_ids, trajectory.range_ids)
    assert SamplingSettings(control_temperature=0).for_rollouts().control_temperature == 1


def test_a_bias_towards_ending_leaves_more_alone_and_is_not_recorded() -> None:
    policy = tiny_policy(ending=2.0)
    prompts, seeds = ["a red cat", "the blue star", "a hill"] * 20, list(range(60))
    alone, modifiers = [], []
    for bias in (-3.0, 0.0, 2.0, 5.0, 40.0):
        found = policy.sample(prompts, seeds, SamplingSettings(max_new_tokens=12, end_bias=bias))
        kept = [len([each for each in row if not each.dropped]) for row in found.phrases]
        alone.append(sum(not count for count in kept))
        modifiers.append(sum(kept))
        now = compute_logprobs(policy.model, policy.vocabulary, found)
        torch.testing.assert_close(found.text_logprobs, now.text.detach(), atol=1e-4, rtol=1e-4)
    assert alone == sorted(alone)
    assert alone[0] < alone[2] < alone[-1] == 60
    assert modifiers == sorted(modifiers, reverse=True)
    assert SamplingSettings(end_bias=4).for_rollouts().end_bias == 0


def test_rows_and_seeds_must_match() -> None:
    policy = tiny_policy()
    with pytest.raises(ConfigError, match="2 prompts need 2 seeds"):
        policy.sample(["a", "b"], [1], SHORT)
    with pytest.raises(ConfigError, match="no prompt"):
        policy.sample([], [], SHORT)
    with pytest.raises(ConfigError, match="budget"):
        TokenBudget(0)


# The user's text

PIECES = (
    *("a cat", "[x:1]", "[", "]", "\\", '"q"', "<lora:x:1>", "(w:1.2)", ",", ". ", " ;", "BREAK", "{a|b}"),
    *("日本語", "\u202e", "\ud800", "\n", "e\u0301", "😀", "__x__", "embedding:y"),
)
ODD = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
_POLICY: list[Policy] = []


@settings(max_examples=examples(60))
@given(st.one_of(st.text(max_size=25), ODD), st.integers(0, 2**40), st.integers(1, 12))
def test_the_users_words_begin_every_text_that_is_encoded(text: str, seed: int, steps: int) -> None:
    if not _POLICY:
        _POLICY.append(tiny_policy(ending=-2.0, closing=4.0, budget=400))
    (row,) = _POLICY[0].rewrite([text], [seed], SHORT)
    assert row.plain == text
    for planned in make_plan(row.prompt, steps).steps:
        assert planned.text.startswith(text.rstrip())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)  # the user's own look-alikes
        assert parse_prompt(format_prompt(row.prompt)) == row.prompt
    assert row.prompt.plain_text.startswith(text.rstrip())


def test_at_least_so_many_modifiers_where_the_policy_would_leave_the_prompt_alone() -> None:
    quiet = tiny_policy(ending=12.0)  # ends at once
    free = SamplingSettings(max_new_tokens=40, temperature=0)
    assert [each.unchanged for each in quiet.rewrite(["a red cat"], [0], free)] == [
        "left alone: nothing it knows would help here"
    ]
    for least in (1, 2):
        forced = dataclasses.replace(free, temperature=1.0, min_modifiers=least)
        found = quiet.rewrite(PROMPTS[:2], [1, 2], forced)
        assert [len(each.modifiers) for each in found] == [least, least]
        assert not any(each.unchanged for each in found)
    with pytest.raises(ConfigError, match="at least 2 modifiers and at most 1"):
        SamplingSettings(min_modifiers=2, max_modifiers=1)
    assert (
        ROLLOUT.min_modifiers == dataclasses.replace(SHORT, min_modifiers=3).for_rollouts().min_modifiers == 0
    )


def test_a_prompt_that_is_too_long_or_of_which_all_is_left_out_is_not_called_left_alone() -> None:
    policy = tiny_policy(budget=4)
    (full,) = policy.rewrite(["a red cat on a hill at night"], [0], SHORT)
    assert full.unchanged == "unchanged: the prompt leaves no room for another word"
    nothing = dataclasses.replace(SHORT, bans=Bans(substrings=list("abcdefghijklmnopqrstuvwxyz0123456789")))
    (banned,) = tiny_policy().rewrite(["a red cat"], [3], nothing)
    assert not banned.modifiers
    assert banned.unchanged != "left alone: nothing it knows would help here" or not banned.dropped
