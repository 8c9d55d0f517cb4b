"""`prepare`: the contract of the keyword arguments, beyond the pictures themselves."""

from __future__ import annotations

import contextlib
import copy
import inspect
from typing import Any

import diffusers
import pytest
import torch
from diffusers.callbacks import MultiPipelineCallbacks, SDCFGCutoffCallback, SDXLCFGCutoffCallback

import dfprompt
from dfprompt import DFPromptWarning, prepare
from dfprompt.conditioning.inputs import PreparedInputs
from dfprompt.errors import (
    ConfigError,
    DFPromptError,
    GenerationError,
    ParseError,
    PromptValueError,
    UnsupportedPipelineError,
)
from dfprompt.prompt import DFPrompt, Span
from runs import draw, generators, picture

SWITCH = "[a red house:early][an old blue cat:late]"
NEAR = 2e-5
NOTHING = contextlib.nullcontext()


def heard(pipe: Any, inputs: Any, seed: int = 0, **more: Any) -> list[torch.Tensor]:
    """What the denoiser hears at every evaluation of a run, (rows, T, D) each."""
    voices: list[torch.Tensor] = []

    def listen(_module: Any, _arguments: Any, keywords: Any) -> None:
        voices.append(keywords["encoder_hidden_states"].clone())

    handle = pipe.unet.register_forward_pre_hook(listen, with_kwargs=True)
    try:
        draw(pipe, "sd1", inputs, (seed,) * more.pop("rows", 1), **more)
    finally:
        handle.remove()
    return voices


def test_the_issue_s_example_runs(tiny_pipe):
    pipe = tiny_pipe("sd1")
    inputs = dfprompt.prepare(pipe, "a red horse, [anime style:early:1.5]", num_inference_steps=10)
    assert pipe(**inputs, guidance_scale=7.5).images[0].size == (16, 16)


def test_plain_text_is_passed_on_as_text(tiny_pipe):
    pipe = tiny_pipe("sdxl")
    inputs = prepare(
        pipe, ["a cat", "a dog"], "ugly", num_inference_steps=3, clip_skip=1, num_images_per_prompt=2
    )
    assert dict(inputs) == {
        "prompt": ["a cat", "a dog"],
        "negative_prompt": ["ugly", "ugly"],
        "num_inference_steps": 3,
        "clip_skip": 1,
        "num_images_per_prompt": 2,
    }
    assert inputs.compiled is None


def test_the_result_behaves_like_a_dict(tiny_pipe):
    inputs = prepare(tiny_pipe("sd1"), SWITCH, num_inference_steps=4)
    assert isinstance(inputs, PreparedInputs)
    assert set(inputs) == {
        "prompt_embeds",
        "negative_prompt_embeds",
        "num_inference_steps",
        "callback_on_step_end",
        "callback_on_step_end_tensor_inputs",
    }
    inputs["guidance_scale"] = 3.0
    assert {**inputs}["guidance_scale"] == 3.0
    del inputs["guidance_scale"]
    assert "guidance_scale" not in inputs
    assert repr(inputs).startswith("PreparedInputs(num_inference_steps, prompt_embeds")


# ---- guidance, rows, callbacks ----------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [7.5, 1.0])
def test_guidance_is_read_off_the_running_tensors(tiny_pipe, guidance):
    pipe = tiny_pipe("sd1")
    inputs = prepare(pipe, [SWITCH, "a dog"], "[ugly:early] dog", num_inference_steps=4)
    voices = heard(pipe, inputs, rows=2, guidance_scale=guidance)
    assert {len(voice) for voice in voices} == {4 if guidance > 1 else 2}
    for evaluation, voice in enumerate(voices):
        at = inputs.compiled.at(evaluation)
        sides = ["negative_prompt_embeds"] * (guidance > 1) + ["prompt_embeds"]
        assert torch.equal(voice, torch.cat([at[side] for side in sides]))


def test_guidance_may_be_cut_midway(tiny_pipe):
    """diffusers' own cutoff keeps the last row only; the switch after it must fit that."""
    pipe = tiny_pipe("sd1")
    cut = SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1)
    inputs = prepare(pipe, SWITCH, num_inference_steps=6, callback_on_step_end=cut)
    voices = heard(pipe, inputs)
    assert [len(voice) for voice in voices] == [2, 2, 1, 1, 1, 1]
    assert torch.equal(voices[5], inputs.compiled.at(5)["prompt_embeds"])
    # Cutting at the very step of the switch as well.
    cut = MultiPipelineCallbacks([SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=2)])
    inputs = prepare(pipe, SWITCH, num_inference_steps=6, callback_on_step_end=cut)
    assert [len(voice) for voice in heard(pipe, inputs)] == [2, 2, 2, 1, 1, 1]


def test_guidance_may_be_cut_midway_on_sdxl(tiny_pipe):
    pipe = tiny_pipe("sdxl")
    cut = SDXLCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1)
    inputs = prepare(pipe, SWITCH, num_inference_steps=6, callback_on_step_end=cut)
    assert [len(voice) for voice in heard(pipe, inputs)] == [2, 2, 1, 1, 1, 1]


def test_the_users_callback_is_chained(tiny_pipe):
    """It gets what it asked for, sees the step that was made, and what it returns counts."""
    pipe = tiny_pipe("sd1")
    seen: list[tuple[int, list[str]]] = []

    def watch(of: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        assert of is pipe
        seen.append((index, sorted(tensors)))
        return {"latents": tensors["latents"] * (0.0 if index == 3 else 1.0)}

    inputs = prepare(pipe, SWITCH, num_inference_steps=4, callback_on_step_end=watch)
    pictures = draw(pipe, "sd1", inputs, (0,))
    assert seen == [(index, ["latents"]) for index in range(4)]
    blank = pipe.vae.decode(torch.zeros(1, 4, 8, 8)).sample
    torch.testing.assert_close(pictures, (blank.detach() / 2 + 0.5).clamp(0, 1), atol=NEAR, rtol=0)


def test_the_users_callback_may_return_nothing_and_ask_for_more(tiny_pipe):
    seen = []
    inputs = prepare(
        pipe := tiny_pipe("sd1"),
        SWITCH,
        num_inference_steps=4,
        callback_on_step_end=lambda _pipe, _index, _timestep, tensors: seen.append(set(tensors)),
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds", "negative_prompt_embeds"],
    )
    draw(pipe, "sd1", inputs, (0,))
    assert seen == [{"latents", "prompt_embeds", "negative_prompt_embeds"}] * 4


def test_the_users_callback_runs_with_plain_text_too(tiny_pipe):
    seen = []
    inputs = prepare(
        pipe := tiny_pipe("sd1"),
        "a cat",
        num_inference_steps=3,
        callback_on_step_end=lambda _pipe, index, _timestep, tensors: seen.append(index) or tensors,
    )
    draw(pipe, "sd1", inputs, (0,))
    assert seen == [0, 1, 2]


def test_several_images_per_prompt_keep_the_stock_order(tiny_pipe):
    """Rows are p0, p0, p1, p1."""
    for name in ("sd1", "sdxl", "sd3"):
        pipe = tiny_pipe(name)
        more = {"max_sequence_length": 32} if name == "sd3" else {}
        inputs = prepare(pipe, [SWITCH, "a dog"], num_inference_steps=4, num_images_per_prompt=2, **more)
        pictures = draw(pipe, name, inputs, (1, 2, 3, 4))
        single = prepare(pipe, SWITCH, num_inference_steps=4, **more)
        for row, seed in ((0, 1), (1, 2)):
            torch.testing.assert_close(pictures[row], draw(pipe, name, single, (seed,))[0], atol=NEAR, rtol=0)
        dog = draw(pipe, name, prepare(pipe, "a dog", num_inference_steps=4, **more), (3,))
        torch.testing.assert_close(pictures[2], dog[0], atol=NEAR, rtol=0)


def test_a_result_may_be_used_again_and_two_may_be_alive(tiny_pipe):
    pipe = tiny_pipe("sd1")
    one = prepare(pipe, SWITCH, num_inference_steps=4)
    other = prepare(pipe, "[a dog:early] [in the snow::1.3]", num_inference_steps=6)
    first, second = draw(pipe, "sd1", one, (0,)), draw(pipe, "sd1", other, (0,))
    assert torch.equal(draw(pipe, "sd1", one, (0,)), first)
    assert torch.equal(draw(pipe, "sd1", other, (0,)), second)


def test_a_result_survives_a_run_that_broke_off(tiny_pipe):
    pipe = tiny_pipe("sd1")
    inputs = prepare(pipe, SWITCH, num_inference_steps=4)
    truth = draw(pipe, "sd1", inputs, (0,))
    broken = dict(inputs)
    swap = broken["callback_on_step_end"]

    def explode(of: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if index == 2:
            raise KeyboardInterrupt
        return swap(of, index, timestep, tensors)

    with pytest.raises(KeyboardInterrupt):
        draw(pipe, "sd1", {**broken, "callback_on_step_end": explode}, (0,))
    assert torch.equal(draw(pipe, "sd1", inputs, (0,)), truth)


def test_an_interrupted_run_stays_interrupted(tiny_pipe):
    pipe = tiny_pipe("sd1")
    calls = []

    def stop(of: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        calls.append(index)
        of._interrupt = index == 1
        return tensors

    draw(pipe, "sd1", prepare(pipe, SWITCH, num_inference_steps=6, callback_on_step_end=stop), (0,))
    assert calls == [0, 1]


# ---- the schedule -----------------------------------------------------------------------------------------


def test_another_number_of_steps_raises_at_the_first_callback(tiny_pipe):
    pipe = tiny_pipe("sd1")
    inputs = prepare(pipe, SWITCH, num_inference_steps=4)
    seen = []
    pipe.unet.register_forward_pre_hook(lambda *_: seen.append(1))
    with pytest.raises(GenerationError, match="makes 5 denoiser evaluations of 5, but 4 of 4 were prepared"):
        draw(pipe, "sd1", {**inputs, "num_inference_steps": 5}, (0,))
    assert len(seen) == 1


def test_another_sampler_with_other_evaluations_raises_too(tiny_pipe):
    pipe = tiny_pipe("sd1")
    inputs = prepare(pipe, SWITCH, num_inference_steps=4)
    pipe.scheduler = diffusers.HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(GenerationError, match=r"makes 7 .* but 4"):
        draw(pipe, "sd1", inputs, (0,))


def test_another_number_of_rows_raises(tiny_pipe):
    pipe = tiny_pipe("sd1")
    inputs = prepare(pipe, [SWITCH, SWITCH, SWITCH], num_inference_steps=4)
    with pytest.raises(GenerationError, match="runs 2 rows of prompt_embeds, but 3 prompts with 1 images"):
        draw(
            pipe,
            "sd1",
            {**inputs, **{name: inputs[name][:1] for name in ("prompt_embeds", "negative_prompt_embeds")}},
            (0,),
        )


@pytest.mark.parametrize("name", ["sd1-img2img", "sd1-inpaint"])
def test_image_to_image_runs_the_tail_of_the_plan(tiny_pipe, name):
    """Strength 0.5 covers 0.5->0: an early span is not heard at all, a late one throughout."""
    pipe = tiny_pipe(name)
    pictures = {
        text: draw(pipe, name, prepare(pipe, text, num_inference_steps=8, strength=0.5), (0,))
        for text in ("a [red:late] cat", "a red cat", "a [red:0.25->0] cat", "a  cat")
    }
    torch.testing.assert_close(pictures["a [red:late] cat"], pictures["a red cat"], atol=NEAR, rtol=0)
    assert (pictures["a [red:0.25->0] cat"] - pictures["a red cat"]).abs().max() > 100 * NEAR
    with pytest.warns(DFPromptWarning, match="acts at none of the 4 steps that image-to-image runs"):
        silent = prepare(pipe, "a [red:early] cat", num_inference_steps=8, strength=0.5)
    torch.testing.assert_close(draw(pipe, name, silent, (0,)), pictures["a  cat"], atol=NEAR, rtol=0)


def test_the_default_strength_is_the_pipelines_and_reaches_the_call(tiny_pipe):
    inputs = prepare(tiny_pipe("sd1-img2img"), SWITCH, num_inference_steps=10)
    assert inputs["strength"] == 0.8
    assert inputs.compiled.evaluations == 8


def test_custom_timesteps_reach_the_call(tiny_pipe):
    pipe = tiny_pipe("sd1")
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    inputs = prepare(pipe, SWITCH, timesteps=[999, 800, 500, 10])
    assert inputs["timesteps"] == [999, 800, 500, 10]
    voices = heard(pipe, inputs)
    assert torch.equal(voices[0], voices[1])
    assert not torch.equal(voices[1], voices[2])
    # By the other clock, 0.5 of training time has been passed only at the timestep 500.
    inputs = prepare(pipe, "[a cat:1->0.6][a dog:0.6->0]", timesteps=[999, 800, 500, 10], clock="timestep")
    voices = heard(pipe, inputs)
    assert torch.equal(voices[0], voices[1])
    assert not torch.equal(voices[1], voices[2])


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux"])
def test_custom_sigmas_reach_the_call_and_the_switch_falls_in_their_middle(tiny_pipe, name):
    """Early is the first two of four steps, whatever the sigmas are; Euler is given the final 0 as well."""
    pipe = tiny_pipe(name)
    sigmas = [12.0, 6.0, 2.0, 0.4, 0.0] if name == "sdxl" else [1.0, 0.9, 0.3, 0.1]
    voices = []
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    length = {} if name == "sdxl" else {"max_sequence_length": 32}
    with dfprompt.attach(pipe, SWITCH, sigmas=sigmas, **length) as inputs:
        assert inputs["sigmas"] == sigmas
        assert "num_inference_steps" not in inputs
        denoiser.register_forward_pre_hook(
            lambda _module, _arguments, keywords: voices.append(keywords["encoder_hidden_states"].clone()),
            with_kwargs=True,
        )
        draw(pipe, name, inputs, (0,))
    assert [torch.equal(voice, voices[0]) for voice in voices] == [True, True, False, False]
    assert torch.equal(voices[2], voices[3])


@pytest.mark.parametrize("name", ["sdxl", "sd3"])
def test_clip_skip_of_a_whole_run_is_the_stock_calls(tiny_pipe, name):
    """A prompt whose halves read the same has control, so it is compiled: the picture is the stock one."""
    pipe = tiny_pipe(name)
    more = {"max_sequence_length": 32} if name == "sd3" else {}
    inputs = prepare(pipe, "[a cat:early][a cat:late]", "dog", num_inference_steps=4, clip_skip=1, **more)
    assert inputs.compiled is not None
    stock = {"prompt": ["a cat"], "negative_prompt": ["dog"], "num_inference_steps": 4, "clip_skip": 1}
    expected = draw(pipe, name, {**stock, **more}, (0,))
    torch.testing.assert_close(draw(pipe, name, inputs, (0,)), expected, atol=NEAR, rtol=0)
    without = draw(pipe, name, {**stock, **more, "clip_skip": None}, (0,))
    assert (without - expected).abs().max() > NEAR


def test_the_clock_timestep_differs_under_a_shifted_schedule(tiny_pipe):
    """SD3's shift of 3 turns the sigma 1 - i/9 of step i into 3s/(1 + 2s): .60 at 6, .465 at 7."""
    pipe = tiny_pipe("sd3")
    size = {"height": 16, "width": 16, "max_sequence_length": 32}
    by_steps = prepare(pipe, SWITCH, num_inference_steps=10, **size)
    by_time = prepare(pipe, SWITCH, num_inference_steps=10, clock="timestep", **size)
    switches = [[k for k in range(10) if inputs.compiled.changes(k)] for inputs in (by_steps, by_time)]
    assert switches == [[0, 5], [0, 7]]


def test_stopping_early_is_allowed_where_the_pipeline_can(tiny_pipe):
    """SDXL's base hands over to the refiner with denoising_end."""
    pipe = tiny_pipe("sdxl")
    inputs = prepare(pipe, SWITCH, num_inference_steps=10)
    assert len(heard(pipe, inputs, denoising_end=0.8)) == 8


# ---- families that a stock call serves only in part --------------------------------------------------------


def test_flux_warns_that_its_pooled_vector_stays(tiny_pipe):
    pipe = tiny_pipe("flux")
    with pytest.warns(DFPromptWarning, match="keeps the pooled vector .* dfprompt.attach"):
        inputs = prepare(pipe, SWITCH, num_inference_steps=4, max_sequence_length=32)
    assert draw(pipe, "flux", inputs, (0,)).shape == (1, 3, 16, 16)
    # Weights leave it alone: nothing to say.
    prepare(pipe, "a [red::1->1.5] cat", num_inference_steps=4, weighting="comfy")


def test_flux_refuses_a_changing_negative_and_takes_a_fixed_one(tiny_pipe):
    pipe = tiny_pipe("flux")
    with pytest.raises(UnsupportedPipelineError, match=r"negative prompt .* `with dfprompt.attach"):
        prepare(pipe, "a [red::1->1.5] cat", "[ugly:early]", num_inference_steps=4, weighting="comfy")
    short = {"num_inference_steps": 4, "max_sequence_length": 32}
    inputs = prepare(pipe, "a [red::1->1.5] cat", "ugly", weighting="comfy", **short)
    assert {"negative_prompt_embeds", "negative_pooled_prompt_embeds"} < set(inputs)
    assert draw(pipe, "flux", inputs, (0,), true_cfg_scale=2.0).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(("name", "also"), [("flux", "comfy"), ("qwen-image", "")])
def test_weights_by_attention_need_a_hook(tiny_pipe, name, also):
    pipe = tiny_pipe(name)
    with pytest.raises(
        UnsupportedPipelineError, match=r"use dfprompt.run, or `with dfprompt.attach"
    ) as refused:
        prepare(pipe, "a [red::1.5] cat", num_inference_steps=4)
    assert ("comfy" in str(refused.value)) == bool(also)
    prepare(pipe, "a [red::1] cat", num_inference_steps=4)  # weight 1 needs none


def test_qwen_image_refuses_changing_lengths_and_takes_equal_ones(tiny_pipe):
    pipe = tiny_pipe("qwen-image")
    with pytest.raises(UnsupportedPipelineError, match=r"number of prompt tokens .* dfprompt.attach"):
        prepare(pipe, "a [very old:early] cat", num_inference_steps=4)
    with pytest.raises(UnsupportedPipelineError, match=r"negative prompt .* dfprompt.attach"):
        prepare(pipe, "[a red:early][a blue:late] cat", "[ugly:early]", num_inference_steps=4)
    # Rows of different length among each other are fine, as long as each keeps its own.
    prompts = ["[a red:early][a blue:late] dog", "a photo of an old horse in the snow"]
    inputs = prepare(pipe, prompts, "ugly", num_inference_steps=4)
    pictures = draw(pipe, "qwen-image", inputs, (0, 1), true_cfg_scale=2.0)
    for row, prompt in enumerate(prompts):
        alone = prepare(pipe, prompt, "ugly", num_inference_steps=4)
        single = draw(pipe, "qwen-image", alone, (row,), true_cfg_scale=2.0)
        torch.testing.assert_close(pictures[row], single[0], atol=NEAR, rtol=0)


# ---- reading prompts --------------------------------------------------------------------------------------


def test_prompts_may_be_text_or_trees_alone_or_in_lists(tiny_pipe):
    pipe = tiny_pipe("sd1")
    tree = DFPrompt(["a ", Span("red", "early"), " cat"])
    for prompts in (tree, [tree], str(tree), [str(tree)], (str(tree),)):
        inputs = prepare(pipe, prompts, num_inference_steps=4)
        assert [plan.prompt for plan in inputs.compiled.plans] == [tree]


def test_plain_and_strict_are_the_languages_own(tiny_pipe):
    pipe = tiny_pipe("sd1")
    assert prepare(pipe, "a [red:early] cat", plain=True)["prompt"] == ["a [red:early] cat"]
    with pytest.raises(ParseError):
        prepare(pipe, "a (red:1.2) cat", strict=True)
    with pytest.raises(ParseError):
        prepare(pipe, "a [red:early cat")


def test_prompts_come_through_their_dialect(tiny_pipe):
    pipe = tiny_pipe("sd1")
    inputs = prepare(pipe, "a [red:0.5-1:1.5] cat", dialect="pae", num_inference_steps=4)
    assert [k for k in range(4) if inputs.compiled.changes(k)] == [0, 2]


def test_clip_skip_works_with_the_installed_encoder(tiny_pipe):
    """Stable Diffusion's own clip_skip fails with transformers 5; ours does what it meant."""
    pipe = tiny_pipe("sd1")
    inputs = prepare(pipe, "a cat", num_inference_steps=3, clip_skip=1)
    assert "clip_skip" not in inputs
    plain = draw(pipe, "sd1", prepare(pipe, "a cat", num_inference_steps=3), (0,))
    assert not torch.equal(draw(pipe, "sd1", inputs, (0,)), plain)


def test_long_plain_text_is_chunked_or_cut_with_a_warning(tiny_pipe):
    pipe = tiny_pipe("sd1")
    text = "a red horse in the snow, " * 13
    assert prepare(pipe, text)["prompt_embeds"].shape == (1, 154, 32)
    with pytest.warns(DFPromptWarning, match='cut off: ".*snow,'):
        inputs = prepare(pipe, text, long_prompts="truncate")
    assert inputs["prompt"] == [text]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda pipe: prepare(object(), "a cat"), UnsupportedPipelineError, "needed, not"),
        (lambda pipe: prepare(pipe, []), ConfigError, "no prompt"),
        (lambda pipe: prepare(pipe, [7]), ConfigError, "must be a string or a DFPrompt, not 7"),
        (lambda pipe: prepare(pipe, ["a", "b", "c"], ["x", "y"]), ConfigError, "2 negative prompts for 3"),
        (lambda pipe: prepare(pipe, "a", num_inference_steps=5000), ConfigError, "5000 steps"),
        (lambda pipe: prepare(pipe, "a", num_images_per_prompt=0), ConfigError, "num_images_per_prompt"),
        (lambda pipe: prepare(pipe, "a", max_sequence_length=99), ConfigError, "window is fixed"),
        (lambda pipe: prepare(pipe, "a", strength=0.5), ConfigError, "has no strength"),
        (lambda pipe: prepare(pipe, SWITCH, clock="moon"), PromptValueError, "moon"),
        (lambda pipe: prepare(pipe, SWITCH, absence="hide"), PromptValueError, "hide"),
        (lambda pipe: prepare(pipe, SWITCH, weighting="heavy"), ConfigError, "heavy"),
    ],
)
def test_bad_input_is_one_clear_error(tiny_pipe, make, kind, message):
    with pytest.raises(kind, match=message) as caught:
        make(tiny_pipe("sd1"))
    assert isinstance(caught.value, DFPromptError)


def test_a_pipeline_without_tokenizer_or_encoder_is_refused(tiny_pipe):
    for name, part in (
        ("sd1", "tokenizer"),
        ("sd1", "text_encoder"),
        ("sdxl", "tokenizer_2"),
        ("flux", "tokenizer_2"),
    ):
        pipe = tiny_pipe(name)
        setattr(pipe, part, None)
        with pytest.raises(UnsupportedPipelineError, match=f"has no {part}"):
            prepare(pipe, SWITCH)


def test_a_pipeline_of_another_kind_is_refused(tiny_pipe):
    pipe = diffusers.DDIMPipeline(unet=tiny_pipe("sd1").unet, scheduler=diffusers.DDIMScheduler())
    with pytest.raises(UnsupportedPipelineError, match=r'"DDIMPipeline" belongs to no family .*\.run'):
        prepare(pipe, "a cat")


def test_lengths_are_checked_against_the_family(tiny_pipe):
    for length in (0, 513, 2.5, True):
        with pytest.raises(ConfigError, match="max_sequence_length must be 1 to 512"):
            prepare(tiny_pipe("flux"), "a cat", max_sequence_length=length)
    with pytest.raises(ConfigError, match="takes no clip_skip"):
        prepare(tiny_pipe("flux"), "a cat", clip_skip=1)


def test_prepare_and_attach_take_the_same_arguments():
    assert inspect.signature(dfprompt.prepare).parameters == inspect.signature(dfprompt.attach).parameters


def test_preparing_leaves_the_pipeline_as_it_was(tiny_pipe):
    pipe = tiny_pipe("sd1")
    before = copy.deepcopy(pipe.scheduler.__dict__)
    prepare(pipe, SWITCH, num_inference_steps=7)
    assert str(pipe.scheduler.__dict__) == str(before)
    assert not pipe.unet._forward_pre_hooks
    with torch.enable_grad():
        inputs = prepare(pipe, SWITCH, num_inference_steps=7)
    assert not inputs["prompt_embeds"].requires_grad


def test_generators_and_pictures_are_the_callers(tiny_pipe):
    """Whatever prepare does not name goes to the call itself."""
    pipe = tiny_pipe("sd1-img2img")
    inputs = prepare(pipe, "a [red:0.25->0] cat", num_inference_steps=4, strength=0.5)
    result = pipe(**inputs, image=picture(), generator=generators(0)[0], guidance_scale=2.0, output_type="pt")
    assert result.images.shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("prepared", "call", "message"),
    [
        ({}, {"max_sequence_length": 64}, "max_sequence_length=64, but the texts were encoded with 512"),
        ({"clock": "timestep"}, {"height": 16, "width": 16}, "other timesteps than were prepared"),
        ({"clock": "timestep", "height": 16, "width": 16}, {}, None),
        ({"max_sequence_length": 64}, {"height": 16, "width": 16}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:FluxPipeline keeps the pooled vector")
def test_a_call_that_says_otherwise_is_noticed(tiny_pipe, prepared, call, message):
    pipe = tiny_pipe("flux")
    inputs = prepare(pipe, SWITCH, num_inference_steps=6, **prepared)
    with pytest.raises(GenerationError, match=message) if message else contextlib.nullcontext():
        pipe(**inputs, **call, output_type="pt")


def test_the_clock_is_held_to_the_timesteps_that_run(tiny_pipe):
    pipe = tiny_pipe("sd1")
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    given = {"timesteps": [900, 300, 200, 100], "height": 16, "width": 16, "output_type": "pt"}
    for clock in ("steps", "timestep"):
        inputs = dict(prepare(pipe, SWITCH, num_inference_steps=4, clock=clock))
        del inputs["num_inference_steps"]
        with pytest.raises(GenerationError, match="other timesteps") if clock == "timestep" else NOTHING:
            pipe(**inputs, **given)
