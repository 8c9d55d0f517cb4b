"""Fixed baselines found on validation prompts: the strongest is found, the images are counted and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny_pipelines
from dfprompt.api.baselines import RECORD, BaselineSearch, Found
from dfprompt.api.evaluation import evaluate
from dfprompt.errors import ConfigError, EvaluationError, RewardError
from dfprompt.evaluation.methods import FixedSuffix, Plain
from dfprompt.evaluation.modifiers import find_modifiers
from dfprompt.measurement.prompts import as_prompts
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.pipeline.image_pipeline import ImagePipeline, Pictures
from dfprompt.prompt import DFPrompt, parse_prompt
from dfprompt.requests.render import RenderSettings
from runs import SIZE
from tiny_evaluation import brightness

SETTINGS = RenderSettings(num_inference_steps=2, height=SIZE, width=SIZE)
PROMPTS = as_prompts(["a red house", "a cat", "a dog in snow"])
WORDS = ["film", "old", "snow", "photo", "style"]


class Shown(ImagePipeline):
    """Draws pictures whose level says what their DF-Prompt is worth, and counts them."""

    worth: Callable[[str, DFPrompt], float]

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        self.drawn: list[tuple[str, int]] = []

    def draw_request(self, request: Any, **options: Any) -> Pictures:
        self.drawn += [
            (str(prompt), seed) for prompt, seed in zip(request.prompts, request.seeds, strict=True)
        ]
        levels = [
            0.5 + 0.01 * self.worth(str(prompt), prompt) + 1e-4 * (seed % 97)  # noise shared within a cell
            for prompt, seed in zip(request.prompts, request.seeds, strict=True)
        ]
        images = torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
        return Pictures(images, request, len(levels), 0, self)


@pytest.fixture
def shown(tiny_folder: Callable[[str], Path]) -> Shown:
    return Shown(tiny_pipelines.load(tiny_folder("sd1")))


def _search(shown: Shown, folder: Path, images: int = 120, reward: Any = brightness) -> BaselineSearch:
    return BaselineSearch(
        shown, Scoreboard({"brightness": reward}), PROMPTS, images, folder / RECORD, SETTINGS
    )


def _words(text: str, prompt: DFPrompt) -> float:
    """Film and snow help, best together; everything else harms."""
    return sum({"film": 3.0, "snow": 2.0}.get(word, -1.0) for word in text.split(", ")[1:])


def test_the_best_words_are_found_within_the_images(shown: Shown, tmp_path: Path) -> None:
    shown.worth = _words
    found = _search(shown, tmp_path).find_suffix(WORDS)
    assert sorted(found.text.split(", ")) == ["film", "snow"]
    assert found.images == len(shown.drawn) == len(set(shown.drawn)) <= 120
    assert found.difference == pytest.approx(0.05, abs=1 / 255)  # of 8 bits, as files hold them
    assert found.how == f"found on 3 validation prompts with {found.images} images"
    again = _search(shown, tmp_path).find_suffix(WORDS)
    assert (again, len(shown.drawn)) == (found, found.images)  # from the record
    _search(shown, tmp_path).find_suffix([*WORDS, "8k"])
    assert len(shown.drawn) > found.images  # another search


def test_every_word_has_the_control_it_needs(shown: Shown, tmp_path: Path) -> None:
    def worth(text: str, prompt: DFPrompt) -> float:
        best = {"film": ("late", "1.5"), "old": ("early", "1.25")}
        got = {s.text: (str(s.effect_range), str(s.weight)) for s in find_modifiers("", prompt)}
        return sum(
            (got[word][0] == control[0]) + (got[word][1] == control[1])
            for word, control in best.items()
            if word in got
        )

    shown.worth = worth
    found = _search(shown, tmp_path, 360).find_controls("film, [old:early:0.5]")
    spans = {s.text: s for s in parse_prompt(found.text).controls}
    assert found.images == len(shown.drawn) <= 360
    # all words alike first, then one word's range or weight: three of the four must be right
    assert worth("", parse_prompt(found.text)) >= 3
    assert set(spans) == {"film", "old"}


class _Mine:
    """Two words behind every prompt, none behind the last."""

    name, definition, pictures = "mine", "two words", 1

    def rewrite(self, prompts: Sequence[Any], seed: int) -> list[DFPrompt | None]:
        made = FixedSuffix("[film:early:0.5], old").rewrite(prompts, seed)
        return [*made[:-1], DFPrompt.from_plain(prompts[-1].text)]


def test_the_best_single_control_is_found(shown: Shown, tmp_path: Path) -> None:
    shown.worth = lambda text, prompt: sum(
        float(str(span) in ("[film:late:0.75]", "[old:late:0.75]")) for span in prompt.controls
    )
    found = _search(shown, tmp_path, 160).find_constant(_Mine())
    assert found is not None
    assert found.text == "late:0.75"
    assert (found.prompts, found.images) == (2, len(shown.drawn))
    assert found.images <= 160
    assert all("dog" not in text for text, _ in shown.drawn)  # it has no words to control there
    assert _search(shown, tmp_path).find_constant(Plain()) is None
    shown.worth = lambda text, prompt: -float(len(prompt.controls))
    best = _search(shown, tmp_path / "other", 160).find_constant(_Mine())
    assert best is not None
    assert best.text == "full:1"


def test_too_few_images_and_failing_scores_are_named(shown: Shown, tmp_path: Path) -> None:
    shown.worth = _words
    with pytest.raises(
        ConfigError, match=r"choosing among 5 .* takes 12 images at least.*--validation-images"
    ):
        _search(shown, tmp_path, 20).find_suffix(WORDS)

    def broken(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        raise RuntimeError("no weights")

    with pytest.raises(RewardError, match=r"failed for all .* pictures.*no weights"):
        _search(shown, tmp_path, reward=broken).find_suffix(WORDS)
    with pytest.raises(ConfigError, match="needs words"):
        _search(shown, tmp_path).find_controls(" ")
    (tmp_path / RECORD).write_text("{}")
    with pytest.raises(EvaluationError, match="remove it to search again"):
        _search(shown, tmp_path).find_suffix(WORDS)


def test_an_evaluation_searches_once_and_states_the_images(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """On a real (tiny) pipeline: the found suffix, with and without controls, and the constant arm."""
    pipeline = ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))
    asked: dict[str, Any] = {
        "pipeline": pipeline, "settings": SETTINGS, "rewards": [brightness], "seeds": [0],
        "modifiers": ["film", "old", "snow", "photo"], "validation": ["a cat", "a star"],
        "validation_images": 160,
    }  # fmt: skip
    methods = ["constant:suffix-controls", "suffix", "suffix-controls"]
    run = evaluate(["a red house"], methods, tmp_path / "out", **asked)
    kept = json.loads((tmp_path / "out" / RECORD).read_text())["searches"]
    assert set(kept) == {"suffix", "suffix-controls", "constant:suffix-controls"}
    found = {name: Found(**each["found"]) for name, each in kept.items()}
    definitions = {line.method: line.definition for line in run.summary.methods}
    for name in ("suffix", "suffix-controls", "constant:suffix-controls"):
        assert f"with {found[name].images} images" in definitions[name]
        assert 0 < found[name].images <= 160
    texts = {row.method: str(row.df_prompt) for row in run.outcome.rows}
    assert texts["suffix"] == f"a red house, {found['suffix'].text}"
    assert texts["suffix-controls"] == f"a red house, {found['suffix-controls'].text}"
    assert parse_prompt(texts["suffix"]).controls == ()
    before = (tmp_path / "out" / RECORD).read_bytes()
    evaluate(["a red house"], methods, tmp_path / "out", **asked)
    assert (tmp_path / "out" / RECORD).read_bytes() == before
