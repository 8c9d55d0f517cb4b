"""The rule `attention` through `attach`: each row hears its own weights at every step, and nothing stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dfprompt import attach
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.value_weights import ValueWeights
from dfprompt.errors import UnsupportedPipelineError
from runs import draw, image_arguments, length_arguments

pytestmark = pytest.mark.few("sd1", "flux")

NEAR = 2e-5
NAMES = ("sd1", "sd1-controlnet", "sdxl", "sd3", "flux", "qwen-image")
GUIDED = {"flux": {"true_cfg_scale": 2.0}, "qwen-image": {"true_cfg_scale": 2.0}}
STEPS = 4


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def run(pipe: Any, name: str, prompts: Any, negative: Any, *seeds: int, **options: Any) -> torch.Tensor:
    options = {"num_inference_steps": STEPS, "weighting": "attention", **length_arguments(name), **options}
    with attach(pipe, prompts, negative, **options) as inputs:
        pictures = image_arguments(name, 1 if isinstance(prompts, str) else len(prompts))
        return draw(pipe, name, inputs, seeds, **pictures, **GUIDED.get(name, {}))


class Ears:
    """What every call of a denoiser's attention multiplies its values by, written down."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[torch.Tensor | None] = []
        own = ValueWeights.hear

        def hear(values: ValueWeights, weights: torch.Tensor | None) -> None:
            self.heard.append(weights)
            own(values, weights)

        monkeypatch.setattr(ValueWeights, "hear", hear)


def test_weight_one_is_no_weight(tiny_pipe, name):
    """Bit for bit, and without a hook on any value projection."""
    pipe = tiny_pipe(name)
    expected = run(pipe, name, "a red [house:early]", "[ugly:late]", 0)
    assert torch.equal(run(pipe, name, "a [red::1] [house:early:1]", "[ugly:late:1]", 0), expected)
    assert (run(pipe, name, "a [red::2] [house:early]", "[ugly:late]", 0) - expected).abs().max() > NEAR


def test_rows_and_sides_are_independent(tiny_pipe, name):
    """Four different weights on both sides: a mixed batch equals the single runs."""
    pipe = tiny_pipe(name)
    prompts = ["a [red::2] [house:early]", "an old [cat:late:-0.5], [snow::0.5->1.5]"]
    negatives = ["[dog::1.5]", "[film:early:0.5] photo"]
    together = run(pipe, name, prompts, negatives, 1, 2)
    for row in range(2):
        alone = run(pipe, name, prompts[row], negatives[row], row + 1)
        torch.testing.assert_close(together[row], alone[0], atol=NEAR, rtol=0)
    heavier = run(pipe, name, prompts[0], "[dog::3]", 1)
    assert (heavier[0] - together[0]).abs().max() > NEAR  # the negative's weights act too


def test_images_per_prompt_repeat_their_rows_weights(tiny_pipe, name):
    pipe = tiny_pipe(name)
    prompts = ["a [red::2] house", "an old [cat::0.5]"]
    both = run(pipe, name, prompts, None, 1, 2, 3, 4, num_images_per_prompt=2)
    for image in range(4):
        alone = run(pipe, name, prompts[image // 2], None, image + 1)
        torch.testing.assert_close(both[image], alone[0], atol=NEAR, rtol=0)


def test_every_step_hears_the_plans_weight(tiny_pipe, name, monkeypatch):
    pipe, ears = tiny_pipe(name), Ears(monkeypatch)
    with attach(
        pipe,
        "a [red:0.8->0:0.5->2] house",
        "[ugly::3]",
        num_inference_steps=STEPS,
        weighting="attention",
        **length_arguments(name),
    ) as inputs:
        draw(pipe, name, inputs, (0,), **GUIDED.get(name, {}))
        steps = [step.weights for step in inputs.compiled.plans[0].steps]
    planned = [{float(part.weight) for part in weights} for weights in steps]
    assert planned == [set(), {0.5}, {1.25}, {2.0}]
    listeners = 2 if name == "sd1-controlnet" else 1
    calls = 2 if name in GUIDED else 1
    assert len(ears.heard) == STEPS * calls * listeners
    for step in range(STEPS):
        for number, heard in enumerate(ears.heard[step * calls * listeners :][: calls * listeners]):
            assert heard is not None or (name in GUIDED and number == 0 and step == 0)
            found = set() if heard is None else set(heard.flatten().tolist()) - {1.0}
            if name in GUIDED:
                assert found == (planned[step] if number == 0 else {3.0})
            else:
                assert found == planned[step] | {3.0}
                assert set(heard[0].tolist()) == {1.0, 3.0}  # negative rows come first


def test_a_ramp_encodes_its_text_once(tiny_pipe, name):
    options = {"num_inference_steps": 20, "weighting": "attention", **length_arguments(name)}
    with attach(tiny_pipe(name), "a [red::0.5->1.5] house", "ugly", **options) as inputs:
        bank = inputs.compiled.bank
    assert len(set(bank.entries)) == 2  # the text and the negative


def test_nothing_stays_after_the_block_or_a_failure(tiny_pipe, name):
    pipe = tiny_pipe(name)
    before = run(pipe, name, "a red [house:early]", None, 0)
    with pytest.raises(RuntimeError, match="stopped by the user"):
        with attach(
            pipe,
            "a [red::2] house",
            num_inference_steps=STEPS,
            weighting="attention",
            callback_on_step_end=_stop,
            **length_arguments(name),
        ) as inputs:
            draw(pipe, name, inputs, (0,))
    assert torch.equal(run(pipe, name, "a red [house:early]", None, 0), before)
    for listener in adapter_for(pipe).listeners:
        assert not any(module._forward_hooks for module in listener.modules())


def _stop(_pipe: Any, _index: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
    raise RuntimeError("stopped by the user")


def test_another_pipeline_in_the_block_hears_no_weights(tiny_pipe):
    """Two pipelines share a denoiser; the run of one leaves the other alone."""
    pipe = tiny_pipe("sd1")
    other = type(pipe)(**pipe.components, requires_safety_checker=False)
    other.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    stock = {"prompt": ["a red house"], "num_inference_steps": STEPS}
    expected = draw(other, "sd1", stock, (0,))
    with attach(pipe, "a [red::5] house", num_inference_steps=STEPS, weighting="attention") as inputs:
        first = draw(pipe, "sd1", inputs, (0,))
        assert torch.equal(draw(other, "sd1", stock, (0,)), expected)
        assert torch.equal(draw(pipe, "sd1", inputs, (0,)), first)
    assert (first - expected).abs().max() > NEAR


def test_long_texts_and_lora_and_fused_projections(tiny_pipe):
    """Chunks of 75 tokens: a weight behind the first window lands there."""
    pipe = tiny_pipe("sd1")
    words = " ".join(["red"] * 80)
    plain = run(pipe, "sd1", f"{words} [cat:early]", None, 0)
    heavy = run(pipe, "sd1", f"{words} [cat:early:3]", None, 0)
    assert (plain - heavy).abs().max() > NEAR
    pipe.fuse_qkv_projections()
    fused = run(pipe, "sd1", f"{words} [cat:early:3]", None, 0)
    torch.testing.assert_close(fused, heavy, atol=NEAR, rtol=0)


@pytest.mark.nightly
def test_a_compiled_denoiser_is_refused_before_it_runs(tiny_pipe):
    pipe = tiny_pipe("flux")
    pipe.transformer.compile_repeated_blocks(backend="eager")
    with pytest.raises(UnsupportedPipelineError, match="compiled"):
        run(pipe, "flux", "a [red::2] house", None, 0)
    run(pipe, "flux", "a red [house:early]", None, 0)  # ranges need no such hook


@pytest.mark.parametrize("images", [1, 2])
def test_a_controlnet_in_guess_mode_hears_the_prompts_weights_alone(tiny_pipe, monkeypatch, images):
    pipe, ears = tiny_pipe("sd1-controlnet"), Ears(monkeypatch)
    prompts, negative = ["a red [house::1.5]", "[a cat::0.5]"], "[ugly::3]"
    with attach(
        pipe, prompts, negative, num_inference_steps=2, weighting="attention", num_images_per_prompt=images
    ) as inputs:
        rows = 2 * images
        pipe(**inputs, guess_mode=True, output_type="pt", **image_arguments("sd1-controlnet", 2))
    for controlnet, unet in zip(ears.heard[::2], ears.heard[1::2], strict=True):
        assert torch.equal(controlnet, unet[rows:])
        assert (len(unet), float(unet[:rows].max())) == (2 * rows, 3.0)
