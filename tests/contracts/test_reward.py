"""The reward seam: what holds for every reward and judge, ours and the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import tiny_rewards
from dfprompt.api.reward_server import RewardServer, RewardService
from dfprompt.api.rewards import load_reward
from dfprompt.config import make_config
from dfprompt.errors import ConfigError, RewardError
from dfprompt.rewards import (
    CompositeReward,
    RemoteScore,
    RemoteSettings,
    RewardSettings,
    Score,
    ScoreLoader,
    as_score,
    make_reward,
)
from reward_servers import serving
from tiny_rewards import pictures, prompts

Build = Callable[[int | None], Score]
# The pictures here are noise and not of the mini world; it says so, and the contract holds all the same.
pytestmark = [
    pytest.mark.filterwarnings("ignore:outside the mini"),
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.few("clip", "aesthetic", "composite+extra", "callable", "mini", "http"),
]
# Random float32 towers on a CPU: other batch sizes take other kernels, which move the last bits.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def _brightness(images, prompts, records=None):
    return images.mean((1, 2, 3)) + torch.tensor([0.01 * len(prompt) for prompt in prompts])


class _ReddishJudge:
    """A judge that reads the records and answers with a plain list."""

    def __call__(self, images, prompts, records=None):
        wanted = [(record or {}).get("red", 0.5) for record in records] if records else [0.5] * len(images)
        return [float(image[0].mean()) - want for image, want in zip(images, wanted, strict=True)]


@pytest.fixture(scope="session")
def hps_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HPSv2.1's shape of folder: CLIP-H's configuration around an open_clip checkpoint."""
    folder = tmp_path_factory.mktemp("scorers") / "hps"
    tiny_rewards.save_open_clip(folder)
    return folder


@pytest.fixture(scope="session")
def icthp_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ICT and HP in their published layouts."""
    folder = tmp_path_factory.mktemp("scorers") / "icthp"
    tiny_rewards.save_icthp(folder)
    return folder


@pytest.fixture
def reward_server() -> Iterator[str]:
    """A callable behind an address."""
    service = RewardService(as_score(_brightness, "light"), None, frozenset({"127.0.0.1"}))
    with serving(RewardServer(service)) as server:
        yield server.url


@pytest.fixture(
    params=[
        "clip",
        "pickscore",
        "hps",
        "ict",
        "hp",
        "aesthetic",
        "composite",
        "composite+extra",
        "callable",
        "judge",
        "mini",
        "http",
    ]
)
def build(
    request: pytest.FixtureRequest,
    clip_folder: Path,
    pickscore_folder: Path,
    hps_folder: Path,
    icthp_folder: Path,
    head_file: Path,
    reward_set: Path,
) -> Build:
    """Every implementation, freshly loaded, for a given batch size."""

    def make(batch_size: int | None = None) -> Score:
        shelf = ScoreLoader(device="cpu", batch_size=batch_size)
        match request.param:
            case "clip":
                return shelf.load_score("clip", str(clip_folder))
            case "pickscore":
                return shelf.load_score("pickscore", str(pickscore_folder))
            case "hps":
                return shelf.load_score("hps", str(hps_folder))
            case "aesthetic":
                return shelf.load_score("aesthetic", str(head_file), tower=str(clip_folder))
            case "ict" | "hp" as kind:
                return shelf.load_score(kind, str(icthp_folder / kind))
            case "mini":
                return load_reward("mini", device="cpu", batch_size=batch_size)
            case "callable":
                return as_score(_brightness)
            case "judge":
                return as_score(_ReddishJudge())
            case "http":
                url = request.getfixturevalue("reward_server")
                return RemoteScore(url, RemoteSettings(batch=batch_size or 8, retries=0))
        place = str(reward_set)
        models = {"clip": place, "aesthetic": place, "preference": place}
        reward = make_reward(make_config(RewardSettings, {"models": models}), shelf)
        if request.param == "composite":
            return reward
        return CompositeReward(
            reward.constants, **reward.parts, extra={"light": (as_score(_brightness), 2.0)}
        )

    return make


def test_one_finite_float32_score_per_picture_on_its_device(build: Build) -> None:
    scores = build(None)(pictures(6), prompts(6))
    assert scores.shape == (6,)
    assert scores.dtype == torch.float32
    assert scores.device == torch.device("cpu")
    assert scores.isfinite().all()
    assert not scores.requires_grad
    assert scores.std() > 1e-3  # the tolerances below could not fail on equal scores


def test_shuffling_the_batch_shuffles_the_scores(build: Build) -> None:
    images, texts, order = pictures(6), prompts(6), [3, 0, 5, 1, 4, 2]
    reward = build(None)
    shuffled = reward(images[order], [texts[row] for row in order])
    torch.testing.assert_close(shuffled, reward(images, texts)[order], **TOLERANCE)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.few(8)
def test_the_batch_size_does_not_change_the_scores(build: Build, batch_size: int) -> None:
    images, texts = pictures(7), prompts(7)
    torch.testing.assert_close(build(batch_size)(images, texts), build(None)(images, texts), **TOLERANCE)


def test_each_picture_is_scored_against_its_own_prompt(build: Build) -> None:
    images, texts = pictures(4), prompts(4)
    reward = build(None)
    alone = torch.cat([reward(images[row : row + 1], [texts[row]]) for row in range(4)])
    torch.testing.assert_close(reward(images, texts), alone, **TOLERANCE)


def test_the_same_call_gives_the_same_bits_and_leaves_its_arguments_alone(build: Build) -> None:
    images, texts = pictures(3), prompts(3)
    kept_images, kept_texts = images.clone(), list(texts)
    reward = build(None)
    assert torch.equal(reward(images, texts), reward(images, texts))
    assert torch.equal(images, kept_images)
    assert texts == kept_texts


def test_an_empty_batch_gives_no_scores(build: Build) -> None:
    assert build(None)(pictures(3)[:0], []).shape == (0,)


def test_records_are_taken_beside_the_prompts(build: Build) -> None:
    scores = build(None)(pictures(2), prompts(2), [{"red": 0.1}, {"red": 0.9}])
    assert scores.shape == (2,)


@pytest.mark.parametrize("texts", [["one"], ["one", "two", "three"], "ab", None, ["one", 2]])
@pytest.mark.few(10)
def test_a_wrong_number_or_kind_of_prompts_raises(build: Build, texts: object) -> None:
    with pytest.raises(ConfigError, match="prompt"):
        build(None)(pictures(2), texts)


def test_a_wrong_number_of_records_raises(build: Build) -> None:
    with pytest.raises(ConfigError, match="2 images need 2 records, got 1"):
        build(None)(pictures(2), prompts(2), [{}])


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.rand(2, 3, 8), r"\(B, 3, H, W\)"),
        (torch.rand(2, 4, 8, 8), r"\(2, 4, 8, 8\)"),
        (torch.rand(2, 3, 0, 8), r"\(2, 3, 0, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.full((2, 3, 8, 8), 255.0), "255"),
        (torch.full((2, 3, 8, 8), -1.0), "-1"),
        ([1, 2], "list"),
    ],
)
@pytest.mark.few(12)
def test_what_is_not_a_batch_of_pictures_raises(build: Build, images: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(None)(images, prompts(2))


def test_broken_pixels_raise_naming_the_rows(build: Build) -> None:
    images = pictures(4)
    images[1, 0, 3, 3] = images[3, 2, 0, 0] = float("nan")
    with pytest.raises(RewardError, match="rows 1, 3 of 4"):
        build(None)(images, prompts(4))


def test_a_model_gone_wrong_raises_naming_it_and_the_rows(build: Build) -> None:
    reward = build(None)
    towers = list(reward.towers())
    if not towers:
        pytest.skip("no model behind it; test_user.py breaks callables")
    for tower in towers:
        tower.model.visual_projection.weight.fill_(float("nan"))
    names = "|".join({"clip", "pickscore", "hps", "aesthetic", "ict", "hp"})
    with pytest.raises(RewardError, match=rf"({names}) returned nan for rows 0, 1, 2 of 3"):
        reward(pictures(3), prompts(3))
