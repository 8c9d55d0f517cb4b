"""The community pipeline and the modular block, loaded by diffusers' own loaders, against `dfprompt.run`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler, ModularPipeline, ModularPipelineBlocks
from diffusers.modular_pipelines import InputParam, OutputParam, SequentialPipelineBlocks

import dfprompt
from dfprompt.errors import ConfigError, ParseError, UnsupportedPipelineError
from runs import generators, length_arguments

FOLDER = Path(__file__).resolve().parents[2] / "integrations" / "diffusers"
TEXT, NEGATIVE = "a red house, [snow:late], [film:early:1.3]", "old[ grain:late]"
LOADERS = [ModularPipelineBlocks, ModularPipeline]


@pytest.fixture(autouse=True)
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let diffusers copy the files into a folder of the test, and forget what it imported from there."""
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.startswith("diffusers_modules")]:
        del sys.modules[name]


def call_of(name: str) -> dict[str, Any]:
    guided = {"true_cfg_scale": 2.0} if name in ("flux", "qwen-image") else {"guidance_scale": 4.0}
    return {"num_inference_steps": 4, "height": 16, "width": 16, "output_type": "pt", **guided} | (
        length_arguments(name)
    )


def load(folder: Path, custom: Path = FOLDER) -> Any:
    return DiffusionPipeline.from_pretrained(str(folder), custom_pipeline=str(custom), trust_remote_code=True)


def drawn(pipe: Any, name: str, text: str = TEXT) -> torch.Tensor:
    found: torch.Tensor = dfprompt.run(pipe, text, NEGATIVE, **call_of(name), generator=generators(7)).images
    return found


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux", "qwen-image"])
def test_both_draw_what_run_draws(tiny_folder: Callable[[str], Path], tiny_pipe: Any, name: str) -> None:
    own = tiny_pipe(name)
    expected = drawn(own, name)
    assert not torch.equal(expected, drawn(own, name, "a red house"))  # the ranges do something
    community = load(tiny_folder(name))
    found = community(TEXT, NEGATIVE, **call_of(name), generator=generators(7)).images
    assert torch.equal(found, expected)
    block = ModularPipelineBlocks.from_pretrained(str(FOLDER), trust_remote_code=True).init_pipeline()
    block.update_components(pipeline=own)
    shared = {key: value for key, value in call_of(name).items() if key in block.blocks.input_names}
    rest = {key: value for key, value in call_of(name).items() if key not in shared}
    found = block(
        prompt=TEXT, negative_prompt=NEGATIVE, call=rest, generator=generators(7), output="images", **shared
    )
    assert torch.equal(found, expected)


def test_the_file_alone_may_be_named_and_its_parts_may_be_changed(
    tiny_folder: Callable[[str], Path], tiny_pipe: Any
) -> None:
    pipe, own = load(tiny_folder("sd1"), FOLDER / "pipeline.py"), tiny_pipe("sd1")
    euler = EulerDiscreteScheduler.from_config(own.scheduler.config)
    pipe.scheduler = EulerDiscreteScheduler.from_config(own.scheduler.config)
    same = type(own)(**{**own.components, "scheduler": euler}, requires_safety_checker=False)
    found = pipe(TEXT, NEGATIVE, **call_of("sd1"), generator=generators(7)).images
    assert torch.equal(found, drawn(same, "sd1"))
    assert not torch.equal(found, drawn(own, "sd1"))
    pipe.set_progress_bar_config(disable=True)
    assert pipe.own._progress_bar_config == {"disable": True}
    assert pipe.model_cpu_offload_seq == own.model_cpu_offload_seq


def test_nothing_is_run_without_the_word(tiny_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(str(tiny_folder("sd1")), custom_pipeline=str(FOLDER))
    for loader in LOADERS:
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            loader.from_pretrained(str(FOLDER))


def test_what_cannot_be_is_dfprompts_own_error(tiny_folder: Callable[[str], Path], tiny_pipe: Any) -> None:
    pipe = load(tiny_folder("sd1"))
    with pytest.raises(ParseError):
        pipe("a [red house:0.5->")
    with pytest.raises(ConfigError, match='did you mean "guidance_scale"'):
        pipe("a house", guidence_scale=3.0)
    with pytest.raises(
        UnsupportedPipelineError, match=r"parts that this file does not load: \['controlnet'\]"
    ):
        load(tiny_folder("sd1-controlnet"))("a house")
    with pytest.raises(UnsupportedPipelineError, match=r"dfprompt\.run"):
        type(pipe)(**pipe.components)("a house")
    for loader in LOADERS:
        found = loader.from_pretrained(str(FOLDER), trust_remote_code=True)
        block = found if loader is ModularPipeline else found.init_pipeline()
        with pytest.raises(ConfigError, match="update_components"):
            block(prompt="a house")
        block.update_components(pipeline=tiny_pipe("sd1"))
        with pytest.raises(ParseError):
            block(prompt="a [red house:0.5->")


class Words(ModularPipelineBlocks):
    """A block before ours: it writes the prompt."""

    @property
    def inputs(self) -> list[InputParam]:
        return [InputParam("subject", required=True)]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("prompt")]

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        said = self.get_block_state(state)
        said.prompt = f"{said.subject}, [snow:late], [film:early:1.3]"
        self.set_block_state(state, said)
        return components, state


def test_the_block_stands_among_others(tiny_pipe: Any) -> None:
    ours = ModularPipelineBlocks.from_pretrained(str(FOLDER), trust_remote_code=True)
    blocks = SequentialPipelineBlocks.from_blocks_dict({"words": Words(), "draw": ours})
    drawing = blocks.init_pipeline()
    drawing.update_components(pipeline=tiny_pipe("sd1"))
    state = drawing(
        subject="a red house", negative_prompt=NEGATIVE, generator=generators(7), **call_of("sd1")
    )
    assert torch.equal(state.images, drawn(tiny_pipe("sd1"), "sd1"))


def test_the_files_hold_no_rule_and_name_every_part() -> None:
    """They import the package's door and nothing from its rooms."""
    for name in ("pipeline.py", "block.py"):
        tree = ast.parse((FOLDER / name).read_text(encoding="utf-8"))
        froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {each for each in froms if each and each.startswith("dfprompt")} <= {"dfprompt.errors"}
