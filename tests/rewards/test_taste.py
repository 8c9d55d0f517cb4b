"""A taste: looks by hand, the weighted sum of terms, and files that hold none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfprompt.api.rewards import load_reward, score_images
from dfprompt.errors import ConfigError
from dfprompt.rewards import CompositeReward, CompositeSettings
from dfprompt.rewards.taste import Taste, TasteScore, TasteTerms, Term, measure_looks, read_taste
from dfprompt.rewards.user import UserScore


def red(images: torch.Tensor, prompts: object, records: object = None) -> torch.Tensor:
    return images[:, 0].mean((1, 2))


def green(images: torch.Tensor, prompts: object, records: object = None) -> torch.Tensor:
    return images[:, 1].mean((1, 2))


def test_looks_are_what_they_are_called() -> None:
    """Left half red, right half black: by hand."""
    image = torch.zeros(1, 3, 4, 4)
    image[0, 0, :, :2] = 1.0
    looks = {name: float(value) for name, value in measure_looks(image).items()}
    assert looks["brightness"] == pytest.approx(0.2126 / 2)
    assert looks["contrast"] == pytest.approx(0.2126 / 2)
    assert looks["warmth"] == pytest.approx(0.5)
    assert looks["colour"] == pytest.approx(0.5)
    assert looks["detail"] == pytest.approx(0.2126 / 3 / 2)  # the two columns at the edge differ by a third
    assert looks["brightness_away"] == pytest.approx((0.2126 / 2 - 0.5) ** 2)
    large = measure_looks(image.repeat_interleave(64, 2).repeat_interleave(64, 3))
    for name in ("brightness", "contrast", "warmth", "colour"):
        assert float(large[name]) == pytest.approx(looks[name], rel=1e-3)


def test_the_crowd_is_the_first_reward_and_a_taste_the_weighted_terms() -> None:
    composite = CompositeReward(
        CompositeSettings(a=0, c=0, d=0), extra={"red": (UserScore("red", red), 2.0)}, name="both"
    )
    terms = TasteTerms([composite, UserScore("green", green)])
    assert terms.crowd == {"red_term": 1.0}
    images, prompts = torch.rand(3, 3, 8, 8), ["a"] * 3
    crowd = TasteScore(terms, terms.crowd)(images, prompts)
    assert torch.allclose(crowd, composite(images, prompts))
    own = TasteScore(terms, {"red_term": 0.5, "green": -3.0, "brightness": 1.0})(images, prompts)
    by_hand = red(images, prompts) - 3 * green(images, prompts) + measure_looks(images)["brightness"]
    assert torch.allclose(own, by_hand, atol=1e-6)


def test_a_reward_that_compares_with_plain_pictures_has_no_terms_of_one_picture() -> None:
    relative = CompositeReward(
        CompositeSettings(a=0, c=1, d=0, zeta_relative=True), clip=UserScore("clip", red)
    )
    with pytest.raises(ConfigError, match="compares with the plain picture"):
        TasteTerms([relative])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "red.py").write_text(
        "def red(images, prompts, records=None):\n    return images[:, 0].mean((1, 2))\n"
    )
    term = Term(name="red", weight=2.0, low=1.0, high=3.0, crowd=1.0)
    look = Term(name="warmth", weight=-1.0, low=-2.0, high=0.0)
    taste = Taste(choices=30, rewards=(f"{tmp_path}/red.py:red",), terms=(term, look))
    taste.save(tmp_path / "taste.toml")
    assert read_taste(tmp_path) == taste
    return tmp_path / "taste.toml"


def test_a_file_is_a_reward_by_name(file: Path) -> None:
    images = torch.rand(2, 3, 8, 8)
    expected = 2 * images[:, 0].mean((1, 2)) - (images[:, 0] - images[:, 2]).mean((1, 2))
    for name in (f"taste:{file}", f"taste:{file.parent}"):
        columns = score_images(images, "a cat", name, allow_code=True)
        assert torch.allclose(columns["taste"], expected, atol=1e-6)
        assert "warmth" in columns
    with pytest.raises(ConfigError, match="allow-code"):
        load_reward(f"taste:{file}")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dfprompt = 1", "dfprompt = 2", "dfprompt"),
        ("weight = 2.0", "weight = nan", "weight"),
        ("choices = 30", "", "choices"),
        ("terms = [", "times = [", "terms"),
        ("rewards = [", 'rewards = ["taste:here.toml", ', "not another taste"),
        ('name = "red"', 'name = "blue"', "has a term 'blue' that its scores do not give"),
    ],
)
def test_a_file_that_holds_no_taste_is_refused(file: Path, old: str, new: str, said: str) -> None:
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=said):
        load_reward(f"taste:{file}", allow_code=True)(torch.rand(1, 3, 8, 8), ["a cat"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_reward(f"taste:{tmp_path / 'nowhere.toml'}")
