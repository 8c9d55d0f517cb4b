"""The image pipeline seam: what `generate` holds for every family, whoever drew the pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import tiny_pipelines
from dfprompt.errors import ConfigError, InputError
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.requests.render import RenderSettings
from runs import SIZE, length_arguments

pytestmark = pytest.mark.few("sd1", "sdxl", "flux")

FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "sd3-without-t5", "flux", "qwen-image")
# float32 on the CPU: a row's convolutions may be summed in another order in another batch.
TOLERANCE = 2e-5
PROMPTS = ["a red house", "[a red house:early][an old blue cat:late]", "a dog, [snow:0.75->0.25]"]
SEEDS = [3, 2**63, 3]
Generate = Callable[..., torch.Tensor]


@pytest.fixture(scope="module", params=FAMILIES)
def pipeline(request: pytest.FixtureRequest, tiny_folder: Any) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder(request.param)))


@pytest.fixture
def generate(pipeline: ImagePipeline) -> Generate:
    """`generate` of three steps at the tests' size."""
    lengths = length_arguments("sd3" if pipeline.family == "sd3" else pipeline.family)
    usual = {"num_inference_steps": 3, "height": SIZE, "width": SIZE, **lengths}
    return lambda prompts, seeds, **asked: pipeline.generate(prompts, seeds, **{**usual, **asked})


def test_pictures_are_float32_in_the_unit_range_on_the_cpu(generate: Generate) -> None:
    images = generate(PROMPTS, SEEDS, height=2 * SIZE)
    assert images.shape == (3, 3, 2 * SIZE, SIZE)
    assert (images.dtype, images.device.type, images.requires_grad) == (torch.float32, "cpu", False)
    assert 0 <= images.min() < images.max() <= 1


def test_the_same_call_draws_the_same_bits(generate: Generate) -> None:
    assert torch.equal(generate(PROMPTS, SEEDS), generate(PROMPTS, SEEDS))


def test_prompt_and_seed_both_matter(generate: Generate) -> None:
    first = generate(["a red house"], [1])
    for prompt, seed in (
        ("a red house", 2),
        ("an old blue cat", 1),
        ("a red house, [an old blue cat:early]", 1),
    ):
        assert (generate([prompt], [seed]) - first).abs().max() > 5 * TOLERANCE


def test_shuffling_the_batch_shuffles_the_pictures(generate: Generate) -> None:
    images, order = generate(PROMPTS, SEEDS), [2, 0, 1]
    shuffled = generate([PROMPTS[row] for row in order], [SEEDS[row] for row in order])
    torch.testing.assert_close(shuffled, images[order], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_batch_size_changes_nothing(generate: Generate, batch_size: int) -> None:
    sliced = generate(PROMPTS, SEEDS, batch_size=batch_size)
    torch.testing.assert_close(sliced, generate(PROMPTS, SEEDS), atol=TOLERANCE, rtol=0)


@pytest.mark.filterwarnings("ignore:every picture is drawn by itself")
def test_sharing_changes_nothing(generate: Generate) -> None:
    prompts, seeds = [*PROMPTS, PROMPTS[0]], [*SEEDS, 3]
    shared = generate(prompts, seeds, share=True)
    torch.testing.assert_close(shared, generate(prompts, seeds), atol=TOLERANCE, rtol=0)


def test_one_prompt_for_several_seeds_and_one_seed_for_several_prompts(generate: Generate) -> None:
    assert len(generate("a dog", [1, 2])) == 2
    assert len(generate(["a dog", "a cat"], 1)) == 2
    assert len(generate("a dog", 1)) == 1


def test_drawing_leaves_nothing_behind(pipeline: ImagePipeline, generate: Generate) -> None:
    def state() -> list[Any]:
        modules = [each for each in pipeline.pipe.components.values() if isinstance(each, torch.nn.Module)]
        hooks = [
            (len(module._forward_pre_hooks), len(module._forward_hooks), module.training, type(module))
            for part in modules
            for module in part.modules()
        ]
        return [hooks, pipeline.pipe.scheduler, dict(pipeline.pipe.scheduler.config)]

    before, random = state(), torch.random.get_rng_state()
    generate(PROMPTS, SEEDS, scheduler="euler")
    with pytest.raises(InputError):
        generate(["a [dog:0->1]"], [1])
    assert state() == before
    assert torch.equal(torch.random.get_rng_state(), random)


def test_progress_ends_with_everything_done(generate: Generate) -> None:
    seen: list[tuple[int, int]] = []
    generate(PROMPTS, SEEDS, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (9, 9)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"num_inference_steps": 1001}, "num_inference_steps"),
        ({"height": SIZE + 1}, f"height={SIZE + 1}"),
        ({"scheduler": "no_such"}, "no_such"),
        ({"seeds": [1, 2]}, "2 seeds for 1 prompts?"),
        ({"seeds": [-1]}, "seed"),
        ({"prompts": []}, "no prompt"),
    ],
)
def test_bad_input_is_refused_by_name(generate: Generate, asked: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        generate(**{"prompts": ["a dog"], "seeds": [1], **asked})


def test_recipes_are_enough_to_draw_again(pipeline: ImagePipeline) -> None:
    lengths = length_arguments("sd3" if pipeline.family == "sd3" else pipeline.family)
    small = RenderSettings(num_inference_steps=3, height=SIZE, width=SIZE, **lengths)
    drawn = pipeline.draw(PROMPTS, SEEDS, small)
    assert (drawn.evaluations, drawn.saved) == (9, 0)
    for row, recipe in enumerate(drawn.recipes()):
        known = {
            name: value for name, value in recipe.settings.items() if name in RenderSettings.model_fields
        }
        again = pipeline.draw(recipe.df_prompt, recipe.seed, RenderSettings(**known))
        torch.testing.assert_close(again.images[0], drawn.images[row], atol=TOLERANCE, rtol=0)
        assert recipe.model.family == pipeline.family
