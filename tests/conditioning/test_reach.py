"""The list of classes: made by code, from the installed diffusers and stored results."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import diffusers
import pytest

from dfprompt.conditioning.reach import describe_reach, list_reach, read_results


def test_every_class_with_a_prompt_is_listed_once():
    reach = {each.name: each for each in list_reach()}
    assert len(reach) == len(list_reach()) > 200
    assert reach["StableDiffusionXLPipeline"].how == "special"
    assert reach["PixArtSigmaPipeline"].how == "generic"
    assert reach["KandinskyV22CombinedPipeline"].how == "no"
    assert all(each.reason for each in reach.values())


@pytest.mark.nightly
def test_the_same_classes_are_found_where_the_sources_are_parsed():
    found = set()
    for file in (Path(diffusers.__file__).parent / "pipelines").rglob("pipeline_*.py"):
        for kind in ast.parse(file.read_text(encoding="utf-8")).body if "onnx" not in file.name else ():
            for method in kind.body if isinstance(kind, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and method.name == "__call__":
                    taken = {each.arg for each in (*method.args.args, *method.args.kwonlyargs)}
                    if "prompt" in taken and kind.name.endswith("Pipeline"):
                        found.add(kind.name)
    assert [each.name for each in list_reach()] == sorted(found)


def test_the_stored_results_are_of_the_version_that_is_tried():
    assert read_results()["diffusers"] == diffusers.__version__
    drawn = [found for found in read_results()["classes"].values() if found["verdict"] == "drawn"]
    assert len(drawn) >= 154
    assert all(found["plain"] == found["full"] == found["switch"] == 0 < found["effect"] for found in drawn)
    assert all(found["batched"] <= 2e-5 for found in drawn if found["how"] == "special")
    assert all(found["mixed"] is None or found["mixed"] <= 1e-4 for found in drawn)
    assert all(found["evaluations"] <= found["steps"] + 1 for found in drawn if found["how"] == "generic")


def test_the_status_page_lists_every_class_as_the_code_does():
    page = (Path(__file__).resolve().parents[2] / "docs" / "status.md").read_text(encoding="utf-8")
    assert describe_reach() in page


def test_the_command_lists_them(cli):
    answer = json.loads(cli("capabilities", "--classes", "--json").stdout)
    assert {"name", "how", "weights", "reason"} == set(answer["classes"][0])


def test_a_users_progress_bar_stays_as_it_was(tiny_pipe):
    from dfprompt.pipeline.image_pipeline import ImagePipeline

    pipe = tiny_pipe("sd1")
    pipe.set_progress_bar_config(desc="mine")
    before = dict(pipe._progress_bar_config)
    ImagePipeline(pipe).generate("a cat", seeds=1, num_inference_steps=2, height=16, width=16)
    assert pipe._progress_bar_config == before
