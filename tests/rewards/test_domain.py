"""A small world's rewards warn about pictures and words from outside."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from dfprompt.api.rewards import load_reward
from dfprompt.domain import split_words
from dfprompt.errors import DFPromptWarning, LoadError
from dfprompt.rewards import Domain, find_domain, save_domain
from tiny_rewards import IMAGE_SIZE, pictures, prompts

WORLD = Domain("tiny", frozenset({"a", "red", "house", "close", "up"}), 64)


def test_inside_there_is_no_warning() -> None:
    WORLD.check(64, 64, ["a red house", "A RED, house.", "a close-up"])  # warnings are errors here


@pytest.mark.parametrize(
    ("size", "texts", "said"),
    [
        ((512, 512), ["a red house"], "the picture is 512 x 512, its pictures are 64 x 64"),
        ((64, 80), ["a red house"], "the picture is 80 x 64"),
        ((64, 64), ["a red house", "an astronaut"], 'unknown words: "an", "astronaut"'),
        ((64, 64), ["1 2 3 4 5 6 7"], '"5", ...'),
    ],
)
def test_outside_says_that_the_number_means_nothing(
    size: tuple[int, int], texts: list[str], said: str
) -> None:
    with pytest.warns(DFPromptWarning, match="this tiny score means nothing here") as caught:
        WORLD.check(*size, texts)
    assert said in str(caught[0].message)


def test_a_world_of_any_size_or_any_word() -> None:
    Domain("tiny", frozenset(), None).check(7, 9, ["anything at all"])


def test_a_composite_of_three_models_warns_once(small_world: Path) -> None:
    reward = load_reward(small_world, device="cpu")
    with pytest.warns(DFPromptWarning, match="outside the tiny world") as caught:
        reward(pictures(2, 80, 80), prompts(2))
    assert len(caught) == 1
    reward(pictures(2), prompts(2))  # inside: silence


def test_each_part_knows_its_world(small_world: Path) -> None:
    for source in (small_world / "clip", small_world / "aesthetic", f"pickscore:{small_world}"):
        score = load_reward(source, device="cpu")
        with pytest.warns(DFPromptWarning, match="astronaut"):
            score(pictures(1), ["an astronaut"])


def test_models_without_a_world_never_warn(reward_set: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_reward(reward_set, device="cpu")(pictures(1, 70, 90), ["an astronaut"])


def test_it_is_found_in_the_folder_or_the_one_around(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    assert find_domain(tmp_path / "clip") is None
    content = {"name": "tiny", "words": ["Red house", "golden hour"], "image_size": IMAGE_SIZE}
    (tmp_path / "domain.json").write_text(json.dumps(content))
    expected = Domain("tiny", frozenset({"red", "house", "golden", "hour"}), IMAGE_SIZE)
    assert find_domain(tmp_path / "clip") == find_domain(tmp_path) == expected


def test_a_saved_world_is_found_again(tmp_path: Path) -> None:
    save_domain(WORLD, tmp_path)
    assert find_domain(tmp_path) == WORLD


@pytest.mark.parametrize("content", ["{", "[]", '{"words": []}', '{"name": "x", "words": 3}'])
def test_a_damaged_domain_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "domain.json").write_text(content)
    with pytest.raises(LoadError, match=r"domain\.json"):
        find_domain(tmp_path)


def test_words_are_split_as_people_count_them() -> None:
    assert split_words("Close-up, café_8k!") == ["close", "up", "café", "8k"]
    assert split_words("the cat's boats") == ["the", "cat", "boats"]


def test_a_pipeline_names_the_words_it_cannot_draw() -> None:
    with pytest.warns(DFPromptWarning, match=r"astronaut.*: a, close, house, red, up\. .*--pipeline"):
        WORLD.check_words(["a red astronaut", "a red house"])
    WORLD.check_words(["a red house, close-up"])
