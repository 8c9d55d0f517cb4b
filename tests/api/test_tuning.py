"""`tune_prompt` on a tiny pipeline: files, numbers, resuming after a kill, rewards that fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import tiny_pipelines
from dfprompt.api.policies import tokenizers_of
from dfprompt.api.tuning import TuneRun, tune_prompt
from dfprompt.errors import ConfigError, DFPromptWarning, GenerationError, InputError, RewardError
from dfprompt.evaluation.modifiers import find_modifiers
from dfprompt.images.metadata import find_metadata
from dfprompt.images.reading import read_image
from dfprompt.measurement.log import ROWS, read_rows
from dfprompt.measurement.rows import Row
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import SamplingSettings, TokenBudget
from dfprompt.prompt import DFPrompt, parse_prompt
from dfprompt.requests.render import RenderSettings
from dfprompt.search.engine import FRESH
from dfprompt.statistics.student_t import student_quantile
from dfprompt.storage import LineFile
from runs import SIZE
from tiny_evaluation import brightness, redness
from tiny_policies import tiny_policy

SETTINGS = RenderSettings(num_inference_steps=4, height=SIZE, width=SIZE)
WORDS = "anime style\n[old film:late:1.5]\nblue\n[snow:early]\n"


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


@pytest.fixture
def tune(sd: ImagePipeline, tmp_path: Path) -> Callable[..., TuneRun]:
    (tmp_path / "words.txt").write_text(WORDS)

    def run(text: str = "a red house", **options: Any) -> TuneRun:
        asked = {"pipeline": sd, "modifiers": tmp_path / "words.txt", "images": 20, "settings": SETTINGS}
        asked |= {"rewards": [brightness], "judges": [redness]}
        return tune_prompt(text, tmp_path / "out", **{**asked, **options})

    return run


def _rows(run: TuneRun) -> list[Row]:
    return read_rows(run.folder / ROWS)


def test_everything_named_is_written_and_every_image_has_its_lines(tune: Callable[..., TuneRun]) -> None:
    run = tune()
    answer = run.to_json()
    assert json.loads((run.folder / "tune.json").read_text()) == {"dfprompt": 1, **answer}
    rows, pictures = _rows(run), sorted((run.folder / "images").iterdir())
    assert len(rows) == len(pictures) == answer["images"]["measured"] <= 20
    for row in rows:
        picture = read_image(run.folder / str(row.picture))
        recipe = find_metadata(picture.text)
        assert (recipe.df_prompt, recipe.seed) == (row.df_prompt, row.seed)
        assert row.scores["brightness"] == brightness(picture.pixels[None], []).item()
    with Image.open(answer["grid"]) as grid:
        assert grid.width > 500
    assert {row.stage for row in rows} >= {"candidates, round 1", "fresh seeds"}


def test_the_numbers_are_those_of_the_fresh_seeds(tune: Callable[..., TuneRun]) -> None:
    run = tune()
    answer = run.to_json()
    assert answer["finalist"] is not None
    fresh = {
        prompt: [row.scores for row in _rows(run) if row.seed >= FRESH and row.df_prompt == prompt]
        for prompt in ("a red house", answer["finalist"])
    }
    for line in answer["scores"]:
        plain, own = ([each[line["score"]] for each in rows] for rows in fresh.values())
        assert line["plain"] == pytest.approx(fmean(plain))
        assert line["difference"] == pytest.approx(fmean(own) - fmean(plain))
        assert line["pairs"] == len(plain) == answer["images"]["fresh_pairs"]
    assert [(line["score"], line["role"]) for line in answer["scores"]] == [
        ("brightness", "reward"),
        ("redness", "judge"),
    ]
    plain = [row for row in _rows(run) if row.method == "plain"]
    kept = max(plain, key=lambda row: row.scores["brightness"])
    best = answer["best_of_n"]
    assert (best["n"], best["seed"]) == (len(plain), kept.seed)
    assert best["best_plain"] == kept.scores["brightness"]
    own = fresh[answer["finalist"]]
    for line in best["scores"]:
        column = [each[line["score"]] for each in own]
        assert line["difference"] == pytest.approx(fmean(column) - kept.scores[line["score"]])
        spread = stdev(column) / len(column) ** 0.5 * student_quantile(0.95, len(column) - 1)
        assert line["interval"] == pytest.approx([line["difference"] - spread, line["difference"] + spread])
    assert [line["score"] for line in best["scores"]] == ["brightness", "redness"]
    assert best["finalist_best"] == max(each["brightness"] for each in own)
    said, (reward, judge) = run.sentence(), answer["scores"]
    assert said.startswith("It helped: " if answer["df_prompt"] else "No clear help: ")
    assert f"{reward['difference']:+.3g} in brightness on {reward['pairs']} fresh seeds" in said
    assert f", for {answer['images']['measured']} pictures" in said
    assert ("redness fell" in said) is (judge["difference"] < 0)
    mean = fmean(each["brightness"] for each in own)
    assert ("keeping the best would have given more" in said) is (best["best_plain"] > mean)


def test_best_of_n_has_as_many_images_as_the_search(tune: Callable[..., TuneRun]) -> None:
    answer = tune(images=34, best_of_n=True).to_json()
    images, best = answer["images"], answer["best_of_n"]
    assert best["equal_images"] is True
    assert best["n"] == best["search_images"] == images["search"]
    assert images["measured"] == images["search"] + images["best_of_n"] <= 34
    assert images["best_of_n"] > 0
    again = tune(images=34, best_of_n=True, resume=True).to_json()
    assert again["images"]["drawn_now"] == 0
    assert again["best_of_n"] == best
    with pytest.raises(InputError, match="best-of-n differ"):
        tune(images=34, resume=True)


def test_what_a_policy_proposes_is_tried_first_and_labelled(
    tune: Callable[..., TuneRun], sd: ImagePipeline
) -> None:
    policy = tiny_policy(favour=("film grain", "oil painting"))
    run = tune(policy=policy, candidates=3, images=40)
    counted = SamplingSettings(budget=TokenBudget(policy.budget.limit, tokenizers_of(sd)))
    acting = policy.model.config.tables.acting(SETTINGS.num_inference_steps)
    rewrites = policy.candidates([DFPrompt.from_plain("a red house")], 3, 0, counted, acting=acting)[0]
    first = [str(prompt) for prompt, _ in run.outcome.rounds[0].pairs]
    origins = {"a red house": "plain"} | {str(arm.prompt): arm.origin for arm in run.outcome.arms}
    proposed = [prompt for prompt in first if origins[prompt] == "policy tiny"]
    found = [{(s.text, s.effect_range, s.weight) for s in each.modifiers} for each in rewrites]
    assert len(proposed) == len({frozenset(each) for each in found if each}) > 1
    assert len(proposed) < len(first) - 1  # words of the list beside them
    for prompt in proposed:
        spans = {
            (s.text, s.effect_range, s.weight) for s in find_modifiers("a red house", parse_prompt(prompt))
        }
        assert spans in found  # the very controls that were drawn
    assert {origins[prompt] for prompt in first} == {"plain", "policy tiny", "words.txt"}
    answer = run.to_json()
    assert {each["origin"] for each in answer["candidates"]} >= {"policy tiny", "words.txt"}
    assert answer["origin"] in {each["origin"] for each in answer["candidates"]}
    with pytest.raises(InputError, match="proposals differ"):
        tune(policy=policy, candidates=1, images=40, resume=True)
    with pytest.raises(InputError, match="--policy proposes"):
        tune("a cat, [old film:late]", df=True, only="old film", policy="starter")
    with pytest.raises(ConfigError, match="candidates must be"):
        tune(policy=policy, candidates=0)


@pytest.mark.nightly
def test_minutes_are_counted_alike_after_a_restart(tune: Callable[..., TuneRun]) -> None:
    """The journal's seconds count when their pictures are asked for, not all at once at the start."""
    whole = tune(images=40, minutes=30.0).to_json()
    journal = Path(whole["journal"])
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    slow = [{**row, "seconds": 200.0} if "seconds" in row else row for row in rows]
    journal.write_text("".join(json.dumps(row) + "\n" for row in slow))
    again = tune(images=40, minutes=30.0, resume=True)
    first = {(row["df_prompt"], row["seed"]) for row in rows[1:] if row["stage"] == "candidates, round 1"}
    assert len(again.outcome.rounds[0].pairs) == len(first) > 5  # no room for them, were all counted at once
    assert len(again.outcome.ledger.scores) < whole["images"]["measured"]


def test_shared_steps_are_counted(tune: Callable[..., TuneRun]) -> None:
    """Four arms and plain on one seed: late ones share half of plain's steps."""
    run = tune()
    spent = run.to_json()["evaluations"]
    assert spent["done"] + spent["saved"] == run.outcome.ledger.spent * 4
    arms = run.outcome.rounds[0].pairs
    late = sum("late" in str(prompt) for prompt, _ in arms)
    assert late >= 2
    # a late arm joins plain for its two early evaluations of four
    assert len({row.seed for row in _rows(run) if row.stage == "candidates, round 1"}) == 1
    assert spent["first_round"]["saved"] >= 2 * late
    assert spent["first_round"]["saved"] + spent["first_round"]["done"] == 4 * len(arms)
    assert spent["first_round"]["saved"] < spent["saved"]
    assert spent["saved_share_first_round"] == round(spent["first_round"]["saved"] / (4 * len(arms)), 4)


def test_a_span_already_written(tune: Callable[..., TuneRun]) -> None:
    run = tune("a cat, [old film:late:1.25]", df=True, only="old film")
    assert str(run.plain) == "a cat"
    assert all("old film" in str(arm) for arm, _ in run.outcome.ledger.scores if str(arm) != "a cat")


class Dies:
    """Brightness, until the n-th call."""

    __name__ = "brightness"

    def __init__(self, calls: int, error: Exception | None = None) -> None:
        self.calls, self.error = calls, error

    def __call__(self, images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        self.calls -= 1
        if self.calls < 0 and self.error is not None:
            raise self.error
        return brightness(images, prompts)


def test_a_failing_reward_stops_with_everything_kept(tune: Callable[..., TuneRun]) -> None:
    whole = tune().to_json()
    folder = Path(whole["output"])
    folder.rename(folder.with_name("whole"))
    with pytest.raises(RewardError, match=r"brightness failed for all.*--resume"):
        tune(rewards=[Dies(1, RuntimeError("no weights"))])
    kept = len(list((folder / "images").iterdir()))
    assert kept >= 5
    with pytest.raises(InputError, match="holds a search; add --resume"):
        tune()
    with pytest.raises(InputError, match=r"another search: .*seed differ"):
        tune(resume=True, seed=3)
    again = tune(resume=True).to_json()
    assert again["images"]["drawn_now"] == whole["images"]["measured"] - kept
    for key in ("df_prompt", "finalist", "scores", "best_of_n", "attribution"):
        assert again[key] == whole[key]
    assert tune(resume=True).to_json()["images"]["drawn_now"] == 0


def test_a_reward_that_fails_for_some_pictures_goes_on(tune: Callable[..., TuneRun]) -> None:
    def fussy(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        if len(images) == 1 and int(images.sum() * 1000) % 4 == 0:
            raise RuntimeError("this one I cannot score")
        if len(images) > 1:
            raise RuntimeError("one at a time")
        return images.mean((1, 2, 3))

    run = tune(rewards=[fussy])
    failed = [row for row in _rows(run) if row.failed]
    assert 0 < len(failed) < run.outcome.ledger.spent


def test_out_of_memory_stops_with_everything_kept(
    tune: Callable[..., TuneRun], sd: ImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = sd.pipe.unet.forward, []

    def full(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > 6:
            raise torch.OutOfMemoryError("out of memory")
        return forward(*arguments, **named)

    monkeypatch.setattr(sd.pipe.unet, "forward", full)
    smaller = pytest.warns(DFPromptWarning, match="out of memory with")
    with smaller, pytest.raises(GenerationError, match="out of memory"):
        tune()
    monkeypatch.undo()
    run = tune(resume=True)
    assert 0 < run.drawn < run.outcome.ledger.spent


_KILLED = """
import os, signal, sys
from pathlib import Path
import tiny_pipelines
from dfprompt.api.tuning import tune_prompt
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.requests.render import RenderSettings

folder, words, output, log, calls = sys.argv[1:6]
left = int(calls)

def brightness(images, prompts, records=None):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return images.mean((1, 2, 3))

class Noted(ImagePipeline):
    def draw_request(self, request, **options):
        drawn = super().draw_request(request, **options)
        with open(log, "a") as file:
            for prompt, seed in zip(request.prompts, request.seeds):
                file.write(f"{prompt} {seed}\\n")
        return drawn

pipeline = Noted(tiny_pipelines.load(Path(folder)))
tune_prompt("a red house", output, pipeline=pipeline, modifiers=words, images=20,
            settings=RenderSettings(num_inference_steps=4, height=16, width=16), rewards=[brightness],
            resume=True)
"""


def test_pictures_whose_journal_is_gone_are_not_taken_for_this_search_s(
    tmp_path: Path, tune: Callable[..., TuneRun]
) -> None:
    images = tmp_path / "out" / "images"
    images.mkdir(parents=True)
    (images / "0123-seed1.png").write_bytes(b"drawn by another pipeline")
    with pytest.raises(InputError, match=r"holds pictures of a search whose rows\.jsonl is gone"):
        tune()
    (tmp_path / "out" / "search.jsonl").write_text('{"dfprompt": 1, "search": {}}\n')
    with pytest.raises(InputError, match="of an earlier version, which cannot go on"):
        tune(resume=True)
    assert not (tmp_path / "out" / "rows.jsonl").exists()


def test_a_second_search_in_the_folder_is_told_that_one_is_running(
    tmp_path: Path, tune: Callable[..., TuneRun]
) -> None:
    tune()
    with LineFile(tmp_path / "out" / ROWS), pytest.raises(InputError, match="another dfprompt is writing"):
        tune(resume=True)


@pytest.mark.nightly
def test_killed_and_resumed_draws_no_image_twice(
    tiny_folder: Callable[[str], Path], tmp_path: Path, tune: Callable[..., TuneRun]
) -> None:
    log, output = tmp_path / "drawn.log", tmp_path / "killed"
    tests = str(Path(__file__).resolve().parents[1])

    def run(calls: int) -> int:
        arguments = [str(tiny_folder("sd1")), str(tmp_path / "words.txt"), str(output), str(log), str(calls)]
        return subprocess.run(
            [sys.executable, "-c", _KILLED, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, tests])},
            capture_output=True,
            check=False,
        ).returncode

    assert run(2) == -signal.SIGKILL  # drawn and not scored
    journal = output / "rows.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])  # and the last line half on the disk
    assert run(0) == 0
    drawn = log.read_text().splitlines()
    answer = json.loads((output / "tune.json").read_text())
    assert len(drawn) == len(set(drawn)) == answer["images"]["measured"] > answer["images"]["drawn_now"]
    whole = tune(judges=[]).to_json()
    assert [answer[key] for key in ("finalist", "df_prompt", "answer")] == [
        whole[key] for key in ("finalist", "df_prompt", "answer")
    ]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (" ", {}, "empty prompt"),
        ("a [cat:late]", {}, "holds spans"),
        ("a cat", {"only": "cat"}, "add --df"),
        ("a cat", {"rewards": ["none"]}, "needs a reward"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    tune: Callable[..., TuneRun], tmp_path: Path, text: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        tune(text, **options)
    assert not (tmp_path / "out").exists()
