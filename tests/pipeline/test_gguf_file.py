"""GGUF: a packed denoiser with the rest from a folder; other packings are refused, plain fp8 is cast."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfprompt.errors import ConfigError, LoadError
from dfprompt.pipeline.load import load_pipeline_from
from runs import generators, length_arguments
from tiny_single_file import write_gguf, write_single_file

Folder = Callable[[str], Path]
TEXT = "a red house, [snow:late]"


def load(path: Path, config: Path | None = None) -> Any:
    return load_pipeline_from(path, config=config, device="cpu", dtype="float32")


def drawn(pipeline: Any, name: str) -> torch.Tensor:
    import dfprompt

    call = {
        "num_inference_steps": 4,
        "height": 16,
        "width": 16,
        "output_type": "pt",
        **length_arguments(name),
    }
    found: torch.Tensor = dfprompt.run(pipeline.pipe, TEXT, generator=generators(3), **call).images
    return found


@pytest.mark.parametrize(("name", "part"), [("flux", "transformer"), ("sd1", "unet")])
def test_a_gguf_file_draws_as_the_folder_it_was_packed_from(
    tiny_folder: Folder, tmp_path: Path, name: str, part: str
) -> None:
    whole = drawn(load(tiny_folder(name)), name)
    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder(name), bare)
    (bare / part / "diffusion_pytorch_model.safetensors").unlink()  # the file takes its place
    same = load(write_gguf(tiny_folder(name), part, tmp_path / "same.gguf", packed=False), bare)
    torch.testing.assert_close(drawn(same, name), whole, atol=1e-5, rtol=0)
    small = load(write_gguf(tiny_folder(name), part, tmp_path / "small.gguf"), bare)
    assert small.name == "small"
    assert 0 < (drawn(small, name) - whole).abs().max() < 0.1  # 8 bits are near, and not the same
    whose = [each.origin.hash_weights() for each in (same, small, load(tiny_folder(name)))]
    assert len(set(whose)) == 3


def test_what_does_not_fit_is_told_with_the_way_out(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf(tiny_folder("sd3"), "transformer", tmp_path / "x.gguf")
    with pytest.raises(
        LoadError, match=r"x\.gguf holds a denoiser alone; pass config=FOLDER \(--config FOLDER\)"
    ):
        load(path)
    with pytest.raises(LoadError, match=r"x\.gguf cannot be loaded in place of .*unet"):
        load(path, tiny_folder("sd1"))
    with pytest.raises(LoadError, match=r"neither a folder, nor a file"):
        load(tmp_path / "nowhere.gguf", tiny_folder("sd3"))
    with pytest.raises(ConfigError, match="a folder brings its own"):
        load(tiny_folder("sd3"), tiny_folder("sd3"))
    content = path.read_bytes()
    for damaged, said in [(b"", "is no GGUF file"), (b"PK\3\4" + content, "is no GGUF file")]:
        path.write_bytes(damaged)
        with pytest.raises(LoadError, match=said):
            load(path, tiny_folder("sd3"))
    for length in (4, 24, 300, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(LoadError, match=r"x\.gguf cannot be loaded in place of"):
            load(path, tiny_folder("sd3"))
    path.write_bytes(b"GGUF" + b"\xff" * 64)  # counts of what is not there
    with pytest.raises(LoadError, match=r"x\.gguf cannot be loaded in place of"):
        load(path, tiny_folder("sd3"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LoadError, match=r'pip install "dfprompt\[gguf\]"'):
        load(path, tiny_folder("sd3"))


def test_plain_fp8_is_cast(tiny_folder: Folder, tmp_path: Path) -> None:
    path = write_single_file(tiny_folder("sd1"), tmp_path / "tiny.safetensors")
    tensors = {
        name: each.to(torch.float8_e4m3fn) if "diffusion_model" in name and each.dim() > 1 else each
        for name, each in load_file(path).items()
    }
    save_file(tensors, path)
    pipeline = load(path, tiny_folder("sd1"))
    rounded = load(tiny_folder("sd1"))
    with torch.no_grad():
        for parameter in rounded.pipe.unet.parameters():
            if parameter.dim() > 1:
                parameter.copy_(parameter.to(torch.float8_e4m3fn).float())
    assert pipeline.pipe.unet.dtype == torch.float32
    assert torch.equal(drawn(pipeline, "sd1"), drawn(rounded, "sd1"))


@pytest.mark.parametrize(
    "name",
    [
        "scaled_fp8",
        "model.diffusion_model.out.2.scale_weight",
        "model.diffusion_model.out.2.weight_scale",
        "model.diffusion_model.out.2.scale_input",
        "model.diffusion_model.out.2.comfy_quant",
        "model.diffusion_model.out.2.weight.absmax",
        "model.diffusion_model.out.2.weight.quant_state.bitsandbytes__nf4",
    ],
)
def test_weights_that_need_scales_are_refused(tiny_folder: Folder, tmp_path: Path, name: str) -> None:
    """They would be read without their scales, and draw noise without a word."""
    path = write_single_file(tiny_folder("sd1"), tmp_path / "tiny.safetensors")
    save_file({**load_file(path), name: torch.ones(1)}, path)
    with pytest.raises(LoadError, match=r"packed weights with scales.*plain fp8, or GGUF"):
        load(path, tiny_folder("sd1"))
