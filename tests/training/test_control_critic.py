"""The critic is the Gaussian process it says, forgets, goes on to the same bits, finds best controls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dfprompt.training.control_critic import ControlCritic, centred
from dfprompt.training.phrases import Phrases
from dfprompt.training.rl_settings import CriticSettings

WEIGHTS = torch.tensor([0.5, 0.75, 1.0, 1.25, 1.5])
KINDS, GROUP, RANGES, WIDTH = 4, 4, 3, 6


def worths(seed: int = 0) -> torch.Tensor:
    """What each control of each kind is worth: less, the further its weight is from the best one."""
    generator = torch.Generator().manual_seed(seed)
    when = torch.randn(KINDS, RANGES, 1, generator=generator)
    strength = WEIGHTS[torch.randint(5, (KINDS, 1, 1), generator=generator)]
    return (when - 4 * (WEIGHTS - strength).square()).flatten(1)


def drawn(seed: int, rows: int, table: torch.Tensor, luck: float = 0.0) -> tuple[Phrases, torch.Tensor]:
    """Rows of up to two phrases, rewarded by a table of (kind, control) and by their group's luck."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(KINDS, (rows, 2), generator=generator)
    controls = torch.randint(RANGES * len(WEIGHTS), (rows, 2), generator=generator)
    mask = torch.rand(rows, 2, generator=generator) < 0.8
    words = torch.eye(KINDS)[kinds]
    words = torch.cat([words, torch.zeros(rows, 2, WIDTH - KINDS)], -1)
    states, company = (torch.randn(rows, 2, WIDTH, generator=generator) for _ in range(2))
    rewards = (table[kinds, controls] * mask).sum(1)
    rewards = rewards + (luck * torch.randn(rows // GROUP, generator=generator)).repeat_interleave(GROUP)
    rewards = rewards + 0.1 * torch.randn(rows, generator=generator)
    ends = torch.zeros(rows, 2, dtype=torch.long)
    return Phrases(states, words, company, controls * mask, ends, mask, torch.zeros(rows, 0)), rewards[
        :, None
    ]


def test_it_is_the_gaussian_process_computed_phrase_by_phrase() -> None:
    """A second implementation in numpy, double precision: loops over pairs of phrases, a dense solve."""
    how = CriticSettings(noise=0.7, memory=2.0)
    critic = ControlCritic(RANGES, WEIGHTS, how)
    given = [drawn(seed, 12, worths()) for seed in (1, 2, 3)]
    for phrases, rewards in given:
        critic.learn(phrases, torch.cat([rewards, -2 * rewards.square()], 1), GROUP)
    asked, _ = drawn(9, 8, worths())
    expected = naive_worth([(p, torch.cat([r, -2 * r.square()], 1)) for p, r in given], asked, how)
    found = critic.worth(asked).flatten(2, 3).double().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
    chosen = np.take_along_axis(expected, asked.controls.numpy()[..., None, None], 2)[:, :, 0]
    predicted = (chosen * asked.mask.numpy()[..., None]).sum(1)
    np.testing.assert_allclose(critic.predict(asked).double().numpy(), predicted, atol=5e-5, rtol=1e-4)


Point = tuple[np.ndarray, np.ndarray, np.ndarray, int]


def naive_worth(given: list[tuple[Phrases, torch.Tensor]], asked: Phrases, how: CriticSettings) -> np.ndarray:
    first = given[0][0]
    scale = {
        name: (
            getattr(first, name)[first.mask].double().mean(0).numpy(),
            getattr(first, name)[first.mask].double().std(0).clamp_min(1e-4).numpy() * WIDTH**0.5,
        )
        for name in ("states", "words", "company")
    }

    def points(phrases: Phrases, row: int) -> list[Point]:
        found = []
        for k in range(phrases.mask.shape[1]):
            if phrases.mask[row, k]:
                parts = [
                    (getattr(phrases, name)[row, k].double().numpy() - mean) / spread
                    for name, (mean, spread) in scale.items()
                ]
                found.append((*parts, int(phrases.controls[row, k])))
        return found

    def gauss(distance: float, width: float) -> float:
        return math.exp(-distance / (2 * width**2))

    def of_controls(a: int, b: int) -> float:
        same = float(a // 5 == b // 5)
        near = gauss(float(WEIGHTS[a % 5] - WEIGHTS[b % 5]) ** 2, how.weight_scale)
        return (1 + same + near + same * near) / 4

    def alike(a: Point, b: Point) -> float:
        state, words, company = (float(((x - y) ** 2).sum()) for x, y in zip(a[:3], b[:3], strict=True))
        there = gauss(state, how.state_scale)
        beside = gauss(company, how.company_scale)
        return gauss(words, how.words_scale) * (1 + there + there * beside) / 3

    rows, noise, targets, centring = [], [], [], []
    for number, (phrases, rewards) in enumerate(given):
        age = len(given) - 1 - number
        for row in range(len(rewards)):
            rows.append(points(phrases, row))
            noise.append(how.noise * (1 + age / how.memory))
            targets.append(rewards[row].double().numpy())
    count = len(rows)
    centring = np.eye(count) - np.kron(np.eye(count // GROUP), np.full((GROUP, GROUP), 1 / GROUP))
    kernel = np.array(
        [
            [sum(alike(a, b) * of_controls(a[3], b[3]) for a in one for b in two) for two in rows]
            for one in rows
        ]
    )
    kernel = centring @ kernel @ centring
    pull = centring @ np.linalg.solve(kernel + np.diag(noise), centring @ np.array(targets))
    found = np.zeros((*asked.mask.shape, RANGES * 5, pull.shape[1]))
    for row in range(len(asked.mask)):
        there = iter(points(asked, row))
        for k in range(asked.mask.shape[1]):
            if asked.mask[row, k]:
                one = next(there)
                for c in range(RANGES * 5):
                    for at, seen in enumerate(rows):
                        share = sum(alike(one, b) * of_controls(c, b[3]) for b in seen)
                        found[row, k, c] += share * pull[at]
    return found


def test_the_best_control_of_every_kind_is_found() -> None:
    table = worths()
    critic = ControlCritic(RANGES, WEIGHTS, CriticSettings())
    foreseen = [critic.learn(*drawn(seed, 64, table, luck=3.0), GROUP) for seed in range(8)]
    phrases, _ = drawn(99, 64, table)
    kinds = phrases.words[..., :KINDS].argmax(-1)[phrases.mask]
    best = critic.worth(phrases)[..., 0].flatten(-2).argmax(-1)[phrases.mask]
    regret = table.max(1).values[kinds] - table[kinds, best]
    assert float(regret.mean()) < 0.1
    assert foreseen[0] == 0.0
    assert foreseen[-1] > 0.6


def test_what_a_group_has_in_common_says_nothing() -> None:
    one, two = (ControlCritic(RANGES, WEIGHTS, CriticSettings()) for _ in range(2))
    phrases, rewards = drawn(1, 64, worths())
    one.learn(phrases, rewards, GROUP)
    two.learn(phrases, rewards + torch.arange(16.0).repeat_interleave(GROUP)[:, None], GROUP)
    torch.testing.assert_close(one.worth(phrases), two.worth(phrases), atol=1e-4, rtol=1e-4)


def test_rewards_in_other_units_give_worths_in_those_units() -> None:
    one, two = (ControlCritic(RANGES, WEIGHTS, CriticSettings()) for _ in range(2))
    phrases, rewards = drawn(1, 64, worths())
    one.learn(phrases, rewards, GROUP)
    two.learn(phrases, 20 * rewards, GROUP)
    torch.testing.assert_close(20 * one.worth(phrases), two.worth(phrases), atol=1e-3, rtol=1e-4)


def test_pictures_of_long_ago_count_less() -> None:
    """The same phrases were worth the opposite before: with a short memory the new is believed sooner."""
    table = worths()
    found = []
    for memory in (0.25, 1000.0):
        critic = ControlCritic(RANGES, WEIGHTS, CriticSettings(memory=memory))
        for seed in range(3):
            phrases, rewards = drawn(seed, 64, table)
            critic.learn(phrases, -rewards, GROUP)
        phrases, rewards = drawn(3, 64, table)
        critic.learn(phrases, rewards, GROUP)
        asked, truth = drawn(4, 64, table)
        found.append(float((centred(critic.predict(asked), GROUP) * centred(truth, GROUP)).sum()))
    assert found[0] > 0 > found[1]


@pytest.mark.parametrize("window", [40, 8000])
def test_what_is_restored_goes_on_to_the_same_bits(window: int) -> None:
    """With a window that rollouts have left already, and with one that they have not."""
    how = CriticSettings(window=window)
    critic, again = (ControlCritic(RANGES, WEIGHTS, how) for _ in range(2))
    for seed in range(4):
        critic.learn(*drawn(seed, 16, worths()), GROUP)
    assert len(critic) == (32 if window == 40 else 64)
    again.restore({name: each.clone() for name, each in critic.tensors().items()})
    assert torch.equal(critic.kernel, again.kernel)
    for each in (critic, again):
        each.learn(*drawn(4, 16, worths()), GROUP)
    asked, _ = drawn(9, 16, worths())
    assert torch.equal(critic.worth(asked), again.worth(asked))


def test_a_window_is_the_critic_of_its_latest_rollouts() -> None:
    how = CriticSettings(window=32)
    critic, latest = (ControlCritic(RANGES, WEIGHTS, how) for _ in range(2))
    for seed in range(4):
        critic.learn(*drawn(seed, 16, worths()), GROUP)
    latest.scale = critic.scale
    for seed in (2, 3):
        latest.learn(*drawn(seed, 16, worths()), GROUP)
    asked, _ = drawn(9, 16, worths())
    assert torch.equal(critic.worth(asked), latest.worth(asked))


def test_rows_without_phrases_are_no_trouble() -> None:
    critic = ControlCritic(RANGES, WEIGHTS, CriticSettings())
    phrases, rewards = drawn(1, 16, worths())
    silent = phrases._replace(mask=torch.zeros_like(phrases.mask))
    assert critic.learn(silent, rewards, GROUP) == 0.0
    assert not critic.worth(silent).any()
    critic.learn(phrases, rewards, GROUP)
    again = ControlCritic(RANGES, WEIGHTS, CriticSettings())
    again.restore(critic.tensors())
    assert torch.equal(critic.worth(phrases), again.worth(phrases))
    assert critic.worth(phrases).abs().max() > 0.1
