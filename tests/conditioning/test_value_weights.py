"""The rule `attention` on the models themselves: hooks on value projections, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
import torch
from torch import nn

from dfprompt.conditioning.ownership import OwnRun, RunHooks
from dfprompt.conditioning.value_sites import (
    FLUX_VALUES,
    TWO_STREAM_VALUES,
    UNET_VALUES,
    ValueSite,
)
from dfprompt.conditioning.value_weights import ValueWeights, find_projections, scale_values
from dfprompt.errors import GenerationError, UnsupportedPipelineError
from explicit_attention import CrossAttention, FluxAttention
from runs import draw, length_arguments

SITES = {
    "sd1": UNET_VALUES,
    "sdxl": UNET_VALUES,
    "sd3": TWO_STREAM_VALUES,
    "flux": FLUX_VALUES,
    "qwen-image": TWO_STREAM_VALUES,
}
BLOCKS = {"sd1": 4, "sdxl": 4, "sd3": 1, "flux": 2, "qwen-image": 1}
TOKENS = {"sd1": 77, "sdxl": 77, "sd3": 77 + 32, "flux": 32}
PROMPT = "a red house, snow"


def denoiser(pipe: Any) -> nn.Module:
    module: nn.Module = getattr(pipe, "unet", None) or pipe.transformer
    return module


def count_tokens(pipe: Any, name: str) -> int:
    return TOKENS.get(name) or int(pipe.encode_prompt(PROMPT)[0].shape[1])


def spread(pipe: Any, name: str, value: float) -> torch.Tensor:
    """Weights (1,T) with two tokens at the value."""
    weights = torch.ones(1, count_tokens(pipe, name))
    weights[0, 1:3] = value
    return weights


@contextmanager
def heard(pipe: Any, name: str, weights: torch.Tensor | None) -> Iterator[ValueWeights]:
    """Every call of the denoiser in this block hears the weights."""
    values = ValueWeights(denoiser(pipe), SITES[name])
    with RunHooks([denoiser(pipe)], OwnRun()) as hooks:
        hooks.on_input(denoiser(pipe), lambda *_: values.hear(weights))
        hooks.on_output(denoiser(pipe), lambda *_: values.check())
        values.put(hooks)
        yield values


def run(pipe: Any, name: str) -> torch.Tensor:
    stock = {"prompt": [PROMPT], "num_inference_steps": 2, **length_arguments(name)}
    return draw(pipe, name, stock, (0,))


def weighted(pipe: Any, name: str, value: float) -> torch.Tensor:
    with heard(pipe, name, spread(pipe, name, value)):
        return run(pipe, name)


@pytest.mark.parametrize("name", SITES)
@pytest.mark.few(2)
def test_one_hook_per_block_and_weight_one_is_bit_identical(tiny_pipe, name):
    pipe = tiny_pipe(name)
    stock = run(pipe, name)
    with heard(pipe, name, spread(pipe, name, 1.0)) as values:
        assert len(values.projections) == BLOCKS[name]
        assert torch.equal(run(pipe, name), stock)
    assert (weighted(pipe, name, 2.0) - stock).abs().max() > 1e-4
    assert torch.equal(run(pipe, name), stock)  # nothing is left behind
    assert not any(module._forward_hooks for module in denoiser(pipe).modules())


@pytest.mark.parametrize("name", SITES)
@pytest.mark.few(2)
def test_the_effect_grows_with_the_weight(tiny_pipe, name):
    """On what the denoiser says first: the further from 1 the more, and below 1 the other way round."""
    pipe = tiny_pipe(name)
    plain = first_answer(pipe, name, 1.0)
    effects = {value: first_answer(pipe, name, value) - plain for value in (-1.0, 0.25, 0.5, 1.0, 2.0)}
    sizes = {value: float(effect.norm() / plain.norm()) for value, effect in effects.items()}
    assert sizes[-1.0] > 1.2 * sizes[0.25] > 1.2**2 * sizes[0.5] > sizes[1.0] == 0
    assert sizes[2.0] > 1e-3
    for value in (-1.0, 0.25, 0.5):
        assert (effects[value] * effects[2.0]).sum() < 0


def first_answer(pipe: Any, name: str, value: float) -> torch.Tensor:
    answers: list[torch.Tensor] = []

    def listen(_module: Any, _arguments: Any, output: Any) -> None:
        answers.append(output[0] if isinstance(output, tuple) else output.sample)

    handle = denoiser(pipe).register_forward_hook(listen)
    weighted(pipe, name, value)
    handle.remove()
    return answers[0]


def test_a_unet_hears_what_attention_written_out_computes(tiny_pipe):
    pipe = tiny_pipe("sd1")
    weights = torch.rand(77) * 3 - 1
    with heard(pipe, "sd1", weights[None]):
        hooked = run(pipe, "sd1")
    own = dict(pipe.unet.attn_processors)
    explicit = {name: CrossAttention(weights) if ".attn2." in name else kept for name, kept in own.items()}
    pipe.unet.set_attn_processor(explicit)
    torch.testing.assert_close(hooked, run(pipe, "sd1"), atol=1e-5, rtol=0)
    pipe.unet.set_attn_processor(own)
    assert (hooked - run(pipe, "sd1")).abs().max() > 1e-3


def test_flux_hears_what_attention_written_out_computes(tiny_pipe):
    pipe = tiny_pipe("flux")
    weights = torch.rand(32) * 3 - 1
    with heard(pipe, "flux", weights[None]):
        hooked = run(pipe, "flux")
    pipe.transformer.set_attn_processor(FluxAttention(weights))
    torch.testing.assert_close(hooked, run(pipe, "flux"), atol=1e-5, rtol=0)
    pipe.transformer.set_attn_processor(FluxAttention(torch.ones(32)))
    assert (hooked - run(pipe, "flux")).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["sd1", "flux", "qwen-image", "sd3"])
def test_fused_projections_are_weighted_too(tiny_pipe, name):
    pipe = tiny_pipe(name)
    apart = weighted(pipe, name, 3.0)
    pipe.fuse_qkv_projections() if hasattr(
        pipe, "fuse_qkv_projections"
    ) else pipe.transformer.fuse_qkv_projections()
    torch.testing.assert_close(weighted(pipe, name, 3.0), apart, atol=1e-5, rtol=0)
    pipe.unfuse_qkv_projections() if hasattr(
        pipe, "unfuse_qkv_projections"
    ) else pipe.transformer.unfuse_qkv_projections()
    assert torch.equal(weighted(pipe, name, 3.0), apart)


@pytest.mark.parametrize("name", SITES)
def test_a_renamed_projection_is_refused_by_name(tiny_pipe, name):
    """Whatever diffusers calls it one day: no block is left out in silence."""
    pipe = tiny_pipe(name)
    projection = find_projections(denoiser(pipe), SITES[name])[-1]
    path, _, last = projection.name.rpartition(".")
    attention = denoiser(pipe).get_submodule(path)
    attention.renamed = getattr(attention, last)
    delattr(attention, last)
    with pytest.raises(UnsupportedPipelineError, match=projection.name):
        ValueWeights(denoiser(pipe), SITES[name])


def test_a_model_without_such_blocks_is_refused(tiny_pipe):
    with pytest.raises(UnsupportedPipelineError, match="no blocks named"):
        ValueWeights(tiny_pipe("sd1").unet, FLUX_VALUES)


@pytest.mark.parametrize("how", ["whole", "in place", "by block"])
@pytest.mark.few(1)
def test_what_was_compiled_is_refused_by_name(tiny_pipe, how):
    pipe = tiny_pipe("flux")
    model = pipe.transformer
    if how == "whole":
        model = torch.compile(model, backend="eager")
    elif how == "in place":
        model.compile(backend="eager")
    else:
        model.compile_repeated_blocks(backend="eager")
    with pytest.raises(UnsupportedPipelineError, match="compiled"):
        ValueWeights(model, FLUX_VALUES)


def test_a_processor_that_computes_values_elsewhere_is_named(tiny_pipe):
    pipe = tiny_pipe("sd1")
    name = next(name for name in pipe.unet.attn_processors if ".attn2." in name)
    attention = pipe.unet.get_submodule(name.removesuffix(".processor"))

    class Elsewhere(CrossAttention):
        def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any, **more: Any) -> Any:
            return hidden_states

    attention.set_processor(Elsewhere(torch.ones(77)))
    with pytest.raises(GenerationError, match=name.removesuffix(".processor")):
        weighted(pipe, "sd1", 2.0)


def test_each_thread_hears_its_own_weights(tiny_pipe):
    """What one thread sets is nothing to another that runs the same model."""
    pipe = tiny_pipe("sd1")
    values = ValueWeights(pipe.unet, UNET_VALUES)
    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 32)

    def evaluate() -> torch.Tensor:
        with torch.no_grad():
            return pipe.unet(latents, 10, text).sample

    plain, other = evaluate(), []
    with RunHooks([pipe.unet], OwnRun()) as hooks:
        values.put(hooks)
        values.hear(torch.full((1, 77), 2.0))
        thread = Thread(target=lambda: other.append(evaluate()))
        thread.start()
        thread.join()
        mine = evaluate()
    assert torch.equal(other[0], plain)
    assert not torch.equal(mine, plain)


def test_rows_of_text_by_hand():
    """Which rows and columns: three tokens of text before, behind, and behind with padding to four."""
    weights = torch.tensor([[1.0, 2.0, -1.0], [0.5, 1.0, 1.0]])
    first = scale_values(torch.ones(2, 5, 1), weights, ValueSite("", "", "first"))
    assert first[..., 0].tolist() == [[1, 2, -1, 1, 1], [0.5, 1, 1, 1, 1]]
    last = scale_values(torch.ones(2, 6, 1), weights, ValueSite("", "", "last", padding=4))
    assert last[..., 0].tolist() == [[1, 1, 1, 2, -1, 1], [1, 1, 0.5, 1, 1, 1]]
    frames = scale_values(torch.ones(4, 3, 1), weights, ValueSite("", ""))
    assert frames[..., 0].tolist() == [[1, 2, -1], [1, 2, -1], [0.5, 1, 1], [0.5, 1, 1]]


@pytest.mark.parametrize(("rows", "tokens"), [(2, 4), (2, 2), (3, 3)])
def test_weights_for_another_text_are_refused(rows, tokens):
    with pytest.raises(GenerationError, match="weights were made for"):
        scale_values(torch.ones(rows, tokens, 1), torch.ones(2, 3), ValueSite("", ""))


def test_weights_are_multiplied_in_float32():
    """bfloat16 keeps eight bits: 1.3 as bfloat16 times 3 would be 3.906, not 3.9."""
    values = scale_values(torch.full((1, 1, 1), 3.0).bfloat16(), torch.tensor([[1.3]]), ValueSite("", ""))
    assert values.item() == torch.tensor(3.0 * 1.3).bfloat16().item()
