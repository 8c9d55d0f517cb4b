"""Any pipeline, steered by what its denoisers hear: equal to a switch done by hand to the bit, and cheap."""

from __future__ import annotations

import types
from typing import Any

import diffusers
import pytest
import torch

import dfprompt
import tiny_zoo
from by_hand import Tap, by_hand, stock, tensor
from dfprompt.conditioning.generic.listening import Heard, HeardCall
from dfprompt.conditioning.generic.slots import ABSENT, replace_slots, spread
from dfprompt.conditioning.generic.steering import steer
from dfprompt.conditioning.generic.texts import Prompts
from dfprompt.conditioning.prompts import Dialect, read_prompts
from dfprompt.errors import GenerationError, UnsupportedPipelineError
from runs import image_arguments, length_arguments, picture

A, B = "a red house", "an old blue cat in the snow"
SWITCH, NEGATIVE = f"[{A}:early][{B}:late]", "ugly film"
KNOWN = ["sd1", "sd1-controlnet", "sd1-img2img", "sd1-inpaint", "sdxl", "sd3", "flux", "qwen-image"]
NAMES = [*KNOWN, *tiny_zoo.BUILDERS]


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, tiny_pipe: Any) -> tuple[Any, dict[str, Any]]:
    """A pipeline and its call without prompts."""
    return make_case(request.param, tiny_pipe)


def make_case(name: str, tiny_pipe: Any) -> tuple[Any, dict[str, Any]]:
    if name in tiny_zoo.BUILDERS:
        return tiny_zoo.build(name), {"num_inference_steps": 4, **tiny_zoo.CALLS[name]}
    call = {"num_inference_steps": 4, **image_arguments(name, 1), **length_arguments(name)}
    if name in ("flux", "qwen-image"):
        call["true_cfg_scale"] = 2.0
    return tiny_pipe(name), call


def rows(**texts: Any) -> Prompts:
    read = {name: read_prompts(text, Dialect()) for name, text in texts.items()}
    return Prompts(read, frozenset(name for name, text in texts.items() if isinstance(text, str)))


def steered(pipe: Any, call: dict[str, Any], **texts: Any) -> torch.Tensor:
    noise = {"generator": torch.Generator().manual_seed(0), "output_type": "pt"}
    return tensor(steer(pipe, rows(**texts), {**call, **noise}))


def evaluations_of(pipe: Any, call: dict[str, Any]) -> list[int]:
    """Early or late, for each evaluation: of 4 steps the first 2; image-to-image runs the last ones only."""
    made = 3 if "Img2Img" in type(pipe).__name__ else 4  # its default strength is 0.8
    return [0, 0, 1, 1][4 - made :]


@pytest.mark.few(4)
def test_a_switch_is_that_done_by_hand_to_the_bit(case):
    pipe, call = case
    texts = [{"prompt": text, "negative_prompt": NEGATIVE} for text in (A, B)]
    found = steered(pipe, call, prompt=SWITCH, negative_prompt=NEGATIVE)
    assert torch.equal(found, by_hand(pipe, call, texts, evaluations_of(pipe, call)))
    for text in texts:
        assert (found - stock(pipe, call, **text)).abs().max() > 1e-5


@pytest.mark.few(4)
def test_a_negative_prompt_has_its_own_ranges(case):
    pipe, call = case
    texts = [{"prompt": A, "negative_prompt": text} for text in ("ugly", "ugly film, dog")]
    found = steered(pipe, call, prompt=A, negative_prompt="ugly[ film, dog:late]")
    assert torch.equal(found, by_hand(pipe, call, texts, evaluations_of(pipe, call)))


@pytest.mark.few(4)
def test_what_it_costs_is_one_evaluation_at_most_per_further_text(case):
    pipe, call = case
    with Tap(pipe) as plain:
        stock(pipe, call, prompt=A, negative_prompt=NEGATIVE)
    per = len(plain.calls) / len(evaluations_of(pipe, call))
    for prompt, distinct in ((SWITCH, 2), (f"{A}[, snow:0.75->0.5][, dog:late][, film:0.25->0]", 4)):
        with Tap(pipe) as tap:
            steered(pipe, call, prompt=prompt, negative_prompt=NEGATIVE)
        begun = 4 - len(evaluations_of(pipe, call))
        heard = distinct - (1 if begun and distinct == 4 else 0)  # the first step's text is not run there
        assert tap.answers <= plain.answers + (heard - 1) * per


@pytest.mark.few(4)
def test_everything_is_left_as_it_was(case):
    pipe, call = case
    before = {name: value for name, value in vars(pipe).items() if not name.startswith("_")}
    truth = stock(pipe, call, prompt=A, negative_prompt=NEGATIVE)
    state = torch.random.get_rng_state()
    steered(pipe, call, prompt=SWITCH, negative_prompt=NEGATIVE)
    assert torch.equal(stock(pipe, call, prompt=A, negative_prompt=NEGATIVE), truth)
    assert {name: id(value) for name, value in vars(pipe).items() if name in before} == {
        name: id(value) for name, value in before.items()
    }
    for name in ("unet", "transformer", "transformer_2", "controlnet"):
        part = getattr(pipe, name, None)
        for module in part.modules() if part is not None else ():
            assert not module._forward_pre_hooks | module._forward_hooks
    if "image" not in call:
        assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", ["sdxl", "flux", "chroma", "z-image", "wan"])
def test_rows_of_a_mixed_batch_are_those_drawn_alone(name, tiny_pipe):
    pipe, call = make_case(name, tiny_pipe)
    prompts = [SWITCH, f"a cat[, {A}:0.25->0]"]
    noise = [torch.Generator().manual_seed(seed) for seed in range(2)]
    together = tensor(steer(pipe, rows(prompt=prompts), {**call, "generator": noise, "output_type": "pt"}))
    for row, prompt in enumerate(prompts):
        noise = torch.Generator().manual_seed(row)
        alone = tensor(steer(pipe, rows(prompt=prompt), {**call, "generator": noise, "output_type": "pt"}))
        torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=0)


def test_the_users_callback_is_called_and_may_draw(tiny_pipe):
    pipe, call = make_case("chroma", tiny_pipe)
    quiet = steered(pipe, call, prompt=SWITCH)
    seen = []

    def user(own: Any, index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append((index, sorted(tensors)))
        own.transformer(**kept)
        return tensors

    with Tap(pipe) as tap:
        stock(pipe, call, prompt="a dog")
    kept = tap.calls[0][1]
    more = {"callback_on_step_end": user, "callback_on_step_end_tensor_inputs": ["latents"]}
    assert torch.equal(steered(pipe, {**call, **more}, prompt=SWITCH), quiet)
    assert seen == [(index, ["latents"]) for index in range(4)]


def test_a_denoiser_that_hears_more_than_its_arguments_is_refused(tiny_pipe):
    """Text that reaches it through an attribute: the first evaluation gives it away, nothing is drawn."""
    pipe, call = make_case("chroma", tiny_pipe)
    encode = pipe.encode_prompt

    def leak(*arguments: Any, **keywords: Any) -> Any:
        pipe.transformer.whisper = len(str(arguments) + str(keywords["prompt"]))
        return encode(*arguments, **keywords)

    forward = pipe.transformer.forward

    def hear(*arguments: Any, **keywords: Any) -> Any:
        (sample,) = forward(*arguments, **{**keywords, "return_dict": False})
        return (sample * pipe.transformer.whisper,)

    pipe.encode_prompt, pipe.transformer.forward = leak, hear
    with pytest.raises(UnsupportedPipelineError, match="lets its denoiser hear the text on other"):
        steered(pipe, call, prompt=SWITCH)


def test_text_that_never_arrives_is_refused(tiny_pipe):
    pipe, call = make_case("chroma", tiny_pipe)
    encode = pipe.encode_prompt
    pipe.encode_prompt = lambda prompt, **more: encode("a dog", **more)
    with pytest.raises(UnsupportedPipelineError, match="the same arguments whatever the text says"):
        steered(pipe, call, prompt=SWITCH)


def test_weights_are_refused_by_name(tiny_pipe):
    pipe, call = make_case("pixart", tiny_pipe)
    with pytest.raises(UnsupportedPipelineError, match=r'PixArtSigmaPipeline .* "snow" has weight 1\.5'):
        steered(pipe, call, prompt="a red house, [snow:late:1.5]")


def test_a_schedule_that_changes_under_way_is_noticed(tiny_pipe):
    pipe, call = make_case("pixart", tiny_pipe)
    kind, calls = type(pipe.scheduler), iter([False, False])  # what is heard beforehand, then the run
    original = kind.set_timesteps

    def lengthened(self: Any, *arguments: Any, **keywords: Any) -> None:
        original(self, *arguments, **keywords)
        if next(calls, True):
            self.timesteps = torch.cat([self.timesteps, self.timesteps[-1:]])

    kind.set_timesteps = lengthened
    try:
        with pytest.raises(GenerationError, match="makes more than the 4 evaluations"):
            steered(pipe, call, prompt=SWITCH)
    finally:
        kind.set_timesteps = original


def test_slots_are_read_and_written_without_touching_the_callers_own():
    arguments, keywords = (1, {"x": torch.ones(1)}), {"kwargs": {"a": 2, "b": {"c": 3}}}
    assert list(spread(arguments, keywords)) == [(0,), (1, "x"), ("kwargs", "a"), ("kwargs", "b", "c")]
    changed = replace_slots(arguments, keywords, {(0,): 5, ("kwargs", "b", "c"): 6, ("mask",): ABSENT})
    assert changed == ((5, arguments[1]), {"kwargs": {"a": 2, "b": {"c": 6}}})
    assert keywords == {"kwargs": {"a": 2, "b": {"c": 3}}}


def test_public_run_takes_these_pipelines(tiny_pipe):
    pipe, call = make_case("pixart", tiny_pipe)
    noise = {"generator": torch.Generator().manual_seed(0), "output_type": "pt"}
    found = dfprompt.run(pipe, SWITCH, NEGATIVE, **call, **noise).images
    assert torch.equal(found, steered(pipe, call, prompt=SWITCH, negative_prompt=NEGATIVE))


def test_a_list_that_the_denoiser_empties_was_heard_whole(tiny_pipe):
    """Hunyuan-DiT's denoiser pops what its ControlNet said, block by block."""
    pipe, call = make_case("sd1-controlnet", tiny_pipe)
    truth = steered(pipe, call, prompt=SWITCH)

    def empty(_module: Any, arguments: Any, keywords: Any) -> Any:
        said = keywords["down_block_additional_residuals"]
        keywords = {**keywords, "down_block_additional_residuals": list(said)}
        said.clear()
        return arguments, keywords

    handle = pipe.unet.register_forward_pre_hook(empty, with_kwargs=True)
    try:
        assert torch.equal(steered(pipe, call, prompt=SWITCH), truth)
    finally:
        handle.remove()


def test_a_time_from_0_to_1_is_not_taken_for_a_late_timestep():
    """PRX's denoiser is told timestep / 1000: its first time, 1.0, is the number of the last timestep."""

    class Pipe:
        scheduler = types.SimpleNamespace(
            timesteps=torch.tensor([1000.0, 667.0, 334.0, 1.0]), begin_index=None
        )

        def __call__(self, prompt: str) -> None: ...

    class Tail(Pipe):
        def __call__(self, prompt: str, strength: float = 1.0) -> None: ...

    for kind, time, begin in ((Pipe, 1.0, None), (Tail, 334.0, 2)):
        heard = Heard([HeardCall(torch.nn.Identity(), {("timestep",): torch.tensor([time])})])
        heard.read_schedule(kind())
        assert heard.begin == begin


HEUN, PNDM = "HeunDiscreteScheduler", "PNDMScheduler"


@pytest.mark.parametrize(
    (
        "sampler",
        "call",
        "steps",
    ),  # of a whole run's steps, worked out by hand, those that the evaluations serve
    [
        (HEUN, {"num_inference_steps": 9, "strength": 0.56}, [4, 4, 5, 5, 6, 6, 7, 7, 8]),
        (PNDM, {"num_inference_steps": 10, "strength": 0.8}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (PNDM, {"num_inference_steps": 10, "strength": 0.9}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (HEUN, {"num_inference_steps": 4, "denoising_end": 0.75}, [0, 0, 1, 1, 2]),
        (HEUN, {"timesteps": [950, 800, 600, 400, 200]}, [0, 0, 1, 1, 2, 2, 3, 3, 4]),
        ("EulerDiscreteScheduler", {"num_inference_steps": 10, "denoising_end": 0.8}, list(range(8))),
        ("EulerDiscreteScheduler", {"num_inference_steps": 10, "denoising_start": 0.4}, [4, 5, 6, 7, 8, 9]),
    ],
)
def test_a_part_of_a_run_keeps_its_place_in_the_whole(tiny_pipe, sampler, call, steps):
    pipe, call = tiny_pipe("sdxl"), {**call, "prompt_2": "a dog"}
    if "strength" in call or "denoising_start" in call:
        pipe = diffusers.StableDiffusionXLImg2ImgPipeline(**pipe.components)
        shared = "denoising_start" in call
        call["image"] = (
            torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) if shared else picture()
        )
    else:
        call |= {"height": 16, "width": 16}
    more = {"skip_prk_steps": True} if sampler == PNDM else {}
    pipe.scheduler = getattr(diffusers, sampler).from_config(pipe.scheduler.config, **more)
    pipe.set_progress_bar_config(disable=True)
    whole = len(call.get("timesteps", ())) or call["num_inference_steps"]
    # No step of these runs lies between 0.48 of it, where 0.52 is left, and the switch.
    late = [int(step / whole > 0.48) for step in steps]
    second = {name: value for name, value in call.items() if name != "prompt_2"}
    texts = [{"prompt": text, "prompt_2": "a dog"} for text in (A, B)]
    found = dfprompt.run(
        pipe,
        f"[{A}:1->0.52][{B}:0.52->0]",
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
        **call,
    )
    assert torch.equal(tensor(found), by_hand(pipe, second, texts, late))


def test_words_of_the_other_half_of_a_shared_run_are_not_reported(tiny_pipe, recwarn):
    pipe = diffusers.StableDiffusionXLImg2ImgPipeline(**tiny_pipe("sdxl").components)
    pipe.set_progress_bar_config(disable=True)
    call = {"image": torch.zeros(1, 4, 8, 8), "num_inference_steps": 4, "denoising_start": 0.5}
    dfprompt.run(pipe, SWITCH, prompt_2="a dog", output_type="pt", **call)
    assert not [each for each in recwarn if issubclass(each.category, dfprompt.DFPromptWarning)]


def test_a_prompt_that_begins_as_the_negative_is_still_the_prompts(tiny_pipe):
    """Z-Image puts the prompt's rows first, and `cfg_truncation` lets the negative's go half-way."""
    pipe, call = make_case("z-image", tiny_pipe)
    call |= {"num_inference_steps": 6, "cfg_truncation": 0.5, "negative_prompt": "dog"}
    heard = []
    for text in ("dog", "a cat, dog"):
        with Tap(pipe) as tap:
            stock(pipe, call, prompt=text)
        heard.append([given for _, given in tap.calls])
    with Tap(pipe, lambda number, _: {"cap_feats": heard[number // 3][number]["cap_feats"]}):
        truth = stock(pipe, call, prompt="dog")
    del call["negative_prompt"]
    assert torch.equal(steered(pipe, call, prompt="[a cat:late], dog", negative_prompt="dog"), truth)


def test_a_callback_that_changes_the_text_is_named(tiny_pipe):
    pipe, call = make_case("chroma", tiny_pipe)
    call["callback_on_step_end_tensor_inputs"] = ["prompt_embeds"]
    call["callback_on_step_end"] = lambda _pipe, _index, _time, tensors: {
        "prompt_embeds": tensors["prompt_embeds"] * 1.5
    }
    with pytest.raises(GenerationError, match="the step callback changed prompt_embeds"):
        steered(pipe, call, prompt=SWITCH)
