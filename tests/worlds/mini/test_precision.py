"""The denoiser in bfloat16: near single precision, norms and attention in it, everything put back."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from worlds.mini.denoiser import make_unet
from worlds.mini.precision import bfloat16_products, has_fast_bfloat16


@pytest.fixture
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return make_unet((16, 16))


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn((4, 12, 8, 8), generator=generator)
    return noisy, torch.tensor([10, 300, 600, 900]), torch.randn((4, 40, 128), generator=generator)


def _gradients(unet: UNet2DConditionModel, *, enabled: bool) -> dict[str, Tensor]:
    with bfloat16_products(unet, enabled=enabled):
        unet(*_inputs()).sample.float().pow(2).mean().backward()
    found = {name: weight.grad.clone() for name, weight in unet.named_parameters() if weight.grad is not None}
    unet.zero_grad(set_to_none=True)
    return found


def test_outputs_and_gradients_are_near_single_precision(unet: UNet2DConditionModel) -> None:
    with torch.no_grad():
        exact = unet(*_inputs()).sample
        with bfloat16_products(unet):
            near = unet(*_inputs()).sample.float()
    assert 0 < float((near - exact).norm() / exact.norm()) < 0.02
    whole, half = _gradients(unet, enabled=False), _gradients(unet, enabled=True)
    assert whole.keys() == half.keys()
    together = torch.cat([half[name].flatten() for name in whole])
    expected = torch.cat([whole[name].flatten() for name in whole])
    assert nn.functional.cosine_similarity(together, expected, dim=0) > 0.999
    assert all(grad.dtype == torch.float32 for grad in half.values())


def test_its_own_attention_is_the_library_s(unet: UNet2DConditionModel) -> None:
    """In single precision throughout, the processor put in place changes nothing but rounding."""
    exact = unet(*_inputs()).sample
    with bfloat16_products(unet), torch.autocast("cpu", enabled=False):
        own = unet(*_inputs()).sample
    assert torch.allclose(own, exact, atol=1e-5)


def test_norms_see_single_precision(unet: UNet2DConditionModel) -> None:
    seen: list[torch.dtype] = []
    norms = [m for m in unet.modules() if isinstance(m, nn.GroupNorm | nn.LayerNorm)]
    with bfloat16_products(unet):
        hooks = [m.register_forward_hook(lambda _, inputs, out: seen.append(out.dtype)) for m in norms]
        unet(*_inputs())
    for hook in hooks:
        hook.remove()
    assert len(seen) >= len(norms)
    assert set(seen) == {torch.float32}


def test_attention_itself_is_single(unet: UNet2DConditionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel is given says nothing while autocast is on: what it answers does."""
    answered: list[torch.dtype] = []
    attend = nn.functional.scaled_dot_product_attention

    def listen(*rows: Tensor, **how: Tensor | None) -> Tensor:
        out: Tensor = attend(*rows, **how)
        answered.append(out.dtype)
        return out

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", listen)
    with bfloat16_products(unet):
        unet(*_inputs())
    assert answered
    assert set(answered) == {torch.float32}


def test_a_training_inside_it_sees_every_step_s_weights(unet: UNet2DConditionModel) -> None:
    """A cast that was kept from the first step would leave a whole training at its start."""
    with bfloat16_products(unet):
        for kind in (nn.Conv2d, nn.Linear):
            before = unet(*_inputs()).sample
            with torch.no_grad():
                for module in unet.modules():
                    if isinstance(module, kind):
                        module.weight.mul_(0.5)
            assert not torch.equal(unet(*_inputs()).sample, before)
        inside = unet(*_inputs()).sample
    with bfloat16_products(unet):
        assert torch.equal(unet(*_inputs()).sample, inside)


def test_everything_is_put_back(unet: UNet2DConditionModel) -> None:
    exact, before = unet(*_inputs()).sample, unet.attn_processors
    with pytest.raises(RuntimeError, match="on purpose"), bfloat16_products(unet):
        raise RuntimeError("on purpose")
    assert unet.attn_processors == before
    assert torch.equal(unet(*_inputs()).sample, exact)
    assert not any(module._forward_pre_hooks for module in unet.modules())


def test_without_it_nothing_changes(unet: UNet2DConditionModel) -> None:
    exact = unet(*_inputs()).sample
    with bfloat16_products(unet, enabled=False):
        assert torch.equal(unet(*_inputs()).sample, exact)


@pytest.mark.parametrize("found", [{"avx512_bf16": True}, {"amx_bf16": True}, {"avx2": True}, {}])
def test_a_processor_without_bfloat16_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert has_fast_bfloat16(torch.device("cpu")) == any("bf16" in name for name in found)
