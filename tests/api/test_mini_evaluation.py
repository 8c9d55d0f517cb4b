"""The mini world's part in evaluations: its judge as a score, on a tiny judge with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfprompt.api import mini_evaluation
from dfprompt.api.mini_evaluation import MiniFidelity, make_mini_prompts
from dfprompt.api.scoring import load_scoreboard
from dfprompt.data.sets import set_of
from dfprompt.errors import RewardError
from dfprompt.evaluation.prompts import PlainPrompt
from dfprompt.mini.judge import CLASSES, Judge
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


def test_mini_prompts_are_distinct_and_belong_to_the_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from dfprompt.mini import logs
    from dfprompt.mini.modifiers import MODIFIERS
    from dfprompt.mini.world import SCENES

    # What users know needs minutes of rendering; here they know nothing.
    monkeypatch.setattr(logs, "experience", lambda: {scene: np.zeros(len(MODIFIERS)) for scene in SCENES})
    prompts = make_mini_prompts(30)
    assert len({prompt.text for prompt in prompts}) == len({prompt.id for prompt in prompts}) == 30
    assert make_mini_prompts(30) == prompts
    assert make_mini_prompts(10) == prompts[:10]
    for prompt in prompts:
        assert set_of(prompt.text, validation=0.05, test=0.05) == "test"
        assert prompt.record["human"].startswith(prompt.text)
        assert prompt.record["subject"] in prompt.text
        assert (
            mini_evaluation.find_facts(prompt.text).items()
            <= {fact: prompt.record[fact] for fact in mini_evaluation.FACTS}.items()
        )
