"""`dfprompt start` on tiny pipelines of four kinds: what is said before anything loads, then the pictures."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_zoo
from dfprompt.api.start import choose_offload, find_models, look_at_model, plan_start
from dfprompt.cli.start import answer_questions
from dfprompt.errors import LoadError, UnsupportedPipelineError
from dfprompt.requests.start import StartRequest

KINDS = ("sd1", "sdxl", "flux", "pixart")  # the last has no adapter of its own


@pytest.fixture(scope="session")
def kind_folder(
    tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    generic = tmp_path_factory.mktemp("generic") / "pixart"

    def folder(name: str) -> Path:
        if name != "pixart":
            return tiny_folder(name)
        if not generic.exists():
            tiny_zoo.build("pixart").save_pretrained(generic)
        return generic

    return folder


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.filterwarnings("ignore:.*(clean_caption|Beautiful Soup).*")
@pytest.mark.parametrize("command", ["start", "compare"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.few("sd1-start", "pixart-compare")
def test_first_pictures_on_any_pipeline_without_scores_or_policy(
    name: str, command: str, kind_folder: Callable[[str], Path], cli: Any, tmp_path: Path
) -> None:
    asked = ["--pipeline", str(kind_folder(name)), "--steps", "4", "--size", "16", "--seeds", "1"]
    asked += ["--yes"] if command == "start" else ["--reward", "none"]
    ran = cli(command, "a red house", "--vary", "old film", *asked, "--output", str(tmp_path / "o"))
    assert ran.returncode == 0, ran.stderr
    if command == "start":
        assert "1. model: " in ran.stderr
        assert "no download" in ran.stderr
    assert "not scored" not in ran.stderr
    found = json.loads((tmp_path / "o" / "comparison.json").read_text())
    assert found["scores"] == {}
    rewrites = found["prompts"][0]["rewrites"]
    labels = ["plain", "all the time", "early", "late", "late and gently"]
    assert [each["label"] for each in rewrites] == labels
    assert [each["same_as"] for each in rewrites] == [None] * 5
    pictures = {Path(each["images"][0]["file"]).read_bytes() for each in rewrites}
    assert len(pictures) == 5
    gently = rewrites[-1]["df_prompt"]
    assert gently == f"a red house, [old film:{'0.25->0' if name == 'pixart' else 'late:0.75'}]"
    assert (tmp_path / "o" / "grid.png").exists()
    assert (tmp_path / "o" / "report.html").exists()


@pytest.mark.parametrize("memory", ["0", "24"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.few("sd1-0", "pixart-24")
def test_the_plan_is_said_in_a_moment_before_anything_is_loaded(
    name: str, memory: str, kind_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    program = (
        "import sys, time\n"
        "from dfprompt.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert not {'torch', 'diffusers', 'transformers'} & sys.modules.keys()\n"
        "assert time.process_time() < 3, time.process_time()\n"
    )
    asked = [
        "--pipeline",
        str(kind_folder(name)),
        "--memory",
        memory,
        "--plan",
        "--output",
        str(tmp_path / "o"),
    ]
    ran = subprocess.run(
        [sys.executable, "-c", program, "start", *asked],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ("no GPU: drawn on the CPU" if memory == "0" else "fit into 24 GB of GPU memory") in ran.stderr
    assert "ranges" in ran.stderr
    assert "--reward clip would fetch 1.7 GB" in ran.stderr
    assert ran.stdout.startswith('dfprompt compare "a red house in the snow" --vary watercolor --seeds 2')
    assert not (tmp_path / "o").exists()


def test_the_command_said_draws_what_was_planned(cli: Any, tmp_path: Path) -> None:
    asked = ["start", "a red house", "--vary", 'so "late"', "--seeds", "1", "--seed", "9", "--steps", "3"]
    asked += ["--guidance", "1.5", "--size", "64", "--reward", "none", "--no-metadata"]
    output = ["--output", str(tmp_path / "o")]
    said = cli(*asked, *output, "--plan").stdout.strip()
    drawn = cli(*asked, *output, "--yes")
    assert drawn.returncode == 0, drawn.stderr
    again = shlex.split(said)[1:]
    again[again.index("--output") + 1] = str(tmp_path / "again")
    assert cli(*again).returncode == 0
    first, second = (json.loads((tmp_path / each / "comparison.json").read_text()) for each in ("o", "again"))
    assert [first[key] for key in ("settings", "seeds", "scores")] == [
        second[key] for key in ("settings", "seeds", "scores")
    ]
    names = sorted(path.name for path in (tmp_path / "o").glob("*seed9.png"))
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    goes_on = shlex.split(drawn.stdout.partition("next:\n")[2].splitlines()[0])[1:]
    more = cli(*goes_on)
    assert more.returncode == 0, more.stderr
    assert len(list((tmp_path / "o").glob("*-seed*.png"))) == 5 * 4


def test_the_command_of_another_machine_has_its_offload(kind_folder: Callable[[str], Path]) -> None:
    plan = plan_start(StartRequest(pipeline=str(kind_folder("sd1")), memory=2.0001, rewards=["none"]))
    assert (plan.offload, plan.request.offload) == ("sequential", "none")
    assert " --offload sequential" in plan.command


@pytest.mark.parametrize("flags", [[], ["--offload", "model", "--dtype", "float16"]], ids=["cpu", "gpu"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.few("sdxl-cpu", "pixart-gpu")
def test_compare_reaches_the_loading_in_a_moment(
    name: str, flags: list[str], kind_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """All that is asked and checked before a model library is imported takes less than three seconds."""
    program = (
        "import sys, time\n"
        "class Watch:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name in ('torch', 'diffusers', 'transformers'):\n"
        "            print(time.process_time())\n"
        "            sys.stdout.flush()\n"
        "            import os; os._exit(7)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from dfprompt.cli.main import main\n"
        "main()\n"
    )
    asked = ["compare", "a red house", "--vary", "old film", "--pipeline", str(kind_folder(name)), *flags]
    ran = subprocess.run(
        [sys.executable, "-c", program, *asked, "--output", str(tmp_path / "o")],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path)},
        check=False,
    )
    assert ran.returncode == 7, ran.stderr
    assert float(ran.stdout) < 3


def test_what_fits_into_a_gpu_decides_the_offload(tmp_path: Path) -> None:
    from dfprompt.api.start import Model

    sdxl = Model("x", "", weighs=6.9, largest=5.1)
    assert [choose_offload(sdxl, memory)[0] for memory in (0, 4, 8, 24)] == [
        "none",
        "sequential",
        "model",
        "none",
    ]


def test_weights_are_counted_in_half_precision(kind_folder: Callable[[str], Path]) -> None:
    folder = kind_folder("sd1")
    stored = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    found = look_at_model(str(folder))
    assert found.weighs * 1e9 == pytest.approx(stored / 2, rel=0.1)  # stored as float32, headers beside
    assert found.largest < found.weighs
    assert found.what == "Stable Diffusion 1 and 2: ranges and weights"


def test_questions_are_asked_only_for_what_was_not_said(
    kind_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").symlink_to(kind_folder("sd1"))
    monkeypatch.chdir(tmp_path)
    assert find_models() == ["mini", "models/mine"]
    asked: list[str] = []

    def usual(question: str, answer: str) -> str:
        asked.append(question)
        return answer

    answered = answer_questions(StartRequest(), usual)
    assert len(asked) == 4
    assert "models/mine" in asked[0]
    assert answered.pipeline == "models/mine"
    plan = plan_start(answered)
    assert plan.request.rewards == ("none",)
    asked.clear()
    answer_questions(StartRequest(text="a cat", pipeline="mini", vary="snow", rewards=["none"]), usual)
    assert asked == []


def test_each_answer_is_checked_when_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = iter(["nofolder", "mini", " ", "a cat", "[snow:late]", "snow", "n", "none,mini"])
    answered = answer_questions(StartRequest(), lambda question, usual: next(said))
    assert (answered.pipeline, answered.text, answered.vary) == ("mini", "a cat", "snow")
    assert list(answered.rewards) == ["none", "mini"]
    told = capsys.readouterr().err.splitlines()
    wrong = ["neither a folder, nor a file", "empty prompt", "takes words alone", "'n' is no reward"]
    for line, what in zip(told, wrong, strict=True):
        assert what in line


def test_a_reward_that_there_is_not_is_refused_before_the_plan(cli: Any) -> None:
    ran = cli("start", "--reward", "bogus", "--plan")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: 'bogus' is no reward; known here: mini, clip")


def test_a_small_model_is_not_said_to_take_minutes() -> None:
    assert choose_offload(look_at_model("mini"), 0)[1] == "no GPU: drawn on the CPU (17 MB of weights)"


def test_scores_that_were_asked_for_are_printed(cli: Any, tmp_path: Path) -> None:
    ran = cli("start", "--reward", "mini", "--seeds", "1", "--yes", "--output", str(tmp_path / "o"))
    assert ran.returncode == 0, ran.stderr
    assert "95 % interval" in ran.stdout


def test_no_message_goes_in_a_circle(cli: Any, tmp_path: Path) -> None:
    ran = cli("start", "--pipeline", str(tmp_path / "nowhere"), "--plan")
    assert ran.returncode == 2
    assert "neither a folder, nor a file, nor a hub id" in ran.stderr
    (tmp_path / "empty").mkdir()
    ran = cli("start", "--pipeline", str(tmp_path / "empty"), "--plan")
    assert ran.returncode == 2
    assert "model_index.json does not exist" in ran.stderr
    scores = cli("start", "--pipeline", "mini", "--reward", "pickscore", "--plan", "--json")
    answer = json.loads(scores.stdout)
    assert "yuvalkirstain/PickScore_v1 (3.9 GB, licence" in answer["steps"][-1]
    # Offline, what a yes would fetch is answered with the command that fetches it, and nothing is loaded.
    fetched = cli(
        "start", "--pipeline", "mini", "--reward", "pickscore", "--yes", "--output", str(tmp_path / "o")
    )
    assert fetched.returncode == 2
    assert "hf download yuvalkirstain/PickScore_v1" in fetched.stderr
    assert not (tmp_path / "o").exists()
    with pytest.raises(LoadError, match="not in the local cache"):
        look_at_model("hub:someone/absent-model")


def test_a_pipeline_that_no_word_can_steer_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    folder.mkdir()
    from dfprompt.conditioning.reach import read_results

    refused = [name for name, found in read_results()["classes"].items() if found["verdict"] == "refused"]
    (folder / "model_index.json").write_text(json.dumps({"_class_name": refused[0]}))
    with pytest.raises(UnsupportedPipelineError, match=f"no word of a {refused[0]}"):
        look_at_model(str(folder))
