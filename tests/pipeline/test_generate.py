"""`ImagePipeline.generate`: one seed per picture, the stock pipeline's pictures, defaults, bad input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_pipelines
from dfprompt.errors import (
    ConfigError,
    DFPromptWarning,
    GenerationError,
    InputError,
    ParseError,
    UnsupportedPipelineError,
)
from dfprompt.pipeline.decode import _decode_xl
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.pipeline.memory import Slices, ran_out_of_memory
from dfprompt.pipeline.progress import reporting
from dfprompt.pipeline.schedulers import make_scheduler
from dfprompt.requests.render import RenderSettings
from runs import SIZE, draw, length_arguments

FAMILIES = ("sd1", "sdxl", "sd3", "flux", "qwen-image")
# float32 on the CPU: a row's convolutions may be summed in another order in another batch.
TOLERANCE = 2e-5
SMALL: dict[str, Any] = {"num_inference_steps": 4, "height": SIZE, "width": SIZE}
# More than one window of CLIP, so that it may not be padded together with the others.
LONG = "a cat, " + ", ".join(["[old film:late] photo of a house in the snow"] * 9)


@pytest.fixture(scope="module")
def pipeline(tiny_folder: Callable[[str], Path]) -> Callable[[str], ImagePipeline]:
    """`pipeline("sdxl")`, loaded once; tests leave it as they found it."""
    loaded: dict[str, ImagePipeline] = {}

    def get(name: str) -> ImagePipeline:
        if name not in loaded:
            loaded[name] = ImagePipeline(tiny_pipelines.load(tiny_folder(name)))
        return loaded[name]

    return get


@pytest.fixture
def sd(pipeline: Callable[[str], ImagePipeline]) -> ImagePipeline:
    return pipeline("sd1")


def generate(pipeline: ImagePipeline, name: str, prompts: Any, seeds: Any, **asked: Any) -> torch.Tensor:
    return pipeline.generate(prompts, seeds, **{**SMALL, **length_arguments(name), **asked})


@contextmanager
def out_of_memory_above(denoiser: torch.nn.Module, rows: int) -> Iterator[list[int]]:
    """Let the denoiser fail as a GPU does when it gets more rows than fit; yields the sizes it was given."""
    seen: list[int] = []

    def fail(_module: Any, arguments: tuple[Any, ...]) -> None:
        seen.append(len(arguments[0]))
        if len(arguments[0]) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    handle = denoiser.register_forward_pre_hook(fail)
    try:
        yield seen
    finally:
        handle.remove()


# ---- the stock pipeline's pictures -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FAMILIES, "sd2", "sd3-without-t5"])
@pytest.mark.few(3)
def test_without_control_it_is_bit_identical_to_the_stock_call(pipeline: Any, name: str) -> None:
    loaded = pipeline(name)
    prompts, seeds = ["a red house", "an old blue cat in the snow"], (5, 6)
    inputs = {"prompt": prompts, "num_inference_steps": 4, **length_arguments(name)}
    assert torch.equal(generate(loaded, name, prompts, seeds), draw(loaded.pipe, name, inputs, seeds))


@pytest.mark.parametrize("scheduler", ["unipc", "euler_a", "heun", "dpmpp_2m_karras"])
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
@pytest.mark.few(3)
def test_so_it_is_under_samplers_by_name(pipeline: Any, name: str, scheduler: str) -> None:
    loaded = pipeline(name)
    prompts, seeds = ["a red house", "a dog"], (5, 6)
    ours = generate(loaded, name, prompts, seeds, scheduler=scheduler, guidance_scale=3.0)
    own = loaded.pipe.scheduler
    loaded.pipe.scheduler = make_scheduler(scheduler, loaded.pipe)
    inputs = {"prompt": prompts, "num_inference_steps": 4, "guidance_scale": 3.0}
    stock = draw(loaded.pipe, name, inputs, seeds)
    loaded.pipe.scheduler = own
    assert torch.equal(ours, stock)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_flow_models_take_unipc_by_name(pipeline: Any, name: str) -> None:
    loaded = pipeline(name)
    ours = generate(loaded, name, ["a dog"], [5], scheduler="unipc")
    own = loaded.pipe.scheduler
    loaded.pipe.scheduler = make_scheduler("unipc", loaded.pipe)
    inputs = {"prompt": ["a dog"], "num_inference_steps": 4, **length_arguments(name)}
    stock = draw(loaded.pipe, name, inputs, (5,))
    loaded.pipe.scheduler = own
    assert torch.equal(ours, stock)


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux", "qwen-image"])
def test_a_negative_prompt_and_guidance_go_where_the_family_has_them(pipeline: Any, name: str) -> None:
    loaded = pipeline(name)
    key = {"flux": "true_cfg_scale", "qwen-image": "guidance_scale"}.get(name, "guidance_scale")
    stock_key = "true_cfg_scale" if name in ("flux", "qwen-image") else "guidance_scale"
    ours = generate(loaded, name, ["a dog"], [5], negative_prompt="snow", **{key: 3.0})
    inputs = {"prompt": ["a dog"], "negative_prompt": ["snow"], stock_key: 3.0, **length_arguments(name)}
    stock = draw(loaded.pipe, name, inputs, (5,), num_inference_steps=4)
    torch.testing.assert_close(ours, stock, atol=TOLERANCE, rtol=0)
    assert (ours - generate(loaded, name, ["a dog"], [5])).abs().max() > 20 * TOLERANCE


# ---- one seed per picture --------------------------------------------------------------------------------


def mixed(name: str) -> list[str]:
    weighted = name != "qwen-image"
    rows = [
        "a red house",
        f"[a red house:early][an old blue cat:late], [film{':full:1.5' if weighted else ':0.75->0.25'}]",
        "a dog",
        f"a [dog{'::0.5->1.5' if weighted else ':early'}] in the snow",
    ]
    # FLUX and SD3 have one window; the other families take another length into another batch.
    return rows if name in ("flux", "sd3") else [*rows, LONG]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.few(3)
def test_every_row_of_a_mixed_batch_is_its_own_single_run(pipeline: Any, name: str) -> None:
    loaded, prompts = pipeline(name), mixed(name)
    seeds = list(range(7, 7 + len(prompts)))
    together = generate(loaded, name, prompts, seeds)
    for row, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        alone = generate(loaded, name, prompt, seed)
        torch.testing.assert_close(together[row], alone[0], atol=TOLERANCE, rtol=0)
    apart = [(together[a] - together[b]).abs().max() for a, b in combinations(range(len(prompts)), 2)]
    assert min(apart) > 20 * TOLERANCE


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_no_batch_size_changes_a_picture(sd: ImagePipeline, batch_size: int) -> None:
    prompts, seeds = mixed("sd1"), [3, 1, 2**64 - 1, 1, 0]
    whole = generate(sd, "sd1", prompts, seeds)
    sliced = generate(sd, "sd1", prompts, seeds, batch_size=batch_size)
    torch.testing.assert_close(sliced, whole, atol=TOLERANCE, rtol=0)


def test_the_order_of_the_rows_is_the_order_of_the_pictures(sd: ImagePipeline) -> None:
    prompts, seeds = mixed("sd1"), [1, 2, 3, 4, 5]
    forward = generate(sd, "sd1", prompts, seeds)
    backward = generate(sd, "sd1", prompts[::-1], seeds[::-1])
    torch.testing.assert_close(backward.flip(0), forward, atol=TOLERANCE, rtol=0)


def test_the_seed_alone_makes_the_noise(sd: ImagePipeline) -> None:
    torch.manual_seed(1)
    first = generate(sd, "sd1", "a cat", [1, 2, 1], scheduler="euler_a")
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second = generate(sd, "sd1", "a cat", [1, 2, 1], scheduler="euler_a")
    assert torch.equal(torch.random.get_rng_state(), state)  # nor is the global one touched
    assert torch.equal(first, second)
    torch.testing.assert_close(first[0], first[2], atol=TOLERANCE, rtol=0)
    assert (first[0] - first[1]).abs().max() > 20 * TOLERANCE


def test_one_prompt_serves_all_seeds_and_one_seed_all_prompts(sd: ImagePipeline) -> None:
    assert sd.read("a cat", [1, 2, 3], RenderSettings(**SMALL)).seeds == (1, 2, 3)
    request = sd.read(["a cat", "a dog"], 4, RenderSettings(**SMALL), negative_prompt="snow")
    assert request.seeds == (4, 4)
    assert [str(each) for each in request.negatives or ()] == ["snow", "snow"]
    assert len(sd.read("a cat", 4, RenderSettings(**SMALL))) == 1
    assert sd.read("a cat", np.array([1, 2]), RenderSettings(**SMALL)).seeds == (1, 2)
    assert sd.read("a cat", torch.tensor([5, 6]), RenderSettings(**SMALL)).seeds == (5, 6)


# ---- memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fits", "sizes"), [(3, [5, 2, 2, 1]), (1, [5, 2, 1, 1, 1, 1, 1])])
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.few(2)
def test_batches_are_halved_when_memory_runs_out(
    sd: ImagePipeline, fits: int, sizes: list[int], share: bool
) -> None:
    prompts, seeds = [*mixed("sd1")[:4], "a cat"], [1, 2, 3, 4, 5]
    whole = generate(sd, "sd1", prompts, seeds, share=share)
    with (
        out_of_memory_above(sd.pipe.unet, 2 * fits) as seen,  # guided: twice the rows
        pytest.warns(DFPromptWarning, match=r"out of memory with \d pictures at once") as said,
    ):
        halved = generate(sd, "sd1", prompts, seeds, share=share)
    torch.testing.assert_close(halved, whole, atol=TOLERANCE, rtol=0)
    assert "with 5 pictures at once; going on with 2" in str(said[0].message)
    assert len(said) == (1 if fits == 3 else 2)
    if share:  # the loop halves within a step and goes on; the next steps keep to it
        assert [rows // 2 for rows in seen[: len(sizes)]] == sizes
        assert max(seen[len(sizes) :]) <= 2 * fits
    else:  # a slice that failed is drawn again from its first step
        calls = [rows // 2 for rows in seen]
        failed = [rows for rows in calls if rows > fits]
        assert calls == failed + [rows for rows in sizes if rows <= fits for _ in range(4)]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers', shown again by pytest.warns
def test_one_picture_that_does_not_fit_is_an_error_that_says_what_to_do(sd: ImagePipeline) -> None:
    own, hooks = sd.pipe.scheduler, len(sd.pipe.unet._forward_pre_hooks)
    with (
        out_of_memory_above(sd.pipe.unet, 0),
        pytest.raises(GenerationError, match=r"single picture.*--height.*--dtype.*--offload"),
        pytest.warns(DFPromptWarning, match="going on with 1"),
    ):
        generate(sd, "sd1", "a cat", [1, 2], scheduler="euler", vae_tiling=True)
    assert sd.pipe.scheduler is own
    assert not sd.pipe.vae.use_tiling
    assert len(sd.pipe.unet._forward_pre_hooks) == hooks


@pytest.mark.parametrize("name", ["flux", "sd3"])
@pytest.mark.few(1)
def test_transformers_are_halved_too(pipeline: Any, name: str) -> None:
    loaded, prompts, seeds = pipeline(name), mixed(name)[:3], [1, 2, 3]
    whole = generate(loaded, name, prompts, seeds)
    seen: list[int] = []

    def fail(_module: Any, _arguments: Any, keywords: dict[str, Any]) -> None:
        seen.append(len(keywords["hidden_states"]))
        if len(keywords["hidden_states"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = loaded.pipe.transformer.register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.warns(DFPromptWarning, match="out of memory with 3"):
        halved = generate(loaded, name, prompts, seeds)
    handle.remove()
    assert max(seen[1:]) <= 2
    torch.testing.assert_close(halved, whole, atol=TOLERANCE, rtol=0)


def test_a_decoder_that_runs_out_of_memory_is_left_in_its_precision(tiny_pipe: Any) -> None:
    """SDXL's decodes in single precision and goes back, for the fewer pictures that are tried next."""
    pipe = tiny_pipe("sdxl")
    pipe.vae.half().register_to_config(force_upcast=True)

    def decode(*_: Any, **__: Any) -> None:
        assert pipe.vae.dtype == torch.float32
        raise torch.OutOfMemoryError("CUDA out of memory")

    pipe.vae.decode = decode
    with pytest.raises(torch.OutOfMemoryError):
        _decode_xl(pipe, torch.zeros((1, 4, 8, 8), dtype=torch.float16))
    assert pipe.vae.dtype == torch.float16


def test_a_stock_call_that_fails_leaves_the_decoder_in_its_precision(sd: ImagePipeline) -> None:
    def decode(*_: Any, **__: Any) -> None:
        sd.pipe.vae.to(torch.float64)
        raise torch.OutOfMemoryError("CUDA out of memory")

    own, sd.pipe.vae.decode = sd.pipe.vae.decode, decode
    try:
        with pytest.raises(GenerationError, match="single picture"):
            generate(sd, "sd1", "a cat", [1], share=False)
    finally:
        sd.pipe.vae.decode = own
    assert sd.pipe.vae.dtype == torch.float32


def test_other_errors_of_the_denoiser_are_not_taken_for_memory(sd: ImagePipeline) -> None:
    def fail(_module: Any, _arguments: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    handle = sd.pipe.unet.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        generate(sd, "sd1", "a cat", [1, 2])
    handle.remove()


def test_the_words_of_other_allocators_are_known() -> None:
    assert ran_out_of_memory(MemoryError())
    assert ran_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")
    )
    assert ran_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert ran_out_of_memory(RuntimeError("could not create a primitive"))
    assert not ran_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(("size", "fits"), [(8, 3), (8, 1), (3, 3), (1, 1), (7, 6)])
@pytest.mark.few(2)
def test_slices_give_every_result_once_and_in_order(size: int, fits: int) -> None:
    def work(some: Sequence[int]) -> list[int]:
        if len(some) > fits:
            raise MemoryError
        return [-each for each in some]

    slices = Slices(size)
    with pytest.warns(DFPromptWarning, match="out of memory") if size > fits else nothing():
        assert slices.run(work, range(10)) == [-each for each in range(10)]
    assert slices.size <= fits


@contextmanager
def nothing() -> Iterator[None]:
    yield


# ---- defaults and progress -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "steps", "guidance", "size"),
    [
        ("sd1", 50, 7.5, 16),
        ("sdxl", 50, 5.0, 16),
        ("sd3", 28, 7.0, 16),
        ("flux", 28, 3.5, 256),
        ("qwen-image", 50, None, 256),
    ],
)
def test_what_is_left_out_is_the_stock_calls_own(
    pipeline: Any, name: str, steps: int, guidance: float | None, size: int
) -> None:
    loaded = pipeline(name)
    settings = loaded.read("a cat", 0).settings
    assert settings.num_inference_steps == steps
    assert settings.guidance_scale == guidance
    assert (settings.height, settings.width) == (size, size)
    assert settings.scheduler == type(loaded.pipe.scheduler).__name__
    assert settings.true_cfg_scale == {"flux": 1.0, "qwen-image": 4.0}.get(name)


def test_defaults_stored_beside_the_weights_come_before_the_calls_own(sd: ImagePipeline) -> None:
    from dfprompt.pipeline.defaults import PipelineDefaults

    stored = PipelineDefaults(
        name="mine", num_inference_steps=3, guidance_scale=2.5, scheduler="unipc", height=24, width=16
    )
    own = ImagePipeline(sd.pipe, defaults=stored)
    assert own.name == "mine"
    explicit = sd.generate(
        "a cat", 1, num_inference_steps=3, guidance_scale=2.5, scheduler="unipc", height=24, width=16
    )
    drawn = own.generate("a cat", 1)
    assert drawn.shape == (1, 3, 24, 16)
    assert torch.equal(drawn, explicit)
    asked = own.read("a cat", 1, RenderSettings(num_inference_steps=7, guidance_scale=0)).settings
    assert (asked.num_inference_steps, asked.guidance_scale, asked.scheduler) == (7, 0, "unipc")


def test_progress_counts_picture_steps_to_the_end(sd: ImagePipeline) -> None:
    seen: list[tuple[int, int]] = []
    prompts = ["a cat", "a dog", "a house"]
    generate(sd, "sd1", prompts, 1, num_inference_steps=2, batch_size=2, progress=lambda *at: seen.append(at))
    assert seen == [(2, 6), (4, 6), (4, 6), (5, 6), (6, 6), (6, 6)]


def test_progress_never_runs_backwards_when_memory_runs_out(sd: ImagePipeline) -> None:
    seen: list[int] = []
    with out_of_memory_above(sd.pipe.unet, 2), pytest.warns(DFPromptWarning, match="out of memory"):
        generate(sd, "sd1", "a cat", [1, 2], progress=lambda done, total: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == 8


def test_a_bar_is_for_terminals_only(sd: ImagePipeline, capfd: pytest.CaptureFixture[str]) -> None:
    generate(sd, "sd1", "a cat", 1, num_inference_steps=1, progress=True)
    assert capfd.readouterr() == ("", "")
    with reporting(True) as report:
        report(1, 2)
    assert capfd.readouterr() == ("", "")


def test_a_bar_says_what_is_drawn_and_the_time_left_on_a_narrow_terminal(
    sd: ImagePipeline, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "60")
    generate(sd, "sd1", "a cat", [1, 2], num_inference_steps=3, progress=True)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capfd.readouterr().err).split("\r")
    last = [line.strip() for line in shown if "%" in line][-1]
    assert last.startswith("drawing 2 at 16x16, 3 steps \u2501\u2501\u2501")
    assert re.search(r"% [-0-9]:[-0-9:]+ left$", last)
    assert len(last) <= 60


# ---- what goes wrong -------------------------------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"guidance_scale": NAN}, "guidance_scale.*finite"),
        ({"guidance_scale": float("inf")}, "guidance_scale.*finite"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"guidance_scale": "strong"}, "guidance_scale"),
        ({"num_inference_steps": 1001}, "num_inference_steps.*1000"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 2.5}, "num_inference_steps"),
        ({"height": 17}, "height=17.*multiples of 8 pixels; use 16"),
        ({"width": 4}, "width"),
        ({"batch_size": 0}, "batch_size"),
        ({"scheduler": "unipx"}, 'no scheduler "unipx".*unipc'),
        ({"weighting": "double"}, "weighting"),
        ({"clock": "sundial"}, "clock"),
        ({"true_cfg_scale": 2.0}, "StableDiffusionPipeline takes no true_cfg_scale"),
        ({"dialect": "klingon"}, "klingon"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_error(
    sd: ImagePipeline, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        generate(sd, "sd1", "a cat", 1, **asked)


@pytest.mark.parametrize("steps", [101, 1000])
@pytest.mark.parametrize("scheduler", ["ddim", "euler", "unipc", "dpmpp_2m", "pndm"])
@pytest.mark.few(3)
def test_more_steps_than_the_model_was_trained_for_are_refused(
    tiny_pipe: Callable[[str], Any], scheduler: str, steps: int
) -> None:
    from diffusers import DDIMScheduler

    pipe = tiny_pipe("sd1")
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, num_train_timesteps=100)
    with pytest.raises(ConfigError, match=f"{steps} steps.*100"):
        ImagePipeline(pipe).generate(
            "a cat", 1, num_inference_steps=steps, scheduler=scheduler, height=SIZE, width=SIZE
        )


@pytest.mark.parametrize(
    ("prompts", "seeds", "message"),
    [
        (["a", "b", "c"], [1, 2], "2 seeds for 3 prompts"),
        (["a"], [1, 2], "2 seeds for 1 prompt"),
        (["a"], [], "no seed"),
        ("a", [], "no seed"),
        ([], [], "no prompt"),
        ([], 1, "no prompt"),
        ("a", None, "seed must be an integer"),
        ("a", 1.5, "seed must be an integer"),
        ("a", [1.5], "seed must be an integer"),
        ("a", "12", "seed must be an integer"),
        ("a", [True], "seed must be an integer"),
        ("a", True, "seed must be an integer"),
        ("a", [-1], "seed must be an integer"),
        ("a", 2**64, "seed must be an integer"),
        ("a", [NAN], "seed must be an integer"),
        ([None], [1], "must be a string or a DFPrompt"),
        (None, 1, "must be a string or a DFPrompt"),
        (7, 1, "must be a string or a DFPrompt"),
        ("half \ud800 a character", 1, "surrogate"),
    ],
)
def test_prompts_and_seeds_that_do_not_pair(
    sd: ImagePipeline, prompts: Any, seeds: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(sd, "sd1", prompts, seeds)


def test_prompts_that_do_not_parse_and_negatives_that_do_not_pair(sd: ImagePipeline) -> None:
    with pytest.raises(ParseError):
        generate(sd, "sd1", ["a cat", "a [dog:0.2->0.8]"], 1)
    with pytest.raises(ConfigError, match="negative"):
        generate(sd, "sd1", ["a", "b", "c"], 1, negative_prompt=["x", "y"])
    with pytest.raises(ParseError):
        generate(sd, "sd1", "a cat", 1, negative_prompt="[x:0->1]")


def test_nothing_is_drawn_before_all_is_checked(sd: ImagePipeline) -> None:
    with out_of_memory_above(sd.pipe.unet, 100) as seen, pytest.raises(ParseError):
        generate(sd, "sd1", ["a cat", "a [dog:0.2->0.8]"], 1, batch_size=1)
    assert not seen


@pytest.mark.parametrize("share", [False, True])
def test_a_picture_of_nan_is_named_with_its_seed(tiny_pipe: Callable[[str], Any], share: bool) -> None:
    pipe = tiny_pipe("sd1")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.bias.fill_(NAN)
    with pytest.raises(
        GenerationError, match=r"1 of 1 pictures came out as NaN: a \[cat::1.5\] \(seed 9\).*float32"
    ):
        ImagePipeline(pipe).generate("a [cat::1.5]", 9, share=share, **SMALL)


def test_what_the_stock_call_refuses_is_our_error(
    tiny_pipe: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise ValueError("`callback_steps` has to be a positive integer")

    pipe = tiny_pipe("sd1")
    monkeypatch.setattr(pipe, "check_inputs", refuse)
    with pytest.raises(GenerationError, match="StableDiffusionPipeline refused to draw: `callback_steps`"):
        ImagePipeline(pipe).generate("a cat", 1, **SMALL)


@pytest.mark.parametrize("share", [False, True])
def test_pictures_hidden_by_a_safety_checker_are_said(tiny_pipe: Callable[[str], Any], share: bool) -> None:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    vision = {
        **{"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1},
        **{"image_size": 16, "patch_size": 8},
    }
    pipe = tiny_pipe("sd1")
    pipe.safety_checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=4))
    pipe.safety_checker.concept_embeds_weights.fill_(-2.0)  # below any cosine: everything is hidden
    size = {"height": 16, "width": 16}
    pipe.feature_extractor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size)
    with pytest.warns(DFPromptWarning, match=r"replaced 2 pictures by black ones \(seeds 3, 4\)"):
        drawn = ImagePipeline(pipe).generate("a cat", [3, 4], share=share, **SMALL)
    assert drawn.abs().max() == 0


def test_pipelines_that_start_from_a_picture_are_refused(tiny_pipe: Callable[[str], Any]) -> None:
    for name in ("sd1-img2img", "sd1-inpaint", "sd1-controlnet"):
        with pytest.raises(UnsupportedPipelineError, match=r"starts from a picture.*dfprompt\.prepare"):
            ImagePipeline(tiny_pipe(name))
