"""The key of an encoder's state: quantised weights, hooks, autocast, and the cheap look at large encoders."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from dfprompt import prepare
from dfprompt.conditioning import fingerprint
from dfprompt.conditioning.cache import EncodingCache
from dfprompt.conditioning.fingerprint import fingerprint_module
from dfprompt.errors import DFPromptWarning

PROMPT = "a cat, [snow:late]"


class Quantised(torch.Tensor):
    """An int8 weight with a scale, as quantisation packages make them: no memory of its own to view."""

    @staticmethod
    def __new__(cls, ints: torch.Tensor, scale: torch.Tensor) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, ints.shape, dtype=scale.dtype, device=ints.device)

    def __init__(self, ints: torch.Tensor, scale: torch.Tensor) -> None:
        self.ints, self.scale = ints, scale

    def __tensor_flatten__(self) -> Any:
        return ["ints", "scale"], None

    def dequantize(self) -> torch.Tensor:
        return self.ints.to(self.scale.dtype) * self.scale

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return type(args[0])(args[0].ints, args[0].scale)
        if func in (torch.ops.aten.view.default, torch.ops.aten._reshape_alias.default):
            raise NotImplementedError(f"{func} of a quantised tensor")
        plain = [each.dequantize() if isinstance(each, Quantised) else each for each in args]
        return func(*plain, **(kwargs or {}))


class Opaque(Quantised):
    """One that neither comes apart nor is dequantised."""

    __tensor_flatten__ = property()  # type: ignore[assignment]

    def dequantize(self) -> torch.Tensor:
        raise NotImplementedError("closed")


def quantise(module: nn.Module, kind: type = Quantised) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            weight = layer.weight.detach()
            scale = weight.abs().max() / 127
            layer.weight = nn.Parameter(kind((weight / scale).round().to(torch.int8), scale), False)


def test_a_quantised_encoder_is_read_by_its_inner_tensors(tiny_pipe):
    pipe, cache = tiny_pipe("sd1"), EncodingCache()
    quantise(pipe.text_encoder)
    first = prepare(pipe, PROMPT, num_inference_steps=4, cache=cache).compiled
    again = prepare(pipe, PROMPT, num_inference_steps=4, cache=cache).compiled
    assert (sum(first.bank.encoded), sum(again.bank.encoded)) == (3, 0)
    next(
        layer for layer in pipe.text_encoder.modules() if isinstance(layer, nn.Linear)
    ).weight.data.ints.add_(1)
    assert sum(prepare(pipe, PROMPT, num_inference_steps=4, cache=cache).compiled.bank.encoded) == 3


def innermost(tensor: Any) -> torch.Tensor:
    """A plain tensor inside a quantised one, however deep."""
    while hasattr(tensor, "__tensor_flatten__"):
        tensor = getattr(tensor, tensor.__tensor_flatten__()[0][0])
    return tensor


@pytest.mark.parametrize("name", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
def test_an_encoder_quantised_by_torchao_is_read_by_its_inner_tensors(tiny_pipe, name):
    torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    pipe, cache = tiny_pipe("sd1"), EncodingCache()
    torchao.quantize_(pipe.text_encoder, getattr(torchao, name)())

    def encoded() -> int:
        return sum(prepare(pipe, PROMPT, num_inference_steps=4, cache=cache).compiled.bank.encoded)

    assert (encoded(), encoded()) == (3, 0)
    layer = next(layer for layer in pipe.text_encoder.modules() if isinstance(layer, nn.Linear))
    innermost(layer.weight.data).add_(1)
    assert encoded() == 3


def test_weights_that_cannot_be_read_are_encoded_anew_with_a_warning():
    module = nn.Sequential(nn.Linear(4, 4))
    module[0].weight = nn.Parameter(Opaque(torch.zeros(4, 4, dtype=torch.int8), torch.ones(())), False)
    with pytest.warns(DFPromptWarning, match="weights of Sequential cannot be read"):
        first = fingerprint_module(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fingerprint_module(module) != first


def test_autocast_has_encodings_of_its_own(tiny_pipe):
    pipe, cache = tiny_pipe("sd1"), EncodingCache()
    with torch.autocast("cpu", torch.bfloat16):
        prepare(pipe, PROMPT, num_inference_steps=4, cache=cache)
    after = prepare(pipe, PROMPT, num_inference_steps=4, cache=cache).compiled.at(0)["prompt_embeds"]
    fresh = prepare(pipe, PROMPT, num_inference_steps=4, cache=EncodingCache()).compiled.at(0)
    assert torch.equal(after, fresh["prompt_embeds"])


def test_an_encoder_under_a_users_hook_is_never_read_from_the_cache(tiny_pipe):
    pipe, cache, strength = tiny_pipe("sd1"), EncodingCache(), [1.0]

    def embeds() -> torch.Tensor:
        inputs = prepare(pipe, PROMPT, num_inference_steps=4, cache=cache)
        return inputs.compiled.at(0)["prompt_embeds"]

    def shift(_module: Any, _inputs: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state + strength[0]
        return output

    plain = embeds()
    handle = pipe.text_encoder.register_forward_hook(shift)
    torch.testing.assert_close(embeds(), plain + 1)
    strength[0] = 2.0  # the same hook, steering otherwise
    torch.testing.assert_close(embeds(), plain + 2)
    handle.remove()
    assert torch.equal(embeds(), plain)


# ---- the cheap look -----------------------------------------------------------------------------------


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A module that counts as large, with a table and a matrix of which only a sample is looked at."""
    monkeypatch.setattr(fingerprint, "_LARGE", 0)
    return nn.Sequential(nn.Embedding(300, 64), nn.Linear(256, 256))


def count_full(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    full, counted = fingerprint._full, []
    monkeypatch.setattr(fingerprint, "_full", lambda module: counted.append(1) or full(module))
    return counted


def test_what_did_not_move_is_looked_at_only(large, monkeypatch):
    counted = count_full(monkeypatch)
    digests = {fingerprint_module(large) for _ in range(9)}
    assert (len(digests), len(counted)) == (1, 1)
    assert fingerprint_module(large) in digests
    assert len(counted) == 2  # at every eighth look everything is read again


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: m[1].weight.data.add_(1e-3), id="a fused adapter"),
        pytest.param(lambda m: m[0].weight.data[299].zero_(), id="a textual inversion"),
        pytest.param(lambda m: m[0].weight.data[7, 3].add_(1), id="one number of a table"),
        pytest.param(lambda m: m[1].bias.data[5].add_(1), id="one number of a small tensor"),
        pytest.param(lambda m: m[1].weight[3, 3].add_(1), id="one number written in the open"),
        pytest.param(lambda m: m.eval(), id="mode"),
        pytest.param(lambda m: setattr(m[1], "weight", nn.Parameter(m[1].weight + 1)), id="a new matrix"),
    ],
)
def test_every_usual_change_is_noticed_at_the_next_look(large, change):
    before = fingerprint_module(large)
    with torch.no_grad():
        change(large)
    assert fingerprint_module(large) != before


def test_moving_memory_without_changing_it_keeps_the_key(large):
    before = fingerprint_module(large)
    large[1].weight.data = large[1].weight.data.clone()
    assert fingerprint_module(large) == before
