"""Muon beside AdamW: orthogonal steps of AdamW's length, the same for any layout, kept over a kill."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from dfprompt.errors import ConfigError
from worlds.mini.optimizers import Steps, as_matrix


def _step(weight: Tensor, gradient: Tensor, *, lr: float = 0.1) -> Tensor:
    """What one first Muon step changes."""
    parameter = nn.Parameter(weight.clone(memory_format=torch.preserve_format))
    steps = Steps({"w": parameter}, lr=lr, weight_decay=0.0, muon=True)
    parameter.grad = gradient.clone(memory_format=torch.preserve_format)
    steps.take()
    assert parameter.grad is None
    return parameter.detach() - weight


@pytest.mark.parametrize("shape", [(16, 16), (24, 40), (40, 24)])
def test_a_step_is_the_orthogonal_part_of_the_gradient(shape: tuple[int, int]) -> None:
    """Against the singular value decomposition: G = U S V' gives U V', whatever S is."""
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(shape, generator=generator) * torch.logspace(0, 1.5, shape[1])
    change = _step(torch.zeros(shape), gradient)
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    expected = -0.1 * 0.2 * math.sqrt(max(shape)) * (left @ right)
    cosine = nn.functional.cosine_similarity(change.flatten(), expected.flatten(), dim=0)
    assert cosine > 0.95  # five iterations in bfloat16 leave singular values between 0.7 and 1.2
    assert float(change.norm() / expected.norm()) == pytest.approx(1, abs=0.2)
    gradients_own = -gradient / gradient.norm() * expected.norm()
    assert nn.functional.cosine_similarity(change.flatten(), gradients_own.flatten(), dim=0) < 0.9


def test_a_convolution_steps_alike_in_every_layout() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn((32, 16, 3, 3), generator=generator)
    gradient = torch.randn((32, 16, 3, 3), generator=generator)
    last = weight.to(memory_format=torch.channels_last)
    plain = _step(weight, gradient)
    assert torch.allclose(plain, _step(last, gradient), atol=2e-3)
    assert torch.allclose(plain, _step(last, gradient.to(memory_format=torch.channels_last)), atol=2e-3)
    assert plain.abs().mean() > 0.01


def test_a_matrix_is_the_memory_of_its_weight() -> None:
    for weight in (
        torch.zeros(32, 16, 3, 3),
        torch.zeros(32, 16, 3, 3).to(memory_format=torch.channels_last),
        torch.zeros(32, 16),
    ):
        as_matrix(weight).add_(1)
        assert float(weight.sum()) == weight.numel()


def test_vectors_and_narrow_weights_step_as_with_adamw_alone() -> None:
    def trained(muon: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(16, 16, 3), nn.GroupNorm(4, 16), nn.Conv2d(16, 12, 3))
        named = dict(net.named_parameters())
        steps = Steps(named, lr=0.01, weight_decay=0.01, muon=muon)
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            for weight in named.values():
                weight.grad = torch.randn(weight.shape, generator=generator)
            steps.take()
        return {name: weight.detach().clone() for name, weight in named.items()}

    alone, beside = trained(False), trained(True)
    changed = [name for name in alone if not torch.equal(alone[name], beside[name])]
    assert changed == ["0.weight"]


def test_every_learning_rate_is_set() -> None:
    named = {"w": nn.Parameter(torch.ones(16, 16)), "b": nn.Parameter(torch.ones(16))}
    steps = Steps(named, lr=1.0, weight_decay=0.0, muon=True)
    steps.set_rate(0.0)
    for weight in named.values():
        weight.grad = torch.ones_like(weight)
    steps.take()
    assert all(torch.equal(weight, torch.ones_like(weight)) for weight in named.values())


def test_moments_of_another_optimiser_are_missed() -> None:
    named = {"w": nn.Parameter(torch.ones(16, 16))}
    named["w"].grad = torch.ones(16, 16)
    plain = Steps(named, lr=0.1, weight_decay=0.0, muon=False)
    plain.take()
    with pytest.raises(KeyError, match=r"muon\.momentum_buffer\.w"):
        Steps(named, lr=0.1, weight_decay=0.0, muon=True).restore(plain.moments())


def test_a_torch_without_muon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ConfigError, match=r"needs torch 2\.9"):
        Steps({"w": nn.Parameter(torch.ones(16, 16))}, lr=0.1, weight_decay=0.0, muon=True)
