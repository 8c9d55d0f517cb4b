"""`dfprompt score` and `dfprompt calibrate` as users meet them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfprompt.cli.main import main
from tiny_rewards import pictures, prompts


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`inside("score", ..., stdin=b"...")`: the same entry point in this process, where torch is loaded."""

    def run(*arguments: str, stdin: bytes = b"") -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["dfprompt", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return SimpleNamespace(returncode=left.value.code or 0, stdout=shown.out, stderr=shown.err)

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, a grey one among them, and their prompts."""
    place = tmp_path_factory.mktemp("pictures")
    for row, image in enumerate(pictures(3)):
        levels = Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())
        (levels.convert("L") if row == 2 else levels).save(place / f"{row}.png")
    rows = [{"image": f"{row}.png", "prompt": text} for row, text in enumerate(prompts(3))]
    (place / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return place


def test_json_holds_every_score_and_what_was_converted(cli, folder: Path, reward_set: Path) -> None:
    ran = cli(
        "score",
        str(folder),
        "--prompts",
        str(folder / "prompts.jsonl"),
        "--reward",
        str(reward_set),
        "--json",
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["dfprompt"] == 1
    assert answer["rewards"] == [str(reward_set)]
    assert [row["prompt"] for row in answer["images"]] == prompts(3)
    assert [Path(row["image"]).name for row in answer["images"]] == ["0.png", "1.png", "2.png"]
    assert answer["images"][2]["converted"] == ["grey repeated over three channels"]
    assert "2.png: grey repeated over three channels" in ran.stderr
    from dfprompt.api.rewards import score_images

    files = [folder / f"{row}.png" for row in range(3)]
    for name, values in score_images(files, prompts(3), reward_set, device="cpu").items():
        given = torch.tensor([row["scores"][name] for row in answer["images"]])
        torch.testing.assert_close(given, values, rtol=0, atol=1e-4)


def test_a_table_for_people(inside, folder: Path, reward_set: Path) -> None:
    ran = inside(
        *("score", str(folder / "0.png"), str(folder / "1.png"), "--prompt", "a red house"),
        *("--reward", f"clip:{reward_set}", "--reward", f"aesthetic:{reward_set}"),
    )
    assert ran.returncode == 0, ran.stderr
    head, first, second = (line.split() for line in ran.stdout.strip().splitlines() if line.strip())
    assert head == ["image", "clip", "aesthetic"]
    assert len(first) >= 3
    assert len(second) >= 3
    assert -1 <= float(first[-2]) <= 1


def test_a_setting_can_be_changed_on_the_spot(inside, folder: Path, reward_set: Path) -> None:
    arguments = ("score", str(folder / "0.png"), "--prompt", "a red house", "--json", "--reward")
    usual = json.loads(inside(*arguments, str(reward_set)).stdout)["images"][0]["scores"]
    free = json.loads(inside(*arguments, str(reward_set), "--set", "composite.zeta=-1").stdout)
    assert usual["clip_gate"] < 0
    assert free["images"][0]["scores"]["clip_gate"] == 0
    ran = inside(*arguments, f"clip:{reward_set}", "--set", "composite.zeta=-1")
    assert ran.returncode == 2
    assert "has no settings" in ran.stderr
    ran = inside(*arguments, str(reward_set), "--set", "composite.zetta=1", "--set", "compsite.c=1")
    assert ran.returncode == 2
    assert 'did you mean "zeta"?' in ran.stderr
    assert 'did you mean "composite"?' in ran.stderr


def test_lines_are_answered_line_by_line(inside, folder: Path, reward_set: Path) -> None:
    lines = [
        json.dumps({"image": str(folder / "0.png"), "prompt": "a red house"}),
        "not json",
        json.dumps({"image": str(folder / "none.png"), "prompt": "x"}),
        json.dumps({"image": str(folder / "1.png")}),
        json.dumps({"image": str(folder / "1.png"), "prompt": "the blue cat in snow"}),
    ]
    ran = inside("score", "-", "--reward", f"clip:{reward_set}", stdin="\n".join(lines).encode())
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [answer["dfprompt"] for answer in answers] == [1] * 5
    assert ["error" in answer for answer in answers] == [False, True, True, True, False]
    assert "no such file" in answers[2]["error"]["message"]
    assert answers[0]["scores"].keys() == {"clip"}
    assert ran.returncode == 2


def test_pictures_from_outside_a_small_world_are_scored_with_a_warning(
    inside, folder: Path, small_world: Path
) -> None:
    ran = inside("score", str(folder / "0.png"), "--prompt", "an astronaut", "--reward", str(small_world))
    assert ran.returncode == 0
    assert ran.stderr.count("outside the tiny world") == 1
    assert "means nothing here" in ran.stderr


def test_pictures_that_tell_their_prompts_need_none(inside, tmp_path: Path, reward_set: Path) -> None:
    """Ours, two other programs', a text beside one and a list; a grid of several is none of one prompt."""
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a (green:1.3) star", "clip": ["4", 1]}},
        "2": {"class_type": "KSampler", "inputs": {"seed": 5, "positive": ["1", 0], "negative": ["3", 0]}},
    }
    told = {
        "parameters": "a [blue] boat, <lora:x:1>\nSteps: 3, CFG scale: 7, Seed: 5",
        "prompt": json.dumps(graph),
    }
    for name, (chunk, text) in zip(("a1111", "comfyui"), told.items(), strict=True):
        info = PngInfo()
        info.add_text(chunk, text)
        Image.new("RGB", (16, 16)).save(tmp_path / f"{name}.png", pnginfo=info)
    for name in ("beside", "listed"):
        Image.new("RGB", (16, 16)).save(tmp_path / f"{name}.png")
    (tmp_path / "beside.txt").write_text("a yellow ((house))\n")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "listed.png", "text": "a fish", "likes": 4}\n')
    words = ("a red cat, [film grain:late]", "--seeds", "2", "--steps", "1")
    assert inside("generate", *words, "--output", str(tmp_path)).returncode == 0
    assert (tmp_path / "grid.png").exists()
    ran = inside("score", str(tmp_path), "--reward", f"clip:{reward_set}", "--json")
    assert ran.returncode == 0, ran.stderr
    images = json.loads(ran.stdout)["images"]
    assert {Path(each["image"]).name: each["prompt"] for each in images} == {
        "a-red-cat-film-grain-seed0.png": "a red cat, film grain",
        "a-red-cat-film-grain-seed1.png": "a red cat, film grain",
        "a1111.png": "a blue boat",
        "beside.png": "a yellow house",
        "comfyui.png": "a green star",
        "listed.png": "a fish",
    }
    one = inside("score", str(tmp_path / "a1111.png"), "--reward", f"clip:{reward_set}", "--json")
    given = inside(
        *("score", str(tmp_path / "a1111.png"), "--prompt", "a blue boat", "--reward", f"clip:{reward_set}"),
        "--json",
    )
    assert json.loads(one.stdout) == json.loads(given.stdout)


@pytest.mark.parametrize(
    "line", ['{"file_name": "0.png", "text": 3}', '{"file_name": "0.png", "prompt": [1]}']
)
def test_a_list_whose_prompts_are_no_texts_is_refused(inside, tmp_path: Path, line: str) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "0.png")
    (tmp_path / "metadata.jsonl").write_text(f"{line}\n")
    ran = inside("score", str(tmp_path), "--reward", "clip:mini")
    assert ran.returncode == 2
    assert "no prompt" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0.png"], '0.png: no prompt beside it or in it; give the plain prompt with --prompt "..."'),
        (["."], "0.png: no prompt for this picture: not in metadata.jsonl, not in 0.txt"),
        (["0.png", "1.png", "2.png", "--prompt", "a", "--prompt", "b"], "one --prompt for all or 3, got 2"),
        (["0.png", "--prompts", "prompts.jsonl"], "--prompts goes with one folder"),
        ([".", "--prompts", "prompts.jsonl", "--prompt", "a"], "--prompts goes with one folder"),
        ([".", "--prompts", "no.jsonl"], "cannot read no.jsonl"),
        ([".", "--prompts", "bad.jsonl"], "bad.jsonl, line 2: not JSON"),
        ([".", "--prompts", "empty.jsonl"], "empty.jsonl: no rows"),
        ([".", "--prompts", "outside.jsonl"], "is outside"),
        (["empty", "--prompt", "a"], "no pictures in this folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    inside, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "bad.jsonl").write_text('{"image": "0.png", "prompt": "a"}\n{\n{"image": 3}\n')
    (folder / "empty.jsonl").write_text("\n")
    (folder / "outside.jsonl").write_text('{"image": "../../etc/x.png", "prompt": "a"}\n')
    (folder / "empty").mkdir(exist_ok=True)
    ran = inside("score", *arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_missing_weights_and_pictures_are_named(
    inside, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    ran = inside("score", str(folder / "0.png"), "--prompt", "a", "--reward", "pickscore")
    assert ran.returncode == 2
    assert "hf download yuvalkirstain/PickScore_v1" in ran.stderr
    ran = inside("score", str(folder / "none.png"), "--prompt", "a", "--reward", "clip")
    assert ran.returncode == 2
    assert "none.png: no such file" in ran.stderr


def test_calibrate_refuses_before_it_loads_anything(inside, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("")
    (tmp_path / "plain.txt").write_text("\n\n")
    output = str(tmp_path / "r.toml")
    ran = inside("calibrate", "--prompts", str(folder / "prompts.jsonl"), "--output", output)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "add --force" in ran.stderr
    ran = inside("calibrate", "--prompts", str(tmp_path / "plain.txt"), "--output", output, "--force")
    assert ran.returncode == 2
    assert "plain.txt: no prompts" in ran.stderr


def test_calibrate_draws_with_a_real_pipeline_and_score_reads_what_it_wrote(
    inside, folder: Path, reward_set: Path, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "plain.txt").write_text("a red house\nthe blue cat, [in brackets]\n")
    output = tmp_path / "reward.toml"
    drawn = ["--pipeline", str(tiny_folder("sd1")), "--reward", str(reward_set), "--seeds", "4"]
    where = ["--prompts", str(tmp_path / "plain.txt"), "--output", str(output)]
    ran = inside("calibrate", *drawn, *where, "--json")
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["images"] == 8
    assert {"zeta", "kappa"} <= set(answer["gates"])
    for gate in answer["gates"].values():
        assert gate["threshold"] != gate["threshold_before"]
        assert 0.3 <= gate["binds"] <= 0.7  # about half of the pictures, as the quantile asks
    ran = inside("score", str(folder / "0.png"), "--prompt", "a red house", "--reward", str(output), "--json")
    assert ran.returncode == 0, ran.stderr
    scored = json.loads(ran.stdout)["images"][0]["scores"]
    assert {"clip", "aesthetic", "preference"} <= set(scored)


def test_help_has_examples_and_loads_nothing_heavy(cli) -> None:
    for command in ("score", "calibrate"):
        shown = cli(command, "--help").stdout
        assert "Examples:" in shown
        assert f"dfprompt {command} " in shown
    code = (
        "import sys; from dfprompt.cli import score; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'PIL', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_without_a_traceback(cli, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for command in (
        ["score", str(tmp_path / "a.png"), "--prompt", "a red cat", "--reward", "mini"],
        ["optimize", "a red cat on a hill"],
    ):
        ran = cli(*command, "--device", "cuda")
        assert ran.returncode == 2
        assert "Traceback" not in ran.stderr
        assert "is not there" in ran.stderr
