"""The reward of real pictures: what it says depends on the call alone, not on calls before it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.rewards import load_reward
from dfprompt.policy.rewrite import Rewrite
from dfprompt.prompt import DFPrompt
from dfprompt.requests.render import RenderSettings
from dfprompt.rewards import CompositeReward
from dfprompt.training.picture_reward import PictureReward
from dfprompt.training.rollout import Attempt

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
LONGER = "a white house in a forest, golden hour, film grain, centered composition, rule of thirds, soft glow"


@pytest.fixture(scope="module")
def reward() -> PictureReward:
    composite = load_reward("mini")
    assert isinstance(composite, CompositeReward)
    return PictureReward(load_pipeline("mini"), composite, RenderSettings(num_inference_steps=2))


def attempts(texts: Sequence[str]) -> list[Attempt]:
    rewrites = [Rewrite(text, DFPrompt.from_plain(text), (), 0.0, 1, 0) for text in texts]
    return [Attempt(rewrite, seed) for seed, rewrite in enumerate(rewrites)]


def features(reward: PictureReward, asked: Sequence[Attempt]) -> Tensor:
    """What the towers keep of the prompts."""
    texts = [each.rewrite.plain for each in asked]
    return torch.cat([tower.text_features(texts) for tower in reward.reward.towers()])


def test_a_reward_does_not_depend_on_the_calls_before_it(reward: PictureReward) -> None:
    """Encodings kept from another batch differ in their last bits; a resumed run has not seen that batch."""
    asked = attempts(["a red cat on a hill", "a blue boat at night"])
    fresh, kept = reward(asked), features(reward, asked)
    for others in ([LONGER], [f"a {colour} cat in a forest" for colour in COLOURS]):
        for tower in reward.reward.towers():
            tower.forget_texts()  # as in a process that has seen nothing yet
        reward(attempts([asked[0].rewrite.plain, *others]))
        assert torch.equal(reward(asked).reward, fresh.reward)
        # A reward rounds most of it away; not all, over a thousand steps.
        assert torch.equal(features(reward, asked), kept)
