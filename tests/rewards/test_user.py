"""Rewards of the user's own: permission, import paths, crashes, and results that are no scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dfprompt.errors import ConfigError, LoadError, RewardError
from dfprompt.rewards import UserScore, as_score, load_user_score
from tiny_rewards import pictures, prompts

CODE = """
import torch

def bright(images, prompts, records=None):
    return images.mean((1, 2, 3))

class Counted:
    def __init__(self):
        self.gain = 2.0
    def __call__(self, images, prompts, records=None):
        return self.gain * images.mean((1, 2, 3))

class Needs:
    def __init__(self, something):
        pass

number = 3
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


def test_a_function_of_a_file_scores(module: Path) -> None:
    score = load_user_score("bright", "mine.py:bright", allow_code=True, base=module)
    torch.testing.assert_close(score(pictures(3), prompts(3)), pictures(3).mean((1, 2, 3)))
    assert score.name == "bright"


def test_a_class_is_made_once(module: Path) -> None:
    score = load_user_score("twice", "mine.py:Counted", allow_code=True, base=module)
    torch.testing.assert_close(score(pictures(3), prompts(3)), 2 * pictures(3).mean((1, 2, 3)))


def test_a_function_of_an_installed_module_scores() -> None:
    score = load_user_score("x", "tiny_rewards:pictures", allow_code=True)
    with pytest.raises(RewardError, match="'x' crashed: TypeError"):
        score(pictures(2), prompts(2))


def test_nothing_is_imported_without_permission(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ConfigError, match="--allow-code"):
        load_user_score("x", "trap.py:f", allow_code=False, base=tmp_path)


@pytest.mark.parametrize("path", ["mine", "mine.py", "mine.py:", ":bright", "mine.py:a-b", ""])
def test_paths_of_another_form_are_refused(module: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"file\.py:function"):
        load_user_score("x", path, allow_code=True, base=module)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mine.py:dark", "has no 'dark'"),
        ("mine.py:number", "int, not callable"),
        ("mine.py:Needs", r"Needs\(\) failed: TypeError"),
        ("other.py:f", "no such file"),
        ("no.such.module:f", "ModuleNotFoundError"),
        ("broken.py:f", "SyntaxError"),
    ],
)
def test_what_cannot_be_imported_is_named(module: Path, path: str, said: str) -> None:
    (module / "broken.py").write_text("def (")
    with pytest.raises(LoadError, match=said):
        load_user_score("x", path, allow_code=True, base=module)


def test_a_crash_becomes_a_reward_error_that_names_it_and_keeps_the_cause() -> None:
    def sharpness(images, prompts, records=None):
        raise KeyError("edges")

    with pytest.raises(RewardError, match="'sharpness' crashed: KeyError: 'edges'") as caught:
        as_score(sharpness)(pictures(2), prompts(2))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (torch.zeros(3), r"shape \(2,\), got \(3,\)"),
        (torch.zeros(2, 1), r"got \(2, 1\)"),
        (torch.tensor(1.0), r"got \(\)"),
        ([1.0, float("nan")], "returned nan for row 1 of 2"),
        ([float("inf"), float("-inf")], "returned -inf and inf for rows 0, 1 of 2"),
        (torch.tensor([True, False]), "bool"),
        (torch.tensor([1j, 2j]), "complex"),
        (None, "one number per image"),
        (["a", "b"], "one number per image"),
        ([[1.0], [2.0, 3.0]], "one number per image"),
    ],
)
def test_a_result_that_is_no_score_is_named(result: object, said: str) -> None:
    with pytest.raises(RewardError, match=said) as caught:
        UserScore("mine", lambda images, prompts, records=None: result)(pictures(2), prompts(2))
    assert "mine" in str(caught.value)


@pytest.mark.parametrize(
    "result",
    [[1, 2], (1.0, 2.0), np.array([1.0, 2.0]), torch.tensor([1, 2]), torch.tensor([1.0, 2.0]).double()],
)
def test_lists_arrays_and_tensors_of_numbers_are_taken(result: object) -> None:
    scores = UserScore("mine", lambda images, prompts, records=None: result)(pictures(2), prompts(2))
    assert scores.dtype == torch.float32
    assert scores.tolist() == [1.0, 2.0]


def test_it_cannot_change_what_others_read() -> None:
    def vandal(images, prompts, records=None):
        images.zero_()
        prompts.clear()
        return [0.0] * len(images)

    images, texts = pictures(2), prompts(2)
    kept = images.clone()
    as_score(vandal)(images, texts)
    assert torch.equal(images, kept)
    assert texts == prompts(2)


def test_records_reach_it() -> None:
    def wanted(images, prompts, records=None):
        return [record["n"] for record in records]

    assert as_score(wanted)(pictures(2), prompts(2), [{"n": 1}, {"n": 2}]).tolist() == [1.0, 2.0]
