"""`compare_prompts` on a tiny pipeline and a tiny policy: what stands beside what, and the files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

import tiny_pipelines
from dfprompt.api import comparison
from dfprompt.api.comparison import Written, compare_prompts
from dfprompt.errors import DFPromptWarning, InputError, LoadError
from dfprompt.images.metadata import find_metadata
from dfprompt.images.reading import read_image
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import SamplingSettings
from dfprompt.prompt import parse_prompt
from dfprompt.requests.render import RenderSettings
from runs import SIZE
from tiny_evaluation import brightness, redness
from tiny_policies import tiny_policy

SETTINGS = RenderSettings(num_inference_steps=2, height=SIZE, width=SIZE)


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


@pytest.fixture
def compare(sd: ImagePipeline, tmp_path: Path) -> Callable[..., comparison.ComparisonRun]:
    def run(*texts: str, **options: Any) -> comparison.ComparisonRun:
        asked = {"settings": SETTINGS, "rewards": [brightness], "judges": [redness], "seeds": [0, 1]}
        return compare_prompts(texts, tmp_path / "out", pipeline=sd, **{**asked, **options})

    return run


def _beside(run: comparison.ComparisonRun) -> dict[str, list[str]]:
    return {
        prompt.plain.text: [f"{each.label}: {each.prompt}" for each in prompt.rewrites]
        for prompt in run.shown.prompts
    }


def test_everything_named_is_written_and_opens(compare: Callable[..., Any]) -> None:
    run = compare("a red house", written=["a red house, [old film:late]"])
    answer = run.to_json()
    assert json.loads((run.folder / "comparison.json").read_text()) == {"dfprompt": 1, **answer}
    assert answer["scores"] == {"brightness": "reward", "redness": "judge"}
    files = [Path(answer["grid"]), Path(answer["report"])]
    for rewrite in answer["prompts"][0]["rewrites"]:
        assert len(rewrite["images"]) == 2
        for image in rewrite["images"]:
            files.append(Path(image["file"]))
            picture = read_image(Path(image["file"]))
            assert picture.size == (SIZE, SIZE)
            recipe = find_metadata(picture.text)
            assert (recipe.df_prompt, recipe.seed) == (rewrite["df_prompt"], image["seed"])
            assert image["scores"]["brightness"] == pytest.approx(picture.pixels.mean().item(), abs=0.004)
        if rewrite["timeline"]:
            files.append(Path(rewrite["timeline"]))
            ElementTree.parse(rewrite["timeline"])
    with Image.open(answer["grid"]) as grid:
        assert grid.width > 2 * 256
    assert sorted([*files, run.folder / "comparison.json", run.folder / "rows.jsonl"]) == sorted(
        run.folder.iterdir()
    )
    assert [rewrite["label"] for rewrite in answer["prompts"][0]["rewrites"]] == ["plain", "with"]


def test_numbers_of_the_answer_are_paired(compare: Callable[..., Any]) -> None:
    answer = compare(written=["a red house, [old film:late]"]).to_json()
    plain, own = (
        [image["scores"]["redness"] for image in each["images"]] for each in answer["prompts"][0]["rewrites"]
    )
    standing = next(
        each
        for each in answer["prompts"][0]["standings"]
        if (each["label"], each["score"]) == ("with", "redness")
    )
    assert standing["mean"] == pytest.approx(sum(own) / 2, abs=1e-5)
    assert standing["to_plain"]["difference"] == pytest.approx((sum(own) - sum(plain)) / 2, abs=1e-5)
    assert standing["to_plain"]["units"] == "seeds"
    single = compare(written=["a red house, [old film:late]"], seeds=[0], force=True).to_json()
    assert single["prompts"][0]["standings"][1]["to_plain"]["interval"] is None
    assert not any(isinstance(value, float) and math.isnan(value) for value in _leaves(single))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    return [leaf for each in value for leaf in _leaves(each)] if isinstance(value, list) else [value]


def test_what_was_written_stands_beside_its_plain_words(compare: Callable[..., Any]) -> None:
    assert _beside(compare(written=["a cat, [snow:late], [grain:early], old"])) == {
        "a cat, old": ["with: a cat, [snow:late], [grain:early], old"]
    }
    found = _beside(
        compare(
            "a cat",
            "a cat in snow",
            written=[
                "a cat in snow, 8k",
                "a cat, [grain:late]",
                "a cat, old",
                Written(parse_prompt("x, y"), "x"),
            ],
            force=True,
        )
    )
    assert found == {
        "a cat": ["with 1: a cat, [grain:late]", "with 2: a cat, old"],
        "a cat in snow": ["with: a cat in snow, 8k"],
        "x": ["with: x, y"],
    }
    assert _beside(compare("a dog", written=["something else"], force=True)) == {
        "a dog": ["with: something else"]
    }


def test_a_policy_rewrites_and_its_candidates_differ(compare: Callable[..., Any]) -> None:
    policy = tiny_policy(favour=("film grain", "oil painting"))
    policy.digest = "abc"
    run = compare("a red cat", "the blue star", policy=policy, candidates=2, written=["a red cat, [8k:late]"])
    beside = _beside(run)
    assert [line.split(":")[0] for line in beside["a red cat"]] == [
        "with",
        "policy tiny 1",
        "policy tiny 2",
    ]
    assert len(set(beside["the blue star"])) == 2
    assert all(line.split(": ", 1)[1].startswith("the blue star") for line in beside["the blue star"])
    row = next(each for each in run.shown.rows if each.method == "policy tiny 2")
    recipe = find_metadata(read_image(run.folder / str(row.picture)).text)
    assert recipe.policy is not None
    assert (recipe.policy.name, recipe.policy.hash) == ("tiny", "abc")
    again = compare("a red cat", policy=policy, candidates=2, force=True)
    assert _beside(again)["a red cat"] == [
        line for line in beside["a red cat"] if not line.startswith("with")
    ]
    assert len(run.to_json()["overall"]) == 2 * 4


def test_spans_already_written_are_kept_on_request(compare: Callable[..., Any]) -> None:
    policy, settings = tiny_policy(favour=("film grain",)), SamplingSettings()
    with pytest.warns(DFPromptWarning, match="taken for words"):
        words = compare("a cat, [8k:late]", policy=policy, sampling=settings)
    assert next(iter(_beside(words))) == "a cat, [8k:late]"
    assert r"\[8k" in _beside(words)["a cat, [8k:late]"][0]
    kept = compare("a cat, [8k:late]", policy=policy, df=True, force=True)
    assert "a cat, [8k:late]" in _beside(kept)["a cat, 8k"][0]


def test_bad_input_is_refused_before_anything_is_drawn(compare: Callable[..., Any], tmp_path: Path) -> None:
    for texts, options, message in (
        ([], {}, "nothing to compare"),
        (["a cat"], {}, "--policy"),
        ([" "], {"written": ["x"]}, "empty prompt"),
        ([], {"written": ["[snow:late]"]}, "no plain words"),
        (["a cat", "a dog"], {"written": ["a horse"]}, "begins with none"),
        ([], {"written": ["a cat, film grain"]}, "beside itself"),
        (["a cat"], {"written": ["a cat, [snow:late]", "a cat"]}, "beside itself"),
        ([], {"written": [Written(parse_prompt("a cat"), "a cat")]}, "beside itself"),
    ):
        with pytest.raises(InputError, match=message):
            compare(*texts, **options)
    assert not (tmp_path / "out").exists()
    compare(written=["a cat, [snow:late]"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="--resume to go on with it or --force"):
        compare(written=["a cat, [snow:late]"])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_a_comparison_goes_on_where_it_was_stopped(compare: Callable[..., Any], tmp_path: Path) -> None:
    whole = compare(written=["a cat, [snow:late]"])
    log = tmp_path / "out" / "rows.jsonl"
    drawn = {path: path.stat().st_mtime_ns for path in whole.pictures}
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:3]).replace("\t\n", "\n") + lines[3][:20])  # as if two had been a batch
    for path in (whole.grid, whole.report, *whole.pictures[2:]):
        path.unlink()
    again = compare(written=["a cat, [snow:late]"], resume=True)
    assert again.to_json()["prompts"] == whole.to_json()["prompts"]
    assert all(path.exists() for path in (again.grid, again.report, *again.pictures))
    kept = whole.pictures[:2]
    assert {path: path.stat().st_mtime_ns for path in kept} == {path: drawn[path] for path in kept}
    log.unlink()
    with pytest.raises(InputError, match="of an earlier version, which cannot go on"):
        compare(written=["a cat, [snow:late]"], resume=True)


def test_without_weights_for_the_usual_scores_pictures_are_drawn_unscored(
    compare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise LoadError("no CLIP here; fetch it with: hf download")

    monkeypatch.setattr("dfprompt.api.scoring.load_reward", missing)
    with pytest.warns(DFPromptWarning, match="not scored: no CLIP here"):
        run = compare(written=["a cat, [snow:late]"], rewards=[], judges=[])
    assert run.to_json()["scores"] == {}
    assert run.report.exists()
    silent = compare(written=["a cat, [snow:late]"], rewards=["none"], judges=[], force=True)
    assert silent.to_json()["scores"] == {}
    with pytest.raises(LoadError, match="'clip' are not on this machine"):
        compare(written=["a cat, [snow:late]"], rewards=["clip"], force=True)


def test_pictures_without_metadata(compare: Callable[..., Any]) -> None:
    run = compare(written=["a cat, [snow:late]"], metadata=False)
    assert not any(read_image(path).text for path in run.pictures)


def test_words_vary_in_time_without_a_policy_and_what_is_heard_twice_is_drawn_once(
    compare: Callable[..., Any],
) -> None:
    run = compare("a red house", vary=["old film"], seeds=[0])
    labels = ["all the time", "early", "late", "late and gently"]
    assert [line.split(":")[0] for line in _beside(run)["a red house"]] == labels
    assert len(run.pictures) == 5
    assert len({path.read_bytes() for path in run.pictures}) == 5
    rewrites = run.to_json()["prompts"][0]["rewrites"]
    assert [each["same_as"] for each in rewrites] == [None] * 5
    one = SETTINGS.model_copy(update={"num_inference_steps": 1})  # late has no step, early has all
    short = compare("a red house", vary=["old film"], settings=one, force=True)
    same = {each["label"]: each["same_as"] for each in short.to_json()["prompts"][0]["rewrites"]}
    assert same == {
        "plain": None,
        "all the time": None,
        "early": "all the time",
        "late": "plain",
        "late and gently": "plain",
    }
    assert len(short.pictures) == 2 * 2
    page = short.report.read_text()
    assert page.count("the same pictures, drawn once") == 3
    assert page.count("<figure>") == 4
    late = [each for each in short.to_json()["prompts"][0]["standings"] if each["label"] == "late"]
    assert {each["to_plain"]["tied"] for each in late} == {2}


def test_several_words_and_several_prompts_vary(compare: Callable[..., Any]) -> None:
    run = compare("a red house", "a dog, snow", vary=["snow", "grain"], seeds=[0])
    beside = _beside(run)
    assert beside["a dog, snow"][2] == "snow late: a dog, [snow:late]"
    assert beside["a red house"][4] == "grain all the time: a red house, [grain:full]"
    found = {each["label"]: each for each in run.to_json()["prompts"][1]["rewrites"]}
    assert found["snow all the time"]["same_as"] == "plain"
    for given, message in (
        ({"vary": [" "]}, "takes the words to try"),
        ({"vary": ["[snow:late]"]}, "takes words alone"),
    ):
        with pytest.raises(InputError, match=message):
            compare("a cat", force=True, **given)
    with pytest.raises(InputError, match="beside a prompt"):
        compare(vary=["snow"], written=["a cat, [grain:late]"], force=True)


def test_a_policy_that_leaves_a_prompt_alone_says_so_and_draws_nothing_twice(
    compare: Callable[..., Any],
) -> None:
    quiet = tiny_policy(ending=12.0)
    run = compare("a red cat", "the blue star", policy=quiet)
    answer = run.to_json()
    left = answer["prompts"][0]["rewrites"][1]
    assert left["unchanged"] == "left alone: nothing it knows would help here"
    assert left["same_as"] == "plain"
    assert [each["file"] for each in left["images"]] == [
        each["file"] for each in answer["prompts"][0]["rewrites"][0]["images"]
    ]
    assert len(run.pictures) == 2 * 2
    assert len(list(run.folder.glob("*seed*.png"))) == 2 * 2
    assert run.report.read_text().count("left alone: nothing it knows would help here.") == 2
    again = compare("a red cat", "the blue star", policy=quiet, resume=True)
    assert again.to_json()["prompts"] == answer["prompts"]
    forced = compare("a red cat", policy=quiet, at_least=1, force=True)
    (rewrite,) = forced.to_json()["prompts"][0]["rewrites"][1:]
    assert rewrite["unchanged"] is None
    assert any(isinstance(span, dict) for span in rewrite["spans"]) or rewrite["df_prompt"] != "a red cat"
