"""The build, on a miniature of the miniature: every stage, every file, any kill, the same bits."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dfprompt.errors import ConfigError, LoadError
from worlds.mini.build import Build, digest
from worlds.mini.loop import StageConfig
from worlds.mini.recipe import STAGES, MiniRecipe, miniature

ROOT = Path(__file__).resolve().parents[3]
_PIECES = ("pipeline", "clip", "aesthetic", "preference", "judge", "lm")


@pytest.fixture
def built(miniature_world: Path) -> Path:
    return miniature_world


def test_stock_classes_open_every_piece_without_dfprompt(built: Path) -> None:
    code = """
import sys
from diffusers import StableDiffusionPipeline
from transformers import AutoModelForCausalLM, AutoTokenizer, CLIPModel, CLIPTokenizer, CLIPImageProcessorPil
root = sys.argv[1]
pipe = StableDiffusionPipeline.from_pretrained(root + "/pipeline")
pipe.set_progress_bar_config(disable=True)
print(pipe("a red cat", num_inference_steps=2, output_type="np").images.shape)
for name in ("clip", "preference"):
    CLIPModel.from_pretrained(f"{root}/{name}")
    CLIPTokenizer.from_pretrained(f"{root}/{name}")
    CLIPImageProcessorPil.from_pretrained(f"{root}/{name}")
lm = AutoModelForCausalLM.from_pretrained(root + "/lm")
tokenizer = AutoTokenizer.from_pretrained(root + "/lm")
print(lm(**tokenizer("a red cat", return_tensors="pt")).logits.shape[1])
assert not [m for m in sys.modules if m.split(".")[0] == "dfprompt"]
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(built / "weights")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "(1, 64, 64, 3)" in done.stdout


def test_only_safe_formats_are_written_and_each_stage_is_on_record(built: Path) -> None:
    files = [path for path in (built / "weights").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".toml", ".txt"}
    assert len({path.stat().st_mode for path in files}) == 1  # weights are not their owner's alone
    record = json.loads((built / "build.json").read_text())
    assert set(record["stages"]) == set(STAGES)
    assert all(row["seconds"] >= 0 and row["device"] == "cpu" for row in record["stages"].values())


@pytest.mark.timeout(900)
def test_the_same_seed_builds_the_same_bytes(built: Path, tmp_path: Path) -> None:
    Build(tmp_path, miniature()).run()
    assert {p: digest(tmp_path / "weights" / p) for p in _PIECES} == {
        p: digest(built / "weights" / p) for p in _PIECES
    }


def test_a_stage_begins_alike_whether_others_had_to_be_built_first(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last stages draw their first weights after `need`: those of what they need must not move them."""
    drawn: list[float] = []

    def text(build: Build) -> None:
        torch.rand(7)

    def unet(build: Build) -> None:
        build.need("text")
        drawn.append(float(torch.rand(1)))

    monkeypatch.setattr(Build, "_text", text)
    monkeypatch.setattr(Build, "_unet", unet)
    Build(tmp_path / "alone", miniature()).run(["unet"])
    after = Build(tmp_path / "after", miniature())
    after.run(["text"])
    after.run(["unet"])
    assert drawn[0] == drawn[1]


def stages_done(folder: Path) -> list[str]:
    """The stages on record, in the order they are built in."""
    record = folder / "build.json"
    return list(json.loads(record.read_text())["stages"]) if record.is_file() else []


@pytest.mark.timeout(900)  # nine stages in a process of their own, each killed and resumed
def test_kill_minus_nine_anywhere_then_resume_builds_the_same_bytes(built: Path, tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(int(sys.argv[2]));"
        "from worlds.mini.build import Build; from worlds.mini.recipe import miniature;"
        "print('ready', flush=True); Build(Path(sys.argv[1]), miniature()).run()"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(torch.get_num_threads())]
    chance, interrupted_in = random.Random(1), set[str]()
    for number in range(len(STAGES)):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        while process.poll() is None and len(stages_done(tmp_path)) < number:
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if len(stages_done(tmp_path)) < len(STAGES):
            interrupted_in.add(STAGES[len(stages_done(tmp_path))])
    assert len(interrupted_in) >= 6, interrupted_in
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {p: digest(tmp_path / "weights" / p) for p in _PIECES} == {
        p: digest(built / "weights" / p) for p in _PIECES
    }


def test_a_folder_begun_with_another_recipe_is_refused(tmp_path: Path) -> None:
    Build(tmp_path, miniature())
    other = dataclasses.replace(miniature(), seed=2, clip=StageConfig(5, 8, 1e-3))
    with pytest.raises(ConfigError, match=r"another recipe \(clip, seed differ\)"):
        Build(tmp_path, other)


def test_a_budget_scales_the_trainings_and_nothing_else() -> None:
    recipe = MiniRecipe()
    half = recipe.within(75)
    assert half.unet.steps == recipe.unet.steps // 2
    assert half.renders == recipe.renders
    assert half.text == recipe.text


def test_a_build_may_begin_at_the_weights_of_another(built: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(miniature(), vae=StageConfig(1, 4, 0.0, warmup=1, ema=0.0))
    again = Build(tmp_path / "again", recipe, start_from=built / "weights")
    again.run(["vae"])
    fresh = Build(tmp_path / "fresh", recipe)
    fresh.run(["vae"])
    before, after, other = (
        load_file(folder / "pipeline" / "vae" / "diffusion_pytorch_model.safetensors")
        for folder in (built / "weights", again.weights, fresh.weights)
    )
    # A learning rate of 0 leaves what it began with; the decoder stage came after in the first build.
    kept = [name for name in before if name.startswith("encoder.")]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not all(torch.equal(before[name], other[name]) for name in kept)
    assert json.loads(again.record.read_text())["started_from"] == digest(built / "weights")
    # Gone on with otherwise, what is not trained yet would begin elsewhere than the record says.
    for start, said in ((None, "go on at random weights"), (fresh.weights, "holds no pipeline/unet")):
        with pytest.raises((ConfigError, LoadError), match=said):
            Build(tmp_path / "again", recipe, start_from=start)
    with pytest.raises(ConfigError, match="began at random weights"):
        Build(tmp_path / "fresh", recipe, start_from=built / "weights")
    with pytest.raises(LoadError, match="folder `weights`"):
        Build(tmp_path / "folder", recipe, start_from=built)
    wider = dataclasses.replace(recipe, vae_channels=(8, 8, 8, 8))
    with pytest.raises(ConfigError, match="other sizes"):
        Build(tmp_path / "wider", wider, start_from=built / "weights").run(["vae"])
