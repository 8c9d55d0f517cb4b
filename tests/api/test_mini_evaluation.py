"""The mini world's part in evaluations: its judge as a score, on a tiny judge with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dfprompt.api import mini_evaluation
from dfprompt.api.mini_evaluation import MiniFidelity, find_facts, make_mini_prompts
from dfprompt.api.scoring import load_scoreboard
from dfprompt.data.sets import set_of
from dfprompt.errors import DFPromptWarning, RewardError
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.mini import logs
from dfprompt.mini.judge import CLASSES, Judge
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.world import SCENES
from tiny_evaluation import brightness


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    torch.manual_seed(0)
    judge = Judge()
    judge.save(tmp_path / "judge")
    monkeypatch.setattr(mini_evaluation, "mini_folder", lambda piece="": tmp_path / piece)
    return judge.eval()


def test_fidelity_is_the_share_of_facts_the_judge_finds(judge: Judge) -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = judge(images * 2 - 1)
    seen = {fact: [CLASSES[fact][i] for i in logits[fact].argmax(1)] for fact in CLASSES}
    right = {fact: seen[fact][0] for fact in CLASSES}
    wrong = next(name for name in CLASSES["subject"] if name != seen["subject"][1])
    records = [right, {**{fact: seen[fact][1] for fact in CLASSES}, "subject": wrong}, {}]
    colour = seen["colour"][2]
    scores = MiniFidelity()(images, ["x", "y", f"one {colour} thing"], records)
    assert scores.tolist() == pytest.approx([1.0, 2 / 3, 1.0])


def test_a_prompt_without_facts_fails_by_name(judge: Judge) -> None:
    board = load_scoreboard([brightness], ["mini"])
    assert board.columns() == {"brightness": "reward", "fidelity": "judge"}
    images = torch.rand(2, 3, 64, 64)
    known, unknown = board.measure(
        images, [PlainPrompt("a red cat"), PlainPrompt("a portrait")], [None, None]
    )
    assert known.scores.keys() == {"brightness", "fidelity"}
    assert "a portrait" in unknown.failed["fidelity"]
    assert unknown.scores.keys() == {"brightness"}
    with pytest.raises(RewardError):
        MiniFidelity()(images, ["a portrait"] * 2)


def test_mini_prompts_are_distinct_and_belong_to_the_test_set() -> None:
    prompts = make_mini_prompts(30)
    assert len({prompt.text for prompt in prompts}) == len({prompt.id for prompt in prompts}) == 30
    assert make_mini_prompts(30) == prompts
    assert make_mini_prompts(10) == prompts[:10]
    for prompt in prompts:
        assert set_of(prompt.text, validation=0.05, test=0.05) == "test"
        assert prompt.record["subject"] in prompt.text
        assert find_facts(prompt.text).items() <= prompt.record.items()


def test_users_of_the_mini_world_write_for_the_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    """With users who know one modifier per scene to be splendid, the skilled choose it where it is."""
    best = {scene: column for column, scene in enumerate(SCENES)}

    def experience(renders: int) -> dict[str, np.ndarray]:
        return {scene: 9.0 * np.eye(len(MODIFIERS))[best[scene]] for scene in SCENES}

    monkeypatch.setattr(logs, "experience", experience)
    mini_evaluation._experience.cache_clear()
    plain, human = make_mini_prompts(60), make_mini_prompts(60, human=True)
    mini_evaluation._experience.cache_clear()
    assert [(p.text, p.id) for p in human] == [(p.text, p.id) for p in plain]
    names, hits = list(MODIFIERS), 0
    for prompt in human:
        text = prompt.record["human"]
        assert text == prompt.text or text.startswith(prompt.text + ", ")
        modifiers = text[len(prompt.text) :].strip(", ").split(", ")
        assert set(modifiers) <= {*names, ""}
        hits += names[best[prompt.record["scene"]]] in modifiers
    assert hits > 25  # 60 % of users have skill, 90 % of those write something; by chance: 5


def test_a_world_without_more_prompts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_evaluation, "_MOST_LOGS", 200)
    with pytest.warns(DFPromptWarning, match="not 500"):
        assert 0 < len(make_mini_prompts(500)) < 30
