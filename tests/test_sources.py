"""Devices, precisions and downloads: one rule each, and a clear word where something is not there."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelInfo

from dfprompt import sources
from dfprompt.api.policies import load_policy
from dfprompt.api.rewards import load_reward
from dfprompt.data.readers import read_records
from dfprompt.errors import ConfigError, DFPromptError, DFPromptWarning, LoadError
from dfprompt.sources import (
    check_device,
    download,
    find_cached,
    hub_id_of,
    is_hub_id,
    pick_device,
    pick_dtype,
)


def test_the_check_before_anything_heavy_imports_nothing_heavy() -> None:
    code = "import sys; from dfprompt.sources import check_device; check_device('cpu'); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "huggingface_hub", "diffusers"} & set(ran.stdout.split())


@pytest.mark.parametrize("device", ["auto", "cpu", "cpu:0"])
def test_what_is_there_passes_both(device: str) -> None:
    check_device(device)
    pick_device(device)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "CUDA", "cuda 0", "abacus"])
def test_what_is_no_device_is_said_by_both(device: str) -> None:
    for check in (check_device, pick_device):
        with pytest.raises(ConfigError, match=r"no device|is not there"):
            check(device)


def test_without_a_driver_cuda_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(sources, "_ROCM", tmp_path / "kfd")
    with pytest.raises(ConfigError, match=r"cuda.*is not there.*use auto or cpu"):
        check_device("cuda")
    (tmp_path / "kfd").touch()
    check_device("cuda:1")


def test_a_gpu_of_another_maker_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ConfigError, match=r"mps.*is not there"):
        check_device("mps")


def test_precisions() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert pick_dtype("auto", cpu, half="bfloat16") == torch.float32
    assert pick_dtype("auto", gpu) == torch.float16
    assert pick_dtype("float16", cpu) == torch.float16
    assert pick_dtype(torch.bfloat16, cpu) == torch.bfloat16
    with pytest.raises(ConfigError, match=r'no dtype "float8".*float'):
        pick_dtype("float8", cpu)


@pytest.mark.parametrize(
    "text", ["a", "a/b/c", "/a/b", "../b", "a/", "a b/c", "a/../b", "http://x/y", ".a/b"]
)
def test_paths_and_addresses_are_no_hub_ids(text: str) -> None:
    assert not is_hub_id(text)


@pytest.mark.parametrize("name", ["heads/sac.pth", "mine/best.safetensors", "ds/prompts.parq", "a/b.GGUF"])
def test_a_name_that_ends_as_files_do_asks_nobody(name: str) -> None:
    assert hub_id_of(name) is None  # and warns of nothing
    assert hub_id_of(f"hub:{name}") == name


@pytest.mark.parametrize("read", [load_policy, load_reward, lambda name: list(read_records(name))])
def test_no_reader_takes_a_missing_file_for_a_model_of_the_hub(read: Callable[[str], object]) -> None:
    with pytest.raises(DFPromptError) as caught:
        read("mine/missing.pth")
    assert "hf download" not in str(caught.value)


def test_size_licence_and_folder_are_said_before_the_first_byte(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the hub would answer stands in for it; there is no network in the tests."""
    files = [
        {"rfilename": "config.json", "size": 1_000},
        {"rfilename": "model.safetensors", "size": 1_499_999_000},
        {"rfilename": "model.bin", "size": 9_000_000_000},
    ]
    info = ModelInfo(id="someone/some", siblings=files, tags=["pytorch", "license:mit"])
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: info)
    asked: list[object] = []

    def fetch(hub_id: str, **options: object) -> str:
        asked.append((hub_id, options["allow_patterns"]))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    wanted = ["config.json", "model.safetensors"]
    with pytest.warns(DFPromptWarning, match=r"downloading someone/some: 1.50 GB, licence mit, into /"):
        assert download("someone/some", lambda names: [n for n in names if n in wanted]) == tmp_path
    assert asked == [("someone/some", wanted)]


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_offline_the_command_that_fetches_it_is_named(kind: sources.RepoKind) -> None:
    assert find_cached("someone/absent", kind=kind) is None
    with pytest.raises(LoadError, match="cannot be downloaded now") as caught:
        download("someone/absent", list, kind=kind)
    assert ("--repo-type dataset" in str(caught.value)) == (kind == "dataset")
    assert "hf download" in str(caught.value)


def test_a_name_that_looks_like_a_folder_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    named_so = [
        "runs/sft",
        "models/sd15",
        "mine/policy",
        "Runs/x",
        "./a/b",
        "a/b/c",
        "",
        "x",
        "a" * 5000 + "/b",
    ]
    for named in named_so:
        assert hub_id_of(named) is None, named
    assert hub_id_of("hub:runs/sft") == "runs/sft"
    with pytest.raises(LoadError, match="hub:owner/name"):
        hub_id_of("hub:../secrets")


def test_the_bare_form_of_a_hub_id_warns_once() -> None:
    with pytest.warns(DFPromptWarning, match="hub:only/once"):
        assert hub_id_of("only/once") == "only/once"
    assert hub_id_of("only/once") == "only/once"  # a second warning would be an error here
