"""Fidelity by atoms: both published forms of questions, shares by hand, any model behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfprompt.api.mini_evaluation import MiniAnswers, MiniAtoms, MiniFidelity, make_mini_prompts
from dfprompt.api.rewards import load_reward
from dfprompt.errors import ConfigError, InputError, RewardError
from dfprompt.rewards.atomic import Atom, AtomicScore, atoms_of, read_dsg
from tiny_rewards import pictures

GENEVAL = {
    "prompt": "two red cats",
    "vqa_list": [["How many cats are in the image?", "two"], ["Are the cats red?", "Yes"]],
    "skills": ["count", "attribute"],
}
DSG = {
    "qid2question": {"1": "Is there a house?", "2": "Is the house red?", "3": "Is it snowing?"},
    "qid2dependency": {"1": [0], "2": [1], "3": [0]},
}


class Table:
    """Answers from a table: what every question's probability is."""

    def __init__(self, known: dict[str, float]) -> None:
        self.known, self.asked = known, []

    def __call__(self, images: Tensor, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        self.asked += list(zip(questions, answers, strict=True))
        return torch.tensor([self.known[question] for question in questions])


class TinyVqa(nn.Module):
    """A random model that looks at the picture and reads the question's letters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.look, self.read = nn.Linear(3, 8), nn.Embedding(256, 8)

    @torch.no_grad()
    def forward(self, images: Tensor, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        seen = self.look(images.mean((2, 3)))
        heard = torch.stack(
            [
                self.read(torch.tensor(list(f"{question} {answer}".encode()))).mean(0)
                for question, answer in zip(questions, answers, strict=True)
            ]
        )
        return torch.sigmoid((seen * heard).sum(1))


def test_genevals_questions_keep_their_answers() -> None:
    table = Table({"How many cats are in the image?": 0.8, "Are the cats red?": 0.3})
    (share,) = AtomicScore(table)(pictures(1), ["two red cats"], [GENEVAL])
    assert share.item() == pytest.approx(0.55)
    assert table.asked == [("How many cats are in the image?", "two"), ("Are the cats red?", "Yes")]


@pytest.mark.parametrize(
    ("house", "red", "share"), [(0.9, 0.8, (0.9 + 0.8 + 0.2) / 3), (0.4, 0.8, (0.4 + 0 + 0.2) / 3)]
)
def test_what_depends_on_what_is_not_there_counts_nothing(house: float, red: float, share: float) -> None:
    table = Table({"Is there a house?": house, "Is the house red?": red, "Is it snowing?": 0.2})
    assert AtomicScore(table)(pictures(1), ["x"], [DSG]).item() == pytest.approx(share)


def test_rows_with_different_questions_are_each_their_own_share() -> None:
    model = TinyVqa().eval()
    score = AtomicScore(model, batch_size=2)
    images, records = pictures(3), [GENEVAL, DSG, {"questions": ["Is it late?"]}]
    found = score(images, ["a", "b", "c"], records)
    for row, record in enumerate(records):
        alone = score(images[row : row + 1], ["x"], [record])
        assert found[row].item() == pytest.approx(alone.item(), abs=1e-6)
        atoms = atoms_of(record)
        naive = [model(images[row : row + 1], [atom.question], [atom.answer]).item() for atom in atoms]
        shown = {atom.name: value >= 0.5 for atom, value in zip(atoms, naive, strict=True)}
        counted = [v * all(shown[p] for p in atom.parents) for atom, v in zip(atoms, naive, strict=True)]
        assert found[row].item() == pytest.approx(sum(counted) / len(counted), abs=1e-6)
    assert score.measures == "fidelity"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({}, "has no questions"),
        ({"questions": []}, "has no questions"),
        ({"vqa_list": [["only a question"]]}, "cannot be read"),
        ({"vqa_list": 7}, "cannot be read"),
        ({"questions": [{"text": "?"}]}, "cannot be read"),
        ({"questions": [{"question": " "}]}, "without text"),
        ({"questions": [{"question": "q", "dependency": "9"}]}, "is no question"),
        ({"qid2question": ["q"]}, "cannot be read"),
    ],
)
def test_a_record_without_questions_has_no_score(record: dict[str, Any], said: str) -> None:
    with pytest.raises(RewardError, match=said):
        AtomicScore(TinyVqa())(pictures(1), ["a cat"], [record])


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (lambda *_: torch.tensor([float("nan")]), "returned nan"),
        (lambda *_: torch.tensor([1.5]), "outside"),
        (lambda *_: torch.tensor([0.5, 0.5]), "one score per image"),
        (lambda *_: 1 / 0, "crashed: ZeroDivisionError"),
    ],
)
def test_answers_that_are_none_are_errors(answers: Any, said: str) -> None:
    with pytest.raises(RewardError, match=said):
        AtomicScore(answers)(pictures(1), ["x"], [{"questions": ["Is it?"]}])


def test_dsgs_table_becomes_rows_of_a_prompt_file(tmp_path: Path) -> None:
    head = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,"
    rows = "w_5,A light,l,1,0,entity,whole,x,Is there a light?\n"
    rows += 'w_5,A light,l,2,"1,1",attribute,color,x,Is it red?\n'
    (tmp_path / "dsg.csv").write_text(f"{head}question_natural_language\n{rows}")
    (found,) = read_dsg(tmp_path / "dsg.csv")
    assert (found["prompt"], found["id"]) == ("A light", "w_5")
    assert atoms_of(found) == [
        Atom("Is there a light?", "yes", "1"),
        Atom("Is it red?", "yes", "2", ("1", "1")),
    ]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no table of DSG"):
        read_dsg(tmp_path / "other.csv")


def test_a_function_of_ones_own_answers_with_permission(tmp_path: Path) -> None:
    (tmp_path / "vqa.py").write_text(
        "def ask(images, questions, answers):\n    return [0.25] * len(questions)\n"
    )
    name = f"atomic:{tmp_path / 'vqa.py'}:ask"
    with pytest.raises(ConfigError, match="--allow-code"):
        load_reward(name)
    assert load_reward(name, allow_code=True)(pictures(2), ["a", "b"], [DSG, GENEVAL]).tolist() == [
        pytest.approx(0.25 * 2 / 3),
        0.25,
    ]


def test_the_mini_classifiers_answer_questions() -> None:
    from dfprompt.mini.renderer import make_scene, render

    prompts = make_mini_prompts(6)
    images = []
    for number, prompt in enumerate(prompts):
        record = prompt.record
        colour = record.get("colour") or "red"
        scene = make_scene(record["subject"], colour, record["scene"], seed=number)
        images.append(torch.from_numpy(render(scene)).permute(2, 0, 1))
    shown = torch.stack(images).float()
    records = [prompt.record for prompt in prompts]
    texts = [prompt.text for prompt in prompts]
    atoms, whole = MiniAtoms()(shown, texts, records), MiniFidelity()(shown, texts, records)
    assert (atoms - whole).abs().max() < 0.35
    assert atoms.min() > 0.6
    subject = records[0]["subject"]
    yes, no = MiniAnswers()(shown[[0, 0]], [f"Is there a {subject}?"] * 2, ["yes", "no"]).tolist()
    assert yes + no == pytest.approx(1, abs=1e-6)
    assert yes > 0.9
    with pytest.raises(RewardError, match="cannot answer"):
        MiniAnswers()(shown[:1], ["Is it nice?"], ["yes"])
