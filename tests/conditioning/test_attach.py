"""`attach`: what only a hook can change, equal to the same run done by hand, and nothing left behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import dfprompt
from dfprompt import attach, prepare
from runs import draw

FIRST, SECOND = "a red house", "an old blue cat in the snow"
SWITCH = f"[{FIRST}:early][{SECOND}:late]"
NEGATIVE = "[ugly film:0.75->0.25] dog"
NEAR = 2e-5
LENGTH = {"flux": {"max_sequence_length": 32}, "qwen-image": {}}


class Heard:
    """Every call of a denoiser: the arguments that carry text. Made inside the block, it hears last."""

    NAMES = ("encoder_hidden_states", "pooled_projections", "encoder_hidden_states_mask")

    def __init__(self, pipe: Any) -> None:
        self.calls: list[dict[str, torch.Tensor | None]] = []
        self._handle = pipe.transformer.register_forward_pre_hook(self._listen, with_kwargs=True)

    def _listen(self, _module: Any, _arguments: Any, keywords: Any) -> None:
        self.calls.append({name: keywords[name] for name in self.NAMES if name in keywords})


def by_hand(pipe: Any, name: str, step_texts: list[str], negatives: list[str], seed: int) -> torch.Tensor:
    """The run with plain torch: a hook that encodes each step's own text with the pipeline's own encoder."""
    texts = [text for pair in zip(step_texts, negatives, strict=True) for text in pair]
    with torch.no_grad():
        made = [pipe.encode_prompt(text, **LENGTH[name]) for text in texts]
    calls = iter(made)

    def replace(_module: Any, arguments: Any, keywords: Any) -> Any:
        fresh = next(calls)
        keywords["encoder_hidden_states"] = fresh[0]
        if name == "flux":
            keywords["pooled_projections"] = fresh[1]
        else:
            keywords["encoder_hidden_states_mask"] = None
        return arguments, keywords

    handle = pipe.transformer.register_forward_pre_hook(replace, with_kwargs=True)
    stock = {"prompt": [step_texts[0]], "negative_prompt": [negatives[0]], "num_inference_steps": 4}
    pictures = draw(pipe, name, {**stock, **LENGTH[name]}, (seed,), true_cfg_scale=2.0)
    handle.remove()
    assert next(calls, None) is None
    return pictures


@pytest.mark.parametrize("name", ["flux", "qwen-image"])
def test_both_sides_follow_their_schedule_as_done_by_hand(tiny_pipe, name):
    """Pooled vector, lengths and the true-CFG negative: each step hears the encoding of its own texts."""
    pipe = tiny_pipe(name)
    with attach(pipe, SWITCH, NEGATIVE, num_inference_steps=4, **LENGTH[name]) as inputs:
        pictures = draw(pipe, name, inputs, (3,), true_cfg_scale=2.0)
        texts = [
            [step.text for step in plan[0].steps]
            for plan in (inputs.compiled.plans, inputs.compiled.negative_plans)
        ]
    expected = by_hand(pipe, name, *texts, seed=3)
    torch.testing.assert_close(pictures, expected, atol=NEAR, rtol=0)
    assert texts == [[FIRST, FIRST, SECOND, SECOND], [" dog", "ugly film dog", "ugly film dog", " dog"]]


def test_the_pooled_vector_makes_a_difference(tiny_pipe):
    pipe = tiny_pipe("flux")
    with attach(pipe, SWITCH, num_inference_steps=4, max_sequence_length=32) as inputs:
        with_pooled = draw(pipe, "flux", inputs, (0,))
    with pytest.warns(dfprompt.DFPromptWarning):
        fixed = prepare(pipe, SWITCH, num_inference_steps=4, max_sequence_length=32)
    assert (with_pooled - draw(pipe, "flux", fixed, (0,))).abs().max() > 100 * NEAR


def test_qwen_image_hears_each_length_unpadded(tiny_pipe):
    pipe = tiny_pipe("qwen-image")
    lengths = {text: pipe.encode_prompt(text)[0].shape[1] for text in (FIRST, SECOND, "a dog")}
    with attach(pipe, SWITCH, num_inference_steps=4) as inputs:
        heard = Heard(pipe)
        draw(pipe, "qwen-image", inputs, (0,))
    found = [call["encoder_hidden_states"].shape[1] for call in heard.calls]
    assert found == [lengths[FIRST]] * 2 + [lengths[SECOND]] * 2
    assert {call["encoder_hidden_states_mask"] for call in heard.calls} == {None}
    with attach(pipe, [SWITCH, "a dog"], num_inference_steps=4) as inputs:
        heard = Heard(pipe)
        draw(pipe, "qwen-image", inputs, (0, 1))
    masks = [call["encoder_hidden_states_mask"].sum(dim=1).tolist() for call in heard.calls]
    assert masks == [[lengths[FIRST], lengths["a dog"]]] * 2 + [[lengths[SECOND], lengths["a dog"]]] * 2


@pytest.mark.parametrize("name", ["flux", "qwen-image"])
def test_rows_of_a_guided_batch_are_independent(tiny_pipe, name):
    pipe = tiny_pipe(name)
    prompts, negatives = [SWITCH, "a [dog:late], photo"], ["ugly", NEGATIVE]
    with attach(pipe, prompts, negatives, num_inference_steps=4, **LENGTH[name]) as inputs:
        together = draw(pipe, name, inputs, (1, 2), true_cfg_scale=2.0)
    for row in range(2):
        with attach(pipe, prompts[row], negatives[row], num_inference_steps=4, **LENGTH[name]) as inputs:
            alone = draw(pipe, name, inputs, (row + 1,), true_cfg_scale=2.0)
        torch.testing.assert_close(together[row], alone[0], atol=NEAR, rtol=0)


@pytest.mark.parametrize("name", ["flux", "qwen-image"])
def test_several_images_per_prompt(tiny_pipe, name):
    pipe = tiny_pipe(name)
    arguments = {"num_inference_steps": 4, **LENGTH[name]}
    with attach(pipe, [SWITCH, "a dog"], NEGATIVE, num_images_per_prompt=2, **arguments) as inputs:
        pictures = draw(pipe, name, inputs, (1, 2, 3, 4), true_cfg_scale=2.0)
    for row, prompt in ((1, SWITCH), (2, "a dog")):
        with attach(pipe, prompt, NEGATIVE, **arguments) as inputs:
            alone = draw(pipe, name, inputs, (row + 1,), true_cfg_scale=2.0)
        torch.testing.assert_close(pictures[row], alone[0], atol=NEAR, rtol=0)


@pytest.mark.parametrize("name", ["flux", "qwen-image"])
def test_nothing_is_left_behind_whatever_happens(tiny_pipe, name):
    pipe = tiny_pipe(name)
    truth = draw(pipe, name, {"prompt": ["a dog"], "num_inference_steps": 3, **LENGTH[name]}, (0,))

    class Trouble(Exception):
        pass

    def explode(_pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if index == 1:
            raise Trouble
        return tensors

    def run() -> None:
        with attach(
            pipe, SWITCH, num_inference_steps=4, callback_on_step_end=explode, **LENGTH[name]
        ) as inputs:
            assert pipe.transformer._forward_pre_hooks
            draw(pipe, name, inputs, (0,))

    with pytest.raises(Trouble):
        run()
    assert not pipe.transformer._forward_pre_hooks | pipe.transformer._forward_hooks
    after = draw(pipe, name, {"prompt": ["a dog"], "num_inference_steps": 3, **LENGTH[name]}, (0,))
    assert torch.equal(after, truth)


@pytest.mark.parametrize("name", ["flux", "qwen-image"])
def test_other_runs_inside_the_block_are_left_alone(tiny_pipe, name):
    """Also right after a run of ours that broke off between two steps."""
    pipe = tiny_pipe(name)
    stock = {"prompt": ["a dog"], "num_inference_steps": 4, **LENGTH[name]}
    truth = draw(pipe, name, stock, (0,))
    stop = iter([*[None] * 5, KeyboardInterrupt()])  # in the middle of the second run

    def maybe_stop(_pipe: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        error = next(stop, None)
        if error:
            raise error
        return tensors

    with attach(
        pipe, SWITCH, num_inference_steps=4, callback_on_step_end=maybe_stop, **LENGTH[name]
    ) as inputs:
        ours = draw(pipe, name, inputs, (0,))
        assert torch.equal(draw(pipe, name, stock, (0,)), truth)
        with pytest.raises(KeyboardInterrupt):
            draw(pipe, name, inputs, (0,))
        assert torch.equal(draw(pipe, name, stock, (0,)), truth)
        assert torch.equal(draw(pipe, name, inputs, (0,)), ours)


def test_a_run_of_the_same_denoiser_inside_the_users_callback_is_left_alone(tiny_pipe):
    """A preview between two steps, by a pipeline of its own that shares every part but the scheduler."""
    pipe = tiny_pipe("flux")
    parts = {**pipe.components, "scheduler": copy.deepcopy(pipe.scheduler)}
    preview_pipe = type(pipe)(**parts)
    preview_pipe.set_progress_bar_config(disable=True)
    stock = {"prompt": ["a dog"], "num_inference_steps": 2, "max_sequence_length": 32}
    truth = draw(preview_pipe, "flux", stock, (0,))
    previews = []

    def preview(_pipe: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        previews.append(draw(preview_pipe, "flux", stock, (0,)))
        return tensors

    arguments = {"num_inference_steps": 4, "max_sequence_length": 32}
    with attach(pipe, SWITCH, **arguments) as inputs:
        quiet = draw(pipe, "flux", inputs, (0,))
    with attach(pipe, SWITCH, callback_on_step_end=preview, **arguments) as inputs:
        assert torch.equal(draw(pipe, "flux", inputs, (0,)), quiet)
    assert [torch.equal(picture, truth) for picture in previews] == [True] * 4


def test_two_attached_inputs_may_be_alive_at_once(tiny_pipe):
    pipe = tiny_pipe("flux")
    arguments = {"num_inference_steps": 4, "max_sequence_length": 32}
    # Both begin with the same words, so only what follows tells them apart.
    texts = (SWITCH, f"[{FIRST}:1->0.25][a dog:0.25->0]")
    alone = []
    for text in texts:
        with attach(pipe, text, **arguments) as inputs:
            alone.append(draw(pipe, "flux", inputs, (0,)))
    with attach(pipe, texts[0], **arguments) as one, attach(pipe, texts[1], **arguments) as other:
        for inputs, expected in ((one, alone[0]), (other, alone[1]), (one, alone[0])):
            assert torch.equal(draw(pipe, "flux", inputs, (0,)), expected)
    assert not torch.equal(*alone)


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux", "qwen-image"])
def test_pipelines_that_need_no_hook_get_none(tiny_pipe, name):
    pipe = tiny_pipe(name)
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    text = SWITCH if name.startswith("sd") else "a dog"
    with attach(pipe, text, num_inference_steps=4) as inputs:
        assert not denoiser._forward_pre_hooks
        expected = prepare(pipe, text, num_inference_steps=4)
        assert set(inputs) == set(expected)


def test_sd3_image_to_image_changes_its_pooled_vector_through_the_hook(tiny_pipe):
    """Its callback cannot replace the pooled vector, the text-to-image one's can: same words, same result."""
    from diffusers import StableDiffusion3Img2ImgPipeline

    pipe = tiny_pipe("sd3")
    image_pipe = StableDiffusion3Img2ImgPipeline(**pipe.components)
    arguments = {"num_inference_steps": 4, "max_sequence_length": 32}
    with attach(image_pipe, SWITCH, strength=1.0, **arguments) as inputs:
        heard = Heard(image_pipe)
        draw(image_pipe, "sd3-img2img", inputs, (0,))
        compiled = inputs.compiled
    for evaluation, call in enumerate(heard.calls):
        at = compiled.at(evaluation)
        for name, argument in (
            ("prompt_embeds", "encoder_hidden_states"),
            ("pooled_prompt_embeds", "pooled_projections"),
        ):
            assert torch.equal(call[argument], torch.cat([at["negative_" + name], at[name]]))
    with pytest.warns(dfprompt.DFPromptWarning, match="keeps the pooled vector"):
        prepare(image_pipe, SWITCH, strength=1.0, **arguments)


def test_a_wrong_number_of_steps_raises_here_too(tiny_pipe):
    pipe = tiny_pipe("flux")
    with (
        attach(pipe, SWITCH, num_inference_steps=4, max_sequence_length=32) as inputs,
        pytest.raises(dfprompt.DFPromptError, match=r"makes 6 .* but 4"),
    ):
        draw(pipe, "flux", {**inputs, "num_inference_steps": 6}, (0,))
