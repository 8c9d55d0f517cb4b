"""Choices become a taste: what is asked, what is kept, what it then likes, and what that is worth."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from dfprompt.api.rewards import score_images
from dfprompt.api.taste import CHOICES, PAGE, learn_taste
from dfprompt.errors import InputError
from dfprompt.evaluation.judge_check import Pair, read_pairs
from dfprompt.images.reading import read_image
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.log import ROWS, MeasurementLog
from dfprompt.measurement.rows import Row
from dfprompt.rewards.taste import TASTE_FILE, read_taste

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "own-taste" / "regret.py"


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A folder as an evaluation leaves it: six prompts, four pictures each, of random flat colours."""
    folder, generator = tmp_path / "drawn", torch.Generator().manual_seed(1)
    folder.mkdir()
    with MeasurementLog(folder / ROWS, {}, kind="evaluation") as log:
        for prompt in range(6):
            for method in ("plain", "secret-method"):
                for seed in (0, 1):
                    name = f"{prompt}-{method}-{seed}.png"
                    colour = torch.rand(3, 1, 1, generator=generator)
                    to_pil(colour.expand(1, 3, 8, 8))[0].save(folder / name)
                    text = f"prompt {prompt}"
                    log.append([Row(method, f"p{prompt}", text, seed, seed, text + method, name)])
    return folder


@pytest.fixture
def reward(tmp_path: Path) -> str:
    """A crowd that likes green."""
    code = "def green(images, prompts, records=None):\n    return images[:, 1].mean((1, 2))\n"
    (tmp_path / "crowd.py").write_text(code)
    return f"{tmp_path}/crowd.py:green"


class Warm:
    """Somebody who likes red more than blue, and stops after `patience` answers."""

    def __init__(self, patience: int = 1000) -> None:
        self.patience, self.seen = patience, list[frozenset[str]]()
        self.pages = list[str]()

    def likes(self, file: Path) -> float:
        pixels = read_image(file).pixels
        return float((pixels[0] - pixels[2]).mean())

    def __call__(self, pair: Pair, page: Path, number: int) -> str | None:
        if len(self.seen) == self.patience:
            return None
        self.pages.append(page.read_text())
        self.seen.append(frozenset((str(pair.a), str(pair.b))))
        return "a" if self.likes(pair.a) > self.likes(pair.b) else "b"


def test_a_taste_is_learnt_kept_and_used(tmp_path: Path, drawn: Path, reward: str) -> None:
    somebody, mine = Warm(), tmp_path / "mine"
    run = learn_taste(mine, choose=somebody, pictures=drawn, rewards=[reward], allow_code=True, count=20)
    assert (run.asked, run.taste.choices, len(set(somebody.seen))) == (20, 20, 20)
    assert read_taste(mine) == run.taste
    assert run.taste.agrees is not None
    assert run.taste.crowd_agrees is not None
    assert run.taste.agrees > 0.85 > run.taste.crowd_agrees
    warmth = next(term for term in run.taste.terms if term.name == "warmth")
    assert warmth.low > 0
    red, blue = torch.zeros(2, 3, 8, 8)
    red[0], blue[2] = 0.7, 0.7
    scores = score_images(torch.stack([red, blue]), "x", f"taste:{mine}", allow_code=True)["taste"]
    assert scores[0] - scores[1] > 1


def test_pages_say_nothing_of_methods_and_sides_are_by_chance(
    tmp_path: Path, drawn: Path, reward: str
) -> None:
    somebody = Warm()
    learn_taste(
        tmp_path / "mine", choose=somebody, pictures=drawn, rewards=[reward], allow_code=True, count=25
    )
    for page in somebody.pages:
        assert "secret-method" not in page
        assert "plain" not in page
        assert page.count("<figure>") == 2
        assert "<script" not in page
    lines = [json.loads(line) for line in (tmp_path / "mine" / CHOICES).read_text().splitlines()]
    left = [("secret" in line["a"]) for line in lines if ("secret" in line["a"]) != ("secret" in line["b"])]
    assert True in left
    assert False in left
    assert all(not Path(line["a"]).is_absolute() for line in lines)


def test_it_goes_on_where_it_was_and_asks_nothing_twice(tmp_path: Path, drawn: Path, reward: str) -> None:
    mine = tmp_path / "mine"
    options = {"pictures": [drawn], "rewards": [reward], "allow_code": True, "count": 12}
    first, second, third = Warm(5), Warm(), Warm()
    assert learn_taste(mine, choose=first, **options).taste.choices == 5
    assert learn_taste(mine, choose=second, **options).taste.choices == 12
    assert not set(first.seen) & set(second.seen)
    again = learn_taste(mine, choose=third, **options)
    assert (again.asked, third.seen) == (0, [])
    unbroken = learn_taste(tmp_path / "other", choose=Warm(), **options)
    assert len(read_pairs(mine / CHOICES)) == len(read_pairs(tmp_path / "other" / CHOICES)) == 12
    assert unbroken.taste.choices == again.taste.choices


def test_a_file_of_choices_is_enough(tmp_path: Path, drawn: Path, reward: str) -> None:
    learn_taste(tmp_path / "mine", choose=Warm(), pictures=drawn, rewards=[reward], allow_code=True, count=8)
    options = {"rewards": [reward], "allow_code": True}
    run = learn_taste(tmp_path / "again", choices=tmp_path / "mine" / CHOICES, **options)
    assert run.taste.terms == read_taste(tmp_path / "mine").terms
    assert not (tmp_path / "again" / PAGE).exists()
    same = learn_taste(tmp_path / "again", choices=tmp_path / "mine" / CHOICES, **options)
    assert same.taste == run.taste


def test_nobody_who_chose_is_an_error_and_ties_are_kept(tmp_path: Path, drawn: Path, reward: str) -> None:
    answers = iter(["tie", "tie", None])
    options = {"pictures": [drawn], "rewards": [reward], "allow_code": True}
    with pytest.raises(InputError, match="nobody chose yet"):
        learn_taste(tmp_path / "mine", choose=lambda *_: next(answers), **options)
    assert not (tmp_path / "mine" / TASTE_FILE).exists()
    run = learn_taste(tmp_path / "mine", choose=Warm(3), **options)
    assert (run.taste.choices, run.taste.ties) == (5, 2)


def test_what_leaves_nothing_to_choose_is_refused(tmp_path: Path, reward: str) -> None:
    with pytest.raises(InputError, match="nothing to choose between"):
        learn_taste(tmp_path / "mine")
    with pytest.raises(InputError, match="by name"):
        learn_taste(tmp_path / "mine", pictures=tmp_path, rewards=[lambda images, prompts: images])
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / TASTE_FILE).write_text("somebody's")
    with pytest.raises(InputError, match="did not write it"):
        learn_taste(tmp_path / "theirs", pictures=tmp_path, rewards=[reward], allow_code=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["own", "half", "bent"])
@pytest.mark.few(1)
def test_a_simulated_persons_own_taste_has_at_most_half_of_the_crowds_regret(kind: str) -> None:
    """After 30 pairs, on pictures of prompts that were not asked about; twelve people of each kind."""
    measure_people = runpy.run_path(str(EXPERIMENT), run_name="experiment")["measure_people"]
    crowd, own = np.mean(measure_people(kind, 12), axis=0)
    assert 0 < own <= crowd / 2
