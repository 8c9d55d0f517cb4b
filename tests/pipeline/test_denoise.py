"""The lockstep loop: the stock pipeline's pictures, and every distinct computation made exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_pipelines
from dfprompt.errors import DFPromptWarning, GenerationError, UnsupportedPipelineError
from dfprompt.pipeline.denoise import check_lockstep
from dfprompt.pipeline.image_pipeline import ImagePipeline, Pictures
from dfprompt.pipeline.row_state import ROW_STATE, check_row_state, select_rows
from dfprompt.pipeline.schedulers import make_scheduler, schedulers_for
from dfprompt.pipeline.sharing import count_evaluations, share_rows
from dfprompt.prompt import parse_prompt
from dfprompt.prompt.plan import make_plan
from dfprompt.requests.render import RenderSettings
from property_profiles import examples
from runs import SIZE, draw, generators

# float32 on the CPU: the denoiser sums a row's convolutions in another order in another batch.
TOLERANCE = 2e-5
NAMED = ("ddim", "euler", "dpmpp_2m", "unipc")
ABLATION = [
    "a cat",
    *(f"a cat[, old film grain:{span}]" for span in ("1->0", "1->0.5", "0.5->0", "0.75->0.25", "0.25->0")),
]
SWEEP = ["a cat", *(f"a cat[, old film grain:1->{tenth / 10}]" for tenth in range(10))]
# Rows that part at different steps, and rows that never do; the last has another noise.
MIXED = [*ABLATION[:4], "a cat", "a [cat::1.4] in the snow", "a cat[, old film grain:1->0.5]"]
MIXED_SEEDS = [3, 3, 3, 3, 3, 3, 4]


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


@pytest.fixture(scope="module")
def sdxl(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sdxl")))


def render(
    pipeline: ImagePipeline, prompts: Sequence[str], seeds: Sequence[int], *, share: bool, **asked: Any
) -> Pictures:
    chosen = RenderSettings(**{"num_inference_steps": 6, "height": SIZE, "width": SIZE, **asked})
    negative = "ugly[, film:0.5->0]" if chosen.guidance_scale is None else None
    return pipeline.draw(list(prompts), list(seeds), chosen, negative_prompt=negative, share=share)


def assert_same(first: torch.Tensor, second: torch.Tensor) -> None:
    torch.testing.assert_close(first, second, atol=TOLERANCE, rtol=0)


@contextmanager
def counted_rows(denoiser: torch.nn.Module) -> Iterator[list[int]]:
    """The number of rows of every call of the denoiser, as it really happens."""
    rows: list[int] = []
    handle = denoiser.register_forward_pre_hook(lambda _module, arguments: rows.append(len(arguments[0])))
    try:
        yield rows
    finally:
        handle.remove()


def naive_count(prompts: Sequence[str], seeds: Sequence[int], steps: int) -> int:
    """Distinct pairs of noise and everything heard so far, from the plans alone."""
    pairs = set()
    for prompt, seed in zip(prompts, seeds, strict=True):
        heard = [(step.text, step.weights) for step in make_plan(parse_prompt(prompt), steps).steps]
        pairs |= {(seed, tuple(heard[: k + 1])) for k in range(steps)}
    return len(pairs)


# ---- the pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", NAMED)
@pytest.mark.parametrize("model", ["sd", "sdxl"])
@pytest.mark.few(4)
def test_the_loop_draws_the_stock_pipelines_pictures(
    request: pytest.FixtureRequest, model: str, scheduler: str
) -> None:
    pipeline = request.getfixturevalue(model)
    apart, shared = (
        render(pipeline, MIXED, MIXED_SEEDS, share=share, scheduler=scheduler) for share in (False, True)
    )
    assert shared.saved > 0
    assert_same(shared.images, apart.images)
    # What would go unnoticed if every picture were the same:
    assert (apart.images[1:4] - apart.images[0]).abs().amax((1, 2, 3)).min() > 20 * TOLERANCE


@pytest.mark.parametrize("scheduler", sorted(set(schedulers_for("diffusion")) - set(NAMED)))
@pytest.mark.few(4)
def test_so_it_does_under_every_other_scheduler_by_name(sd: ImagePipeline, scheduler: str) -> None:
    prompts, seeds = [*ABLATION[:4], ABLATION[1]], [3, 3, 3, 3, 4]
    apart, shared = (render(sd, prompts, seeds, share=share, scheduler=scheduler) for share in (False, True))
    assert shared.saved > 0
    assert torch.isfinite(apart.images).all()
    assert_same(shared.images, apart.images)


@pytest.mark.parametrize("scheduler", NAMED)
def test_plain_rows_are_what_the_stock_call_alone_draws(sd: ImagePipeline, scheduler: str) -> None:
    prompts, seeds = ["a red house", "a dog", "a red house"], (5, 6, 7)
    ours = render(sd, prompts, seeds, share=True, scheduler=scheduler, guidance_scale=5.0)
    own = sd.pipe.scheduler
    sd.pipe.scheduler = make_scheduler(scheduler, sd.pipe)
    inputs = {"prompt": prompts, "num_inference_steps": 6, "guidance_scale": 5.0}
    stock = draw(sd.pipe, "sd1", inputs, seeds)
    sd.pipe.scheduler = own
    assert_same(ours.images, stock)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("model", ["sd", "sdxl"])
@pytest.mark.few(2)
def test_guidance_on_and_off(request: pytest.FixtureRequest, model: str, guidance: float) -> None:
    pipeline = request.getfixturevalue(model)
    apart, shared = (
        render(pipeline, MIXED, MIXED_SEEDS, share=share, guidance_scale=guidance) for share in (False, True)
    )
    assert_same(shared.images, apart.images)
    with counted_rows(pipeline.pipe.unet) as rows:
        again = render(pipeline, MIXED, MIXED_SEEDS, share=True, guidance_scale=guidance)
    assert sum(rows) == again.evaluations * (2 if guidance > 1 else 1)


@pytest.mark.parametrize(
    "asked",
    [
        {"clock": "timestep"},
        {"absence": "mask"},
        {"weighting": "scale"},
        {"clip_skip": 1},
        {"height": 24},
        {"vae_tiling": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["sd", "sdxl"])
@pytest.mark.few(5)
def test_every_setting_reaches_the_loop(
    request: pytest.FixtureRequest, model: str, asked: dict[str, Any]
) -> None:
    pipeline = request.getfixturevalue(model)
    prompts, seeds = ["a cat[, old film grain:1->0.7]", MIXED[3], MIXED[5]], [1, 1, 1]
    apart, shared = (
        render(pipeline, prompts, seeds, share=share, num_inference_steps=4, **asked)
        for share in (False, True)
    )
    assert_same(shared.images, apart.images)
    usual = render(pipeline, prompts, seeds, share=False, num_inference_steps=4)
    if not asked.keys() & {"height", "vae_tiling"}:  # tiles of these small pictures are the whole picture
        assert (shared.images - usual.images).abs().max() > 5 * TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
@pytest.mark.few(2)
def test_half_precision(tiny_pipe: Callable[[str], Any], name: str, dtype: torch.dtype) -> None:
    pipeline = ImagePipeline(tiny_pipe(name).to(dtype))
    apart, shared = (
        render(pipeline, MIXED[:4], MIXED_SEEDS[:4], share=share, num_inference_steps=4)
        for share in (False, True)
    )
    # Eight bits of mantissa, or eleven: a few roundings of the latents, seen through the decoder.
    tolerance = 0.05 if dtype == torch.bfloat16 else 0.01
    torch.testing.assert_close(shared.images, apart.images, atol=tolerance, rtol=0)
    assert pipeline.pipe.vae.dtype == dtype


def test_a_model_distilled_for_guidance_gets_it_as_an_input(tiny_folder: Callable[[str], Path]) -> None:
    pipe = tiny_pipelines.load(tiny_folder("sd1"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        pipe.unet = tiny_pipelines._unet(time_cond_proj_dim=8).eval()
    pipeline = ImagePipeline(pipe)
    weak, strong = (
        render(pipeline, MIXED, MIXED_SEEDS, share=True, scheduler="lcm", guidance_scale=scale)
        for scale in (2.0, 9.0)
    )
    apart = render(pipeline, MIXED, MIXED_SEEDS, share=False, scheduler="lcm", guidance_scale=9.0)
    assert_same(strong.images, apart.images)
    assert (strong.images - weak.images).abs().max() > 20 * TOLERANCE


def test_without_guidance_rows_that_differ_in_the_negative_prompt_are_one(sd: ImagePipeline) -> None:
    def count(guidance: float) -> int:
        chosen = RenderSettings(num_inference_steps=4, guidance_scale=guidance, height=SIZE, width=SIZE)
        negative = ["ugly", "film"]
        return sd.draw(["a cat"] * 2, [1, 1], chosen, negative_prompt=negative, share=True).evaluations

    with pytest.warns(DFPromptWarning, match="does nothing"):
        assert count(1.0) == 4
    assert count(3.0) == 8


def test_the_negative_prompt_is_heard_when_it_is_due(sd: ImagePipeline) -> None:
    def both(share: bool) -> Pictures:
        chosen = RenderSettings(num_inference_steps=4, height=SIZE, width=SIZE)
        negative = ["ugly", "ugly[, old film:0.5->0]", ""]
        return sd.draw(["a cat"] * 3, [1, 1, 1], chosen, negative_prompt=negative, share=share)

    apart, shared = both(share=False), both(share=True)
    assert_same(shared.images, apart.images)
    assert shared.evaluations == 4 + 2 + 4
    assert shared.saved == 2


@pytest.mark.parametrize(
    ("batch_size", "scheduler"), [(1, "unipc"), (2, "euler"), (3, "dpmpp_2m"), (2, "heun")]
)
@pytest.mark.few(2)
def test_small_slices_draw_the_same(sd: ImagePipeline, batch_size: int, scheduler: str) -> None:
    with counted_rows(sd.pipe.unet) as rows:
        sliced = render(sd, ABLATION, [7] * 6, share=True, batch_size=batch_size, scheduler=scheduler)
    assert max(rows) <= 2 * batch_size
    whole = render(sd, ABLATION, [7] * 6, share=True, scheduler=scheduler)
    assert_same(sliced.images, whole.images)
    assert sliced.evaluations == whole.evaluations


def test_rows_of_other_lengths_in_the_batch_change_nothing(sd: ImagePipeline) -> None:
    long = "a cat, " + ", ".join(["an old film photo of a house in the snow"] * 9)
    shared = render(sd, [*ABLATION[:3], long], [1, 1, 1, 1], share=True)
    apart = render(sd, ABLATION[:3], [1, 1, 1], share=False)
    assert_same(shared.images[:3], apart.images)
    assert shared.evaluations == naive_count([*ABLATION[:3], long], [1] * 4, 6)


@settings(max_examples=examples(8))
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.sampled_from(["", ", old film", ", anime"]),
            st.sampled_from(["1->0", "1->0.5", "0.5->0", "0.75->0.25"]),
            st.sampled_from(["", ":0.5", ":1.5", ":0.5->1.5"]),
        ),
        min_size=1,
        max_size=5,
    ),
    scheduler=st.sampled_from(NAMED),
)
def test_splitting_never_changes_a_picture(sd: ImagePipeline, rows: Any, scheduler: str) -> None:
    prompts = [
        f"a dog[{words}:{span}{weight}] in the snow" if words else "a dog" for _, words, span, weight in rows
    ]
    seeds = [seed for seed, *_ in rows]
    apart, shared = (
        render(sd, prompts, seeds, share=share, num_inference_steps=4, scheduler=scheduler, guidance_scale=4)
        for share in (False, True)
    )
    assert_same(shared.images, apart.images)
    assert shared.evaluations == naive_count(prompts, seeds, 4)
    assert shared.evaluations + shared.saved == 4 * len(rows)


# ---- the count -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "done", "together"), [(ABLATION, 39, 60), (SWEEP, 65, 110)], ids=["ablation", "sweep"]
)
@pytest.mark.parametrize("scheduler", NAMED)
@pytest.mark.few(3)
def test_ten_steps_of_an_ablation_and_of_a_sweep(
    sd: ImagePipeline, prompts: list[str], done: int, together: int, scheduler: str
) -> None:
    seeds = [11] * len(prompts)
    with counted_rows(sd.pipe.unet) as rows:
        shared = render(sd, prompts, seeds, share=True, num_inference_steps=10, scheduler=scheduler)
    # The negative prompt changes halfway for all rows alike, which parts none of them.
    assert naive_count(prompts, seeds, 10) == done
    assert (shared.evaluations, shared.saved) == (done, together - done)
    assert sum(rows) == 2 * done  # with the negative pass


def test_different_seeds_never_share(sd: ImagePipeline) -> None:
    drawn = render(sd, ["a cat"] * 4, [1, 2, 3, 4], share=True)
    assert (drawn.evaluations, drawn.saved) == (24, 0)
    assert len({image.numpy().tobytes() for image in drawn.images}) == 4


def test_equal_rows_are_drawn_once_and_are_bit_identical(sd: ImagePipeline) -> None:
    drawn = render(sd, ["a cat", "a dog", "a cat"], [1, 1, 1], share=True)
    assert (drawn.evaluations, drawn.saved) == (12, 6)
    assert torch.equal(drawn.images[0], drawn.images[2])
    assert not torch.equal(drawn.images[0], drawn.images[1])


def test_two_spellings_of_one_prompt_share_all_of_it(sd: ImagePipeline) -> None:
    drawn = render(sd, ["a cat", "a [cat:1->0:1]", "[a:full] cat"], [1, 1, 1], share=True)
    assert drawn.evaluations == 6


def test_a_sampler_that_asks_twice_per_step_counts_twice(sd: ImagePipeline) -> None:
    drawn = render(sd, ABLATION[:3], [1] * 3, share=True, num_inference_steps=10, scheduler="heun")
    # Its first five steps are ten evaluations; the early row leaves the full one at the eleventh of 19.
    assert (drawn.evaluations, drawn.saved) == (19 + 19 + 9, 10)


def test_progress_counts_what_is_shared_too(sd: ImagePipeline) -> None:
    seen: list[tuple[int, int]] = []
    chosen = RenderSettings(num_inference_steps=3, height=SIZE, width=SIZE)
    sd.draw(["a cat"] * 2, [1, 1], chosen, share=True, progress=lambda *at: seen.append(at))
    assert seen == [(2, 6), (4, 6), (6, 6), (6, 6)]


words = st.lists(st.sampled_from("abc"), min_size=5, max_size=5)


@given(st.lists(st.tuples(st.integers(0, 2), words), min_size=1, max_size=8))
def test_a_level_has_one_computation_for_each_distinct_past(rows: list[tuple[int, list[str]]]) -> None:
    noises, hears = [noise for noise, _ in rows], [heard for _, heard in rows]
    levels = share_rows(noises, hears)
    assert len(levels) == 5
    for k, level in enumerate(levels):
        pasts = [(noise, *heard[: k + 1]) for noise, heard in rows]
        assert len(level.rows) == len(set(pasts))
        for row, past in enumerate(pasts):
            assert pasts[level.rows[level.group_of[row]]] == past
        if k:
            before = [(noise, *heard[:k]) for noise, heard in rows]
            for row, parent in zip(level.rows, level.parents, strict=True):
                assert before[levels[k - 1].rows[parent]] == before[row]
    assert count_evaluations(levels) == len(
        {(noise, *heard[: k + 1]) for noise, heard in rows for k in range(5)}
    )


def test_no_rows_are_no_levels() -> None:
    assert share_rows([], []) == []


# ---- a scheduler's memory of its rows --------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ROW_STATE))
@pytest.mark.few(6)
def test_rows_of_a_schedulers_memory_part_as_the_latents_do(name: str) -> None:
    """Three steps of two rows, parted into three: as if the third had run beside them from the start."""
    import diffusers

    scheduler, reference = (getattr(diffusers, name)() for _ in range(2))
    check_row_state(scheduler)
    torch.manual_seed(0)
    first = torch.randn(2, 1, 4, 4)
    latents = {"parted": first, "reference": first[[0, 1, 1]]}
    for each in (scheduler, reference):
        each.set_timesteps(8)
    takes = "generator" in scheduler.step.__code__.co_varnames
    noise = {"parted": generators(1, 2), "reference": generators(1, 2, 2)}
    for k, timestep in enumerate(reference.timesteps):
        if k == 3:
            rows = torch.tensor([0, 1, 1])
            select_rows(scheduler, rows, 2)
            latents["parted"] = latents["parted"][rows]
            noise["parted"] = [*noise["parted"], torch.Generator().manual_seed(0)]
            noise["parted"][2].set_state(noise["parted"][1].get_state())
        for side, each in (("parted", scheduler), ("reference", reference)):
            more = {"generator": noise[side]} if takes else {}
            given = each.scale_model_input(latents[side], timestep)
            prediction = torch.sin(3 * given + (torch.arange(len(given)).view(-1, 1, 1, 1) > 1) * 0.5)
            latents[side] = each.step(prediction, timestep, latents[side], **more, return_dict=False)[0]
        assert len(latents["reference"]) == 3
        if k < 3:  # the third row of the reference hears what the second does, until they part
            latents["reference"][2] = latents["reference"][1]
            _copy_memory(reference)
    assert torch.allclose(latents["parted"], latents["reference"], atol=1e-6)
    assert not torch.equal(latents["parted"][1], latents["parted"][2])


def _copy_memory(scheduler: Any) -> None:
    """Give row 2 the memory of row 1, whatever the scheduler keeps: every tensor with three rows."""
    for value in vars(scheduler).values():
        for tensor in value if isinstance(value, list) else [value]:
            if isinstance(tensor, torch.Tensor) and tensor.shape == (3, 1, 4, 4):
                tensor[2] = tensor[1]


def test_a_scheduler_used_by_another_run_is_noticed(sd: ImagePipeline) -> None:
    scheduler = make_scheduler("unipc", sd.pipe)
    scheduler.set_timesteps(4)
    scheduler.step(torch.zeros(2, 4, 2, 2), scheduler.timesteps[0], torch.zeros(2, 4, 2, 2))
    with pytest.raises(GenerationError, match="remembers 2 rows where 3"):
        select_rows(scheduler, torch.tensor([0, 0]), 3)


# ---- what it refuses -------------------------------------------------------------------------------------


def test_an_unknown_scheduler_is_refused_with_those_it_knows() -> None:
    from diffusers import CMStochasticIterativeScheduler, DDIMScheduler, UniPCMultistepScheduler

    with pytest.raises(UnsupportedPipelineError, match=r"CMStochasticIterative.*UniPC.*without sharing"):
        check_row_state(CMStochasticIterativeScheduler())
    with pytest.raises(UnsupportedPipelineError, match="UniPC"):
        check_row_state(UniPCMultistepScheduler(solver_p=DDIMScheduler()))


def test_other_families_are_drawn_apart_with_a_warning(tiny_pipe: Callable[[str], Any]) -> None:
    pipe = tiny_pipe("sd3")
    with pytest.raises(UnsupportedPipelineError, match="not StableDiffusion3Pipeline; draw without sharing"):
        check_lockstep(pipe)
    pipeline = ImagePipeline(pipe)
    chosen = {"num_inference_steps": 2, "height": SIZE, "width": SIZE}
    with pytest.warns(DFPromptWarning, match="every picture is drawn by itself"):
        shared = pipeline.draw(["a cat"] * 2, [1, 1], RenderSettings(**chosen), share=True)
    assert (shared.evaluations, shared.saved) == (4, 0)
    assert torch.equal(shared.images, pipeline.draw(["a cat"] * 2, [1, 1], RenderSettings(**chosen)).images)


def test_an_ip_adapter_is_refused(tiny_pipe: Callable[[str], Any]) -> None:
    pipe = tiny_pipe("sd1")
    pipe.unet.encoder_hid_proj = torch.nn.Identity()
    with pytest.raises(UnsupportedPipelineError, match="IP-Adapter; unload it"):
        check_lockstep(pipe)
