"""`run`: the pipeline's own call, which knows everything the call says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import dfprompt
from dfprompt import attach, prepare, run
from dfprompt.errors import ConfigError, DFPromptError, GenerationError, UnsupportedPipelineError
from runs import SIZE, generators, image_arguments, length_arguments, picture

A, B = "a red house", "an old blue cat in the snow"
SWITCH = f"[{A}:early][{B}:late]"
NAMES = ["sd1", "sd1-img2img", "sd1-inpaint", "sd1-controlnet", "sdxl", "sd3", "flux", "qwen-image"]
NEAR = 2e-5


def call_of(name: str, rows: int = 1, **more: Any) -> dict[str, Any]:
    call = {"num_inference_steps": 4, **image_arguments(name, rows), **length_arguments(name), **more}
    if name in ("flux", "qwen-image"):
        call["true_cfg_scale"] = 2.0
    return {**call, "output_type": "pt", "generator": generators(*range(rows))}


def pictures(pipe: Any, name: str, prompt: Any, negative: Any = None, **more: Any) -> torch.Tensor:
    rows = len(prompt) if isinstance(prompt, list) else 1
    found: torch.Tensor = run(pipe, prompt, negative, **call_of(name, rows, **more)).images
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few("sd1", "flux")
def test_without_control_it_is_the_stock_call_to_the_bit(tiny_pipe, name):
    pipe = tiny_pipe(name)
    stock = pipe(prompt=A, negative_prompt="film", **call_of(name)).images
    assert torch.equal(pictures(pipe, name, A, "film"), stock)
    assert torch.equal(pictures(pipe, name, f"[{A}:full]", "film"), stock)
    plain = run(pipe, "[a]: dog", plain=True, **call_of(name)).images
    assert torch.equal(plain, pipe(prompt="[a]: dog", **call_of(name)).images)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few("sd1", "flux")
def test_it_is_attach_and_the_call(tiny_pipe, name):
    pipe, call = tiny_pipe(name), call_of(name)
    known = ("num_inference_steps", "height", "width", "max_sequence_length")
    laid_out = {key: call.pop(key) for key in known if key in call}
    if name == "sd1-controlnet":
        call |= {key: laid_out.pop(key) for key in ("height", "width")}
    with attach(pipe, SWITCH, "ugly[ film:late]", **laid_out) as inputs:
        expected = pipe(**inputs, **call).images
    assert torch.equal(pictures(pipe, name, SWITCH, "ugly[ film:late]"), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few("sd1", "sdxl", "flux")
def test_rows_of_a_mixed_batch_are_those_drawn_alone(tiny_pipe, name):
    pipe, prompts = tiny_pipe(name), [SWITCH, "a dog, [snow:0.25->0]"]
    together = pictures(pipe, name, prompts, ["film", "old"])
    for row, (prompt, negative) in enumerate(zip(prompts, ["film", "old"], strict=True)):
        call = {**call_of(name), "generator": generators(row)}
        alone = run(pipe, prompt, negative, **call).images
        torch.testing.assert_close(together[row], alone[0], atol=NEAR, rtol=0)


def test_what_is_misspelt_is_answered_with_the_nearest_name(tiny_pipe):
    pipe = tiny_pipe("sd1")
    with pytest.raises(ConfigError, match='takes no guidence_scale; did you mean "guidance_scale"'):
        run(pipe, A, guidence_scale=3.0)
    with pytest.raises(ConfigError, match='takes no wieghting; did you mean "weighting"'):
        run(pipe, A, wieghting="mean")
    with pytest.raises(ConfigError, match="prompt_embeds is what dfprompt makes"):
        run(pipe, A, prompt_embeds=torch.zeros(1, 77, 32))
    with pytest.raises(UnsupportedPipelineError, match="a diffusers pipeline is needed"):
        run(object(), A)
    with pytest.raises(UnsupportedPipelineError, match=r"pass its \.pipe, or draw with"):
        run(SimpleNamespace(pipe=pipe), A)
    with pytest.raises(UnsupportedPipelineError, match=r"pass its \.pipe, or draw with"):
        prepare(SimpleNamespace(pipe=pipe), A)
    with pytest.raises(DFPromptError, match="there is no prompt"):
        run(pipe, [])


def test_half_a_character_is_a_clear_error_everywhere(tiny_pipe):
    for function in (run, prepare):
        for prompt in ("\ud83d cat", "\ud83d cat, [x:late]"):
            with pytest.raises(ConfigError, match="half a character"):
                function(tiny_pipe("sd1"), prompt)


# ---- what only the call says --------------------------------------------------------------------------


class Heard:
    """The text every call of the denoiser got, whole batches."""

    def __init__(self, pipe: Any) -> None:
        self.texts: list[torch.Tensor] = []
        part = getattr(pipe, "unet", None) or pipe.transformer
        self.handle = part.register_forward_pre_hook(
            lambda _m, _a, kwargs: self.texts.append(kwargs["encoder_hidden_states"]), with_kwargs=True
        )


def test_guidance_off_with_several_images_hears_no_negative(tiny_pipe):
    """Two positive rows look like a negative and a positive one; guidance decides what they are."""
    pipe = tiny_pipe("sd1")
    size = {"height": SIZE, "width": SIZE}
    inputs = prepare(pipe, SWITCH, "ugly", num_inference_steps=4)
    with pytest.raises(GenerationError, match="num_images_per_prompt=2, but 1 was prepared"):
        pipe(**inputs, **size, guidance_scale=1.0, num_images_per_prompt=2)
    inputs = prepare(pipe, SWITCH, "ugly", num_inference_steps=4, num_images_per_prompt=2, **size)
    heard = Heard(pipe)
    pipe(**inputs, guidance_scale=1.0)
    for evaluation, text in enumerate(heard.texts):
        assert torch.equal(text, inputs.compiled.at(evaluation)["prompt_embeds"].repeat(2, 1, 1))
    heard.texts.clear()
    run(pipe, SWITCH, "ugly", num_inference_steps=4, guidance_scale=1.0, num_images_per_prompt=2, **size)
    for evaluation, text in enumerate(heard.texts):
        assert torch.equal(text, inputs.compiled.at(evaluation)["prompt_embeds"].repeat(2, 1, 1))


def test_a_callback_that_cuts_guidance_to_one_row_is_mended_at_once(tiny_pipe):
    """diffusers' own cutoff keeps the last row only, whatever the batch."""
    from diffusers.callbacks import SD3CFGCutoffCallback

    pipe, prompts = tiny_pipe("sd3"), ["a dog, [snow:0.25->0]", "an old cat"]
    cut = SD3CFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1)
    heard = Heard(pipe)
    call = call_of("sd3", 2)
    inputs = prepare(
        pipe, prompts, num_inference_steps=4, callback_on_step_end=cut, **length_arguments("sd3")
    )
    del call["num_inference_steps"], call["max_sequence_length"]
    pipe(**inputs, **call)
    assert [len(text) for text in heard.texts] == [4, 4, 2, 2]
    for evaluation in (2, 3):
        assert torch.equal(heard.texts[evaluation], inputs.compiled.at(evaluation)["prompt_embeds"])


def test_skip_layer_guidance_hears_each_steps_text(tiny_pipe):
    """The third pass keeps the first step's text in a prepared run, so that is refused; `run` reaches it."""
    pipe = tiny_pipe("sd3")
    skip = {"skip_guidance_layers": [0], "skip_layer_guidance_start": 0.0, "skip_layer_guidance_stop": 1.0}
    inputs = prepare(pipe, SWITCH, num_inference_steps=4, **length_arguments("sd3"))
    with pytest.raises(GenerationError, match="skip_guidance_layers makes a pass"):
        pipe(**inputs, **skip, height=SIZE, width=SIZE)
    heard = Heard(pipe)
    run(pipe, SWITCH, **call_of("sd3"), **skip)
    skipped = [text for text in heard.texts if len(text) == 1]
    whole = [text for text in heard.texts if len(text) == 2][-4:]
    for number, text in enumerate(skipped[-3:], 1):
        assert torch.equal(text, whole[number][1:])


@pytest.fixture
def lora_pipe(tiny_pipe: Any) -> Any:
    from peft import LoraConfig

    pipe = tiny_pipe("sd1")
    encoder = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    pipe.text_encoder.add_adapter(encoder)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    return pipe


def test_the_calls_lora_scale_reaches_the_encoder(lora_pipe):
    scale = {"cross_attention_kwargs": {"scale": 0.5}, "height": SIZE, "width": SIZE}
    inputs = prepare(lora_pipe, SWITCH, num_inference_steps=4)
    with pytest.raises(GenerationError, match=r"scales LoRA layers by 0\.5, but .* with 1"):
        lora_pipe(**inputs, **scale)
    same = f"[{A}:early][{A}:late]"  # ranges that change nothing change no picture
    call = {**call_of("sd1"), **scale}
    stock = lora_pipe(prompt=A, **call).images
    torch.testing.assert_close(run(lora_pipe, same, **{**call, "generator": generators(0)}).images, stock)
    assert (stock - lora_pipe(prompt=A, **call_of("sd1")).images).abs().max() > 1e-3


def test_the_calls_clip_skip_reaches_the_encoder(tiny_pipe):
    pipe = tiny_pipe("sdxl")
    inputs = prepare(pipe, SWITCH, num_inference_steps=4)
    with pytest.raises(GenerationError, match=r"clip_skip=1, but .* encoded with None"):
        pipe(**inputs, clip_skip=1, height=SIZE, width=SIZE)
    same = f"[{A}:early][{A}:late]"
    stock = pipe(prompt=A, **call_of("sdxl", clip_skip=1)).images
    torch.testing.assert_close(pictures(pipe, "sdxl", same, clip_skip=1), stock, atol=NEAR, rtol=0)


# ---- base and refiner ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["EulerDiscreteScheduler", "DDIMScheduler", "HeunDiscreteScheduler"])
def test_base_and_refiner_share_one_plan(tiny_pipe, scheduler):
    """Base to 0.75, refiner from there: together they hear what one whole run hears."""
    import diffusers

    base = tiny_pipe("sdxl")
    base.scheduler = getattr(diffusers, scheduler).from_config(base.scheduler.config)
    refiner = diffusers.StableDiffusionXLImg2ImgPipeline(**base.components)
    refiner.set_progress_bar_config(disable=True)
    prompt = f"[{A}:1->0.5][{B}:0.5->0.125][a dog:0.125->0]"
    whole = prepare(base, prompt, num_inference_steps=8).compiled
    heard = Heard(base)
    call = {"num_inference_steps": 8, "generator": generators(0)}
    latents = run(
        base, prompt, denoising_end=0.75, output_type="latent", height=SIZE, width=SIZE, **call
    ).images
    first = len(heard.texts)
    run(refiner, prompt, image=latents, denoising_start=0.75, **call)
    assert 0 < first < len(heard.texts)
    for evaluation, text in enumerate(heard.texts[:first]):
        assert torch.equal(text[1:], whole.at(evaluation)["prompt_embeds"])
    for back, text in enumerate(reversed(heard.texts[first:]), 1):
        assert torch.equal(text[1:], whole.at(whole.evaluations - back)["prompt_embeds"])


def test_a_refiner_that_prepare_did_not_hear_of_gets_advice_that_can_be_followed(tiny_pipe):
    import diffusers

    refiner = diffusers.StableDiffusionXLImg2ImgPipeline(**tiny_pipe("sdxl").components)
    inputs = prepare(refiner, f"a dog[, {B}:0.25->0]", num_inference_steps=10)
    with pytest.raises(GenerationError, match=r"again with the same denoising_start=0\.8"):
        refiner(**inputs, image=picture(), denoising_start=0.8)
    fine = prepare(refiner, SWITCH, num_inference_steps=10, denoising_start=0.8)
    refiner(**fine, image=picture())


def test_a_wrong_step_count_is_noticed_even_in_a_run_that_stops_early(tiny_pipe):
    pipe = tiny_pipe("sdxl")
    inputs = {**prepare(pipe, SWITCH, num_inference_steps=20), "num_inference_steps": 10}
    with pytest.raises(GenerationError, match="makes 8 denoiser evaluations of 10, but 20 of 20"):
        pipe(**inputs, denoising_end=0.8, height=SIZE, width=SIZE)


# ---- a text for each encoder --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux"])
def test_each_encoder_may_have_a_text_of_its_own(tiny_pipe, name):
    pipe = tiny_pipe(name)
    stock = pipe(prompt=A, prompt_2=B, **call_of(name)).images
    assert torch.equal(pictures(pipe, name, A, prompt_2=B), stock)
    late = pictures(pipe, name, A, prompt_2=f"a dog[{B}:late]")
    assert (late - pictures(pipe, name, A, prompt_2="a dog")).abs().max() > 1e-4
    constant = pictures(pipe, name, f"[{A}:early][{A}:late]", prompt_2=f"[{B}:early][{B}:late]")
    assert torch.equal(constant, stock)


def test_prepare_and_attach_say_where_a_second_text_goes(tiny_pipe):
    with pytest.raises(ConfigError, match=r"prepare takes no prompt_2.*run\(pipe, prompt, prompt_2="):
        prepare(tiny_pipe("sdxl"), SWITCH, prompt_2="x")
    with (
        pytest.raises(ConfigError, match='no num_inference_step: did you mean "num_inference_steps"'),
        attach(tiny_pipe("sdxl"), SWITCH, num_inference_step=3),
    ):
        pass


def test_run_is_a_public_name():
    assert dfprompt.run is run
    assert "run" in dir(dfprompt)
