"""`dfprompt taste` in the terminal: answers in, a taste out, and what it then ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dfprompt.images.tensors import to_pil
from dfprompt.measurement.log import ROWS, MeasurementLog
from dfprompt.measurement.rows import Row
from dfprompt.policy import save_policy_folder
from tiny_policies import storable_policy

Cli = Callable[..., Any]


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """A command that asks about twelve grey pictures of two prompts, scored by their brightness."""
    folder = tmp_path / "drawn"
    folder.mkdir()
    with MeasurementLog(folder / ROWS, {}, kind="evaluation") as log:
        for number in range(12):
            to_pil(torch.full((1, 3, 8, 8), number / 12))[0].save(folder / f"{number}.png")
            row = Row("m", f"{number % 2}", "a cat", number, number, "a cat", f"{number}.png")
            log.append([row])
    code = "def light(images, prompts, records=None):\n    return images.mean((1, 2, 3))\n"
    (tmp_path / "light.py").write_text(code)
    given = ["--reward", f"{tmp_path}/light.py:light", "--allow-code", "--output", str(tmp_path / "mine")]
    return ["taste", "--from", str(folder), *given]


def test_answers_make_a_taste_and_what_is_no_answer_is_asked_again(
    cli: Cli, asked: list[str], tmp_path: Path
) -> None:
    done = cli(*asked, stdin=b"1\nleft\n2\n\n0\nq\n")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "pair.html").resolve().as_uri() in done.stderr
    assert done.stderr.count("2. a cat: 1 left, 2 right, 0 neither, q enough") == 2
    assert "3 choices (1 ties)" in done.stdout
    assert "| light |" in done.stdout.replace("  ", "")
    lines = (tmp_path / "mine" / "choices.jsonl").read_text().splitlines()
    choices = [json.loads(line)["choice"] for line in lines]
    assert choices == ["a", "b", "tie"]
    more = cli(*asked, "--count", "5", "--json", stdin=b"1\n1\n1\n1\n")
    found = json.loads(more.stdout)
    assert (found["asked"], found["taste"]["choices"]) == (2, 5)


def test_the_end_of_the_input_before_any_choice_is_one_clear_error(cli: Cli, asked: list[str]) -> None:
    done = cli(*asked)
    assert done.returncode == 2
    assert "nobody chose yet" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_of_a_taste_is_a_reward(cli: Cli, asked: list[str], tmp_path: Path) -> None:
    cli(*asked, stdin=b"1\n2\nq\n")
    picture = tmp_path / "picture.png"
    to_pil(torch.zeros(1, 3, 8, 8))[0].save(picture)
    reward = f"taste:{tmp_path}/mine/taste.toml"
    done = cli("score", str(picture), "--prompt", "x", "--reward", reward, "--allow-code")
    assert done.returncode == 0, done.stderr
    done = cli("score", str(picture), "--prompt", "x", "--reward", f"taste:{tmp_path}/none.toml")
    assert done.returncode == 2
    assert "none.toml" in done.stderr


@pytest.mark.slow
def test_candidates_are_ranked_by_a_picture_of_each(
    cli: Cli, asked: list[str], tmp_path: Path, tiny_folder: Callable[[str], Path]
) -> None:
    cli(*asked, stdin=b"1\n2\nq\n")
    policy = str(save_policy_folder(storable_policy(), tmp_path / "policy"))
    given = ["optimize", "a red cat", "--policy", policy, "--candidates", "3", "--json", "--device", "cpu"]
    plain = json.loads(cli(*given).stdout)["prompts"][0]["candidates"]
    more = ["--reward", f"taste:{tmp_path}/mine", "--allow-code", "--pipeline", str(tiny_folder("sd1"))]
    done = cli(*given, *more)
    assert done.returncode == 0, done.stderr
    ranked = json.loads(done.stdout)["prompts"][0]["candidates"]
    rewards = [each["reward"] for each in ranked]
    assert rewards == sorted(rewards, reverse=True)
    assert len(set(rewards)) > 1
    assert sorted(each["text"] for each in ranked) == sorted(each["text"] for each in plain)
    refused = cli(*given, *more[:2], *more[3:])
    assert refused.returncode == 2
    assert "--allow-code" in refused.stderr
