"""What each family can do: one table, the command that prints it, and pipelines found by their index."""

from __future__ import annotations

import json

import pytest

from dfprompt.conditioning.capabilities import FAMILIES, MINI, capabilities_of
from dfprompt.conditioning.identify import identify_pipeline
from dfprompt.errors import LoadError, UnsupportedPipelineError


def test_no_class_belongs_to_two_families():
    classes = [kind for family in FAMILIES for kind in family.pipelines]
    assert len(classes) == len(set(classes))


def test_a_subclass_belongs_to_its_nearest_known_base():
    assert capabilities_of(["MyOwn", "StableDiffusionXLPipeline", "DiffusionPipeline"]).family == "sdxl"


@pytest.mark.parametrize("names", [[], ["PixArtAlphaPipeline", "DiffusionPipeline"]])
def test_an_unknown_class_is_refused_with_what_is_known(names):
    with pytest.raises(UnsupportedPipelineError, match=r"Qwen-Image.*dfprompt\.run\(pipe"):
        capabilities_of(names)


def test_the_mini_model_is_of_stable_diffusions_classes_with_its_own_rule():
    assert (MINI.family, MINI.weighting) == ("stable-diffusion", "comfy")


@pytest.mark.parametrize(
    ("source", "family"),
    [
        ("mini", "stable-diffusion"),
        ("sd3", "sd3"),
        ("FluxImg2ImgPipeline", "flux"),
        ("qwen-image", "qwen-image"),
    ],
)
def test_names_are_known_without_a_file(source, family):
    assert identify_pipeline(source).family == family


def test_folders_are_known_by_their_index(tiny_folder):
    for name, family in (("sd1-inpaint", "stable-diffusion"), ("sdxl", "sdxl"), ("qwen-image", "qwen-image")):
        assert identify_pipeline(str(tiny_folder(name))).family == family


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "model_index.json does not exist"),
        ("{", "cannot be read"),
        ("[]", "names no _class_name"),
        ('{"_class_name": 3}', "names no _class_name"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_damaged_folders_are_one_clear_error(tmp_path, index, message):
    if index is not None:
        (tmp_path / "model_index.json").write_bytes(index if isinstance(index, bytes) else index.encode())
    with pytest.raises(LoadError, match=message):
        identify_pipeline(str(tmp_path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no such folder", "neither a folder nor a hub id"),
        ("model.ckpt", "single file without an index"),
        ("hub:owner/absent", "cannot be downloaded now"),  # the tests run offline
    ],
)
def test_sources_that_lead_nowhere(source, message):
    with pytest.raises(LoadError, match=message):
        identify_pipeline(source)


def test_the_command_prints_every_family(cli):
    shown = cli("capabilities")
    assert shown.returncode == 0
    for family in FAMILIES:
        assert family.title in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100


def test_the_command_prints_one_pipeline_as_json(cli, tiny_folder):
    shown = cli("capabilities", "--pipeline", str(tiny_folder("flux")), "--json")
    answer = json.loads(shown.stdout)
    assert answer["dfprompt"] == 1
    (family,) = answer["families"]
    assert family["family"] == "flux"
    assert set(family) == {
        "family", "title", "pipelines", "ranges", "weights", "weighting", "weightings", "negative", "pooled",
        "absence", "window", "long_prompts", "lockstep", "remark",
    }  # fmt: skip
    assert (family["ranges"], family["pooled"], family["negative"]) == ("prepare", "attach", "attach")


def test_the_command_exits_with_2_for_what_it_cannot_read(cli):
    failed = cli("capabilities", "--pipeline", "nothing here")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("error: ")
