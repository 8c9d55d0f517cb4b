"""Phrases as the critic sees them: the right state, the right words, the others, the control drawn."""

from __future__ import annotations

import torch

from dfprompt.policy import SamplingSettings
from dfprompt.training.phrases import describe_phrases
from tiny_policies import tiny_policy

PROMPTS = ["a red cat", "the blue star in the snow", "a", "a cat at night", "a hill", "the red star"]


def test_each_phrase_is_what_a_model_reads_of_it_alone() -> None:
    """Row by row without padding: the state behind the closing token, the mean of its own embeddings."""
    policy, reference = tiny_policy(), tiny_policy(seed=3).model
    how = SamplingSettings(max_new_tokens=24).for_rollouts()
    trajectory = policy.sample(PROMPTS, list(range(6)), how)
    found = describe_phrases(reference, trajectory, 5, size=4)
    told = 0
    for row, phrases in enumerate(trajectory.phrases):
        closed = [each for each in phrases if not each.dropped]
        assert int(found.mask[row].sum()) == len(closed)
        tokens = trajectory.tokens[row, : int(trajectory.token_mask[row].sum())]
        context = trajectory.context_ids[row][trajectory.context_mask[row].bool()]
        with torch.no_grad():
            ids = torch.cat([context, tokens])[None]
            states = reference(input_ids=ids, attention_mask=torch.ones_like(ids)).states[0]
            embedded = reference.get_input_embeddings()(tokens)
        means = [embedded[each.start : each.end].mean(0) for each in closed]
        for k, each in enumerate(closed):
            told += 1
            assert found.controls[row, k] == 5 * each.range_id + each.weight_id
            assert found.ends[row, k] == each.end
            torch.testing.assert_close(
                found.states[row, k], states[len(context) + each.end], atol=1e-4, rtol=1e-4
            )
            torch.testing.assert_close(found.words[row, k], means[k], atol=1e-5, rtol=1e-5)
            others = torch.stack(means).sum(0) - means[k]
            torch.testing.assert_close(found.company[row, k], others, atol=1e-5, rtol=1e-5)
    assert told > 8
    assert not found.words[~found.mask].any()
    assert not found.states[~found.mask].any()


def test_rows_that_say_nothing_have_no_phrase() -> None:
    policy = tiny_policy(ending=60.0)
    trajectory = policy.sample(PROMPTS, list(range(6)), SamplingSettings(max_new_tokens=8).for_rollouts())
    found = describe_phrases(policy.model, trajectory, 5, size=4)
    assert found.mask.shape == (6, 1)
    assert not found.mask.any()
