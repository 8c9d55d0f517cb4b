"""Evaluations on a tiny pipeline: shared noise, true scores, isolated failures, resuming after a kill."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import tiny_pipelines
from dfprompt.errors import ConfigError, EvaluationError, InputError, RewardServerError
from dfprompt.evaluation.methods import BestOf, Plain
from dfprompt.images.metadata import find_metadata
from dfprompt.images.reading import read_image
from dfprompt.measurement.log import ROWS, read_rows
from dfprompt.measurement.prompts import PlainPrompt, as_prompts, noise_seed
from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.rewards import CompositeReward, CompositeSettings, ImageBatch, Score, as_score
from tiny_evaluation import PROMPTS, SETTINGS, Broken, Styled, brightness, by_key, evaluate, redness

LEVEL = 1 / 255  # a PNG keeps 8 bits


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


def _pixels(folder: Path, row: Row) -> Tensor:
    assert row.picture is not None
    return read_image(folder / row.picture).pixels


def test_one_row_per_picture_and_the_same_noise_for_every_method(sd: ImagePipeline, tmp_path: Path) -> None:
    outcome = evaluate(sd, tmp_path, [Styled(), Plain("again", "plain once more")])
    rows = by_key(outcome.rows)
    assert len(rows) == len(outcome.rows) == len(read_rows(tmp_path / ROWS)) == 3 * 3 * 2
    noises = {(prompt.id, seed): noise_seed(prompt.id, seed) for prompt in PROMPTS for seed in (0, 1)}
    assert len(set(noises.values())) == 6
    for (_method, prompt, seed), row in rows.items():
        assert row.noise == noises[prompt, seed]
        assert row.failed == {}
    for prompt, seed in noises:
        plain, again = rows["plain", prompt, seed], rows["again", prompt, seed]
        assert torch.equal(_pixels(tmp_path, plain), _pixels(tmp_path, again))
        assert not torch.equal(_pixels(tmp_path, plain), _pixels(tmp_path, rows["styled", prompt, seed]))


def test_pictures_and_scores_are_those_of_drawing_each_alone(sd: ImagePipeline, tmp_path: Path) -> None:
    outcome = evaluate(sd, tmp_path, [Styled()], seeds=[5])
    for row in outcome.rows:
        assert row.df_prompt is not None
        alone = sd.draw(row.df_prompt, row.noise or 0, SETTINGS).images
        assert (_pixels(tmp_path, row) - alone[0]).abs().max() < LEVEL
        assert row.scores["brightness"] == pytest.approx(alone.mean().item(), abs=1e-4)
        assert row.scores["redness"] == pytest.approx(redness(alone, []).item(), abs=1e-4)
        recipe = find_metadata(read_image(tmp_path / str(row.picture)).text)
        assert (recipe.df_prompt, recipe.seed) == (row.df_prompt, row.noise)
        assert recipe.scores == row.scores


def test_a_failing_method_fails_its_rows_and_the_rest_completes(sd: ImagePipeline, tmp_path: Path) -> None:
    outcome = evaluate(sd, tmp_path, [Broken(), Styled()])
    for row in outcome.rows:
        if row.method == "broken":
            assert "'broken' failed to rewrite: ZeroDivisionError" in row.failed["method"]
            assert row.picture is None
        else:
            assert row.failed == {}
            assert row.scores.keys() == {"brightness", "redness"}
    assert sum(row.method == "broken" for row in outcome.rows) == 6


def test_a_failing_reward_fails_its_column_where_it_fails(sd: ImagePipeline, tmp_path: Path) -> None:
    def allergic(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        if any("dog" in prompt for prompt in prompts):
            raise RuntimeError("a dog")
        return images.mean((1, 2, 3))

    board = Scoreboard({"brightness": brightness, "allergic": allergic})
    outcome = evaluate(sd, tmp_path, [Styled()], scoreboard=board, pictures_at_once=100)
    for row in outcome.rows:
        assert "brightness" in row.scores
        if row.prompt == "a dog":
            assert row.failed.keys() == {"allergic"}
            assert "RuntimeError: a dog" in row.failed["allergic"]
        else:
            assert row.scores["allergic"] == row.scores["brightness"]
            assert row.failed == {}


def test_a_picture_that_cannot_be_drawn_fails_alone(sd: ImagePipeline, tmp_path: Path) -> None:
    class Half(Styled):
        def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> list[DFPrompt | None]:
            made = super().rewrite(prompts, seed)
            return [DFPrompt.from_plain("\ud800"), None, *made[2:]]

    outcome = evaluate(sd, tmp_path, [Half("half")], pictures_at_once=100)
    rows = by_key(outcome.rows)
    for seed in (0, 1):
        assert "lone surrogate" in rows["half", PROMPTS[0].id, seed].failed["picture"]
        assert "has no rewrite" in rows["half", PROMPTS[1].id, seed].failed["method"]
        assert rows["half", PROMPTS[2].id, seed].failed == {}
        assert all(rows["plain", prompt.id, seed].failed == {} for prompt in PROMPTS)


def test_a_finished_evaluation_computes_nothing_again(sd: ImagePipeline, tmp_path: Path) -> None:
    evaluate(sd, tmp_path, [Styled()], seeds=[0])
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    class Refuses(Styled):
        def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> list[DFPrompt | None]:
            raise AssertionError("asked again")

    outcome = evaluate(sd, tmp_path, [Refuses()], seeds=[0])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files
    assert len(outcome.rows) == 6
    more = evaluate(sd, tmp_path, [Styled(), Styled("other", "old film")], seeds=[0, 1])
    assert len(more.rows) == len(read_rows(tmp_path / ROWS)) == 18
    kept = {row.key: row for row in outcome.rows}
    assert {key: by_key(more.rows)[key] for key in kept} == kept


def test_rows_without_rewrite_are_made_when_there_is_one(sd: ImagePipeline, tmp_path: Path) -> None:
    broken = Broken()
    evaluate(sd, tmp_path, [broken], seeds=[0])
    assert sum(bool(row.failed) for row in evaluate(sd, tmp_path, [broken], seeds=[0]).rows) == 3
    mended = Plain("broken", "crashes")
    again = evaluate(sd, tmp_path, [mended], seeds=[0])
    assert not any(row.failed for row in again.rows), "a rewrite is there now"
    assert len(read_rows(tmp_path / ROWS)) == 6


def test_a_score_that_failed_is_made_again_on_request_from_the_picture_that_is_there(
    sd: ImagePipeline, tmp_path: Path
) -> None:
    def failing(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        raise RuntimeError("no network")

    boards = [Scoreboard({"brightness": brightness}, {"redness": score}) for score in (failing, redness)]
    first = evaluate(sd, tmp_path, [Styled(), BestOf(2)], seeds=[0], scoreboard=boards[0])
    assert all(row.failed.keys() == {"redness"} for row in first.rows)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    kept = evaluate(sd, tmp_path, [Styled(), BestOf(2)], seeds=[0], scoreboard=boards[1])
    assert kept.rows == first.rows, "failed rows are rows"
    asked = {"seeds": [0], "scoreboard": boards[1], "retry_failed": True}
    again = evaluate(sd, tmp_path, [Styled(), BestOf(2)], **asked)
    whole = evaluate(sd, tmp_path / "whole", [Styled(), BestOf(2)], seeds=[0], scoreboard=boards[1])
    for row, same in zip(again.rows, whole.rows, strict=True):
        assert row == replace(same, seconds=row.seconds)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("pictures/**/*.png")} == files


def test_scores_are_those_of_the_pictures_files(sd: ImagePipeline, tmp_path: Path) -> None:
    for row in evaluate(sd, tmp_path, [Styled()], seeds=[0]).rows:
        pixels = _pixels(tmp_path, row)[None]
        assert row.scores["redness"] == redness(pixels, []).item()
        assert find_metadata(read_image(tmp_path / str(row.picture)).text).scores == row.scores


@pytest.mark.parametrize("change", ["settings", "scores", "method"])
def test_another_experiment_may_not_be_mixed_in(change: str, sd: ImagePipeline, tmp_path: Path) -> None:
    evaluate(sd, tmp_path, [Styled()], seeds=[0], prompts=PROMPTS[:1])
    asked: dict[str, Any] = {"methods": [Styled()], "settings": SETTINGS, "scoreboard": None}
    if change == "settings":
        asked["settings"] = SETTINGS.model_copy(update={"num_inference_steps": 3})
    elif change == "scores":
        asked["scoreboard"] = Scoreboard({"redness": redness})
    else:
        asked["methods"] = [Styled(weight=0.5)]
    before = (tmp_path / ROWS).read_bytes()
    with pytest.raises(InputError, match=f"{change}.*differ"):
        evaluate(sd, tmp_path, seeds=[0], prompts=PROMPTS[:1], **asked)
    assert (tmp_path / ROWS).read_bytes() == before


def test_the_first_line_says_what_was_run_and_names_no_folder(sd: ImagePipeline, tmp_path: Path) -> None:
    evaluate(sd, tmp_path, [Styled()], seeds=[0], prompts=PROMPTS[:1])
    head = json.loads((tmp_path / ROWS).read_text().splitlines()[0])
    assert head["methods"] == {"plain": "the plain prompt", "styled": "anime style x1.5"}
    assert head["asked"]["scores"] == {"brightness": "reward", "redness": "judge"}
    assert head["asked"]["settings"]["num_inference_steps"] == 2
    assert str(tmp_path.parent) not in json.dumps(head)


def test_best_of_n_keeps_the_best_by_the_first_reward(sd: ImagePipeline, tmp_path: Path) -> None:
    outcome = evaluate(sd, tmp_path, [BestOf(3), BestOf(2, Styled())])
    rows = by_key(outcome.rows)
    for prompt in PROMPTS:
        for seed in (0, 1):
            row = rows["best-of-3", prompt.id, seed]
            noises = [noise_seed(prompt.id, seed, candidate) for candidate in range(3)]
            alone = sd.draw([prompt.text] * 3, noises, SETTINGS).images
            levels = brightness(alone, []).tolist()
            assert row.noise == noises[int(np.argmax(levels))]
            assert row.scores["brightness"] == pytest.approx(max(levels), abs=1e-4)
            assert row.pictures == 3
            plain = rows["plain", prompt.id, seed]
            assert row.scores["brightness"] >= plain.scores["brightness"] - 1e-5
            assert row.seconds > 0
            assert rows["best-of-2:styled", prompt.id, seed].df_prompt == str(
                DFPrompt.from_plain(prompt.text).append(Styled().span)
            )


def _composite(**constants: Any) -> CompositeReward:
    return CompositeReward(
        CompositeSettings(c=2, d=0, **constants),
        aesthetic=as_score(brightness, "light"),
        clip=as_score(redness, "red"),
        judges={"watch": as_score(lambda images, prompts, records=None: images[:, 2].mean((1, 2)), "watch")},
    )


def test_a_reward_that_compares_with_plain_pictures_finds_them(sd: ImagePipeline, tmp_path: Path) -> None:
    board = Scoreboard({"reward": _composite(b=1.0, zeta_relative=True)})
    first = evaluate(sd, tmp_path, [Styled()], scoreboard=board, seeds=[0])
    later = evaluate(
        sd, tmp_path, [Styled(), Styled("other", "old film"), BestOf(2)], scoreboard=board, seeds=[0]
    )
    rows = by_key(later.rows)
    assert {row.key: row for row in first.rows}.items() <= rows.items()
    for (method, prompt, seed), row in rows.items():
        plain, image = rows["plain", prompt, seed].scores, _pixels(tmp_path, row)[None]
        light, red = brightness(image, []).item(), redness(image, []).item()
        expected = light - plain["aesthetic"] + 2 * min(red - plain["clip"], 0)
        assert row.scores["reward"] == pytest.approx(expected, abs=4 * LEVEL)
        assert row.scores["watch"] == pytest.approx(image[:, 2].mean().item(), abs=LEVEL)
        if method == "plain":
            assert row.scores["reward"] == pytest.approx(0, abs=1e-6)
    roles = {"reward": "reward", "aesthetic": "part", "clip": "part", "watch": "judge"}
    assert board.columns() == roles


def test_columns_of_two_composites_do_not_mix(sd: ImagePipeline, tmp_path: Path) -> None:
    board = Scoreboard({"clip": redness, "one": _composite(), "two": _composite(zeta=-1.0)})
    outcome = evaluate(sd, tmp_path, [], scoreboard=board, seeds=[0], prompts=PROMPTS[:1])
    scores = outcome.rows[0].scores
    assert scores["clip"] == scores["one.clip"] == scores["two.clip"]
    assert {"one", "aesthetic", "clip_gate", "watch", "two", "two.aesthetic", "two.watch"} <= scores.keys()
    assert scores["two.clip_gate"] == 0 != scores["clip_gate"]


def test_what_cannot_be_an_evaluation(sd: ImagePipeline, tmp_path: Path) -> None:
    for asked in (
        {"prompts": []},
        {"seeds": []},
        {"methods": [Styled(), Styled()]},
    ):
        with pytest.raises(ConfigError):
            evaluate(sd, tmp_path, **{"methods": [], **asked})
    with pytest.raises(ConfigError, match="at least one reward"):
        evaluate(sd, tmp_path, [], scoreboard=Scoreboard({}, {"redness": redness}))
    with pytest.raises(ConfigError, match="either"):
        Scoreboard({"a": brightness}, {"a": brightness})
    with pytest.raises(InputError, match="two prompts have the id"):
        as_prompts([PlainPrompt("a", "x"), PlainPrompt("b", "x")])


# ---- kill -9 ---------------------------------------------------------------------------------------------


def _slowly(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
    time.sleep(0.02)
    return images.mean((1, 2, 3))


def _run_slowly(sd: ImagePipeline, folder: Path) -> Sequence[Row]:
    board = Scoreboard({"brightness": _slowly}, {"redness": redness})
    methods = [Styled(), BestOf(2), Broken()]
    return evaluate(sd, folder, methods, scoreboard=board, seeds=range(4), pictures_at_once=1).rows


def _recorded(folder: Path) -> int:
    return max(0, (folder / ROWS).read_bytes().count(b"\n") - 1) if (folder / ROWS).exists() else 0


def _kill_at(rows: int, later: float, folder: Path, work: Callable[[], object]) -> bool:
    """Run work in a forked process and kill it `later` seconds after that many rows stand; was it at work?

    Rows, not seconds since the start, say when: the machine's speed must not decide what is tested.
    """
    process = os.fork()
    if process == 0:
        try:
            work()
        finally:
            os._exit(0)
    while _recorded(folder) < rows:
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    time.sleep(later)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process to kill")
def test_a_killed_evaluation_loses_and_doubles_no_row(sd: ImagePipeline, tmp_path: Path) -> None:
    whole = _run_slowly(sd, tmp_path / "whole")
    folder, seen = tmp_path / "killed", 0
    random = np.random.default_rng(1)
    for more, later in zip((1, 5, 9), random.uniform(0, 0.03, size=3), strict=True):
        assert _kill_at(seen + more, float(later), folder, lambda: _run_slowly(sd, folder))
        assert _recorded(folder) >= seen
        seen = _recorded(folder)
    assert 0 < seen < len(whole)
    resumed = _run_slowly(sd, folder)

    def timeless(rows: Sequence[Row]) -> list[Row]:
        return [replace(row, seconds=0.0) for row in rows]

    assert len(read_rows(folder / ROWS)) == len(resumed) == len(whole) == 3 * 4 * 4
    assert timeless(resumed) == timeless(whole)
    for row in whole:
        if row.picture is not None:
            first, second = (Image.open(place / row.picture) for place in (tmp_path / "whole", folder))
            assert first.tobytes() == second.tobytes()
    assert not list(folder.rglob("*.partial"))


def test_a_score_redefined_under_its_name_is_not_mixed_with_the_old(
    sd: ImagePipeline, tmp_path: Path
) -> None:
    evaluate(sd, tmp_path, [], seeds=[0])

    def brighter(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        return brightness(images, prompts) + 0.2

    other = Scoreboard({"brightness": brighter}, {"redness": redness})
    with pytest.raises(EvaluationError, match=r"another definition: brightness differ .*another --output"):
        evaluate(sd, tmp_path, [], scoreboard=other)
    assert len(read_rows(tmp_path / ROWS)) == 3, "nothing was added to the old rows"
    assert len(evaluate(sd, tmp_path, []).rows) == 6, "under the old definition it goes on"


def test_pictures_that_are_gone_do_not_stop_a_resumed_evaluation(sd: ImagePipeline, tmp_path: Path) -> None:
    for row in evaluate(sd, tmp_path, [], seeds=[0]).rows:
        (tmp_path / str(row.picture)).unlink()
    assert len(evaluate(sd, tmp_path, []).rows) == 6


class _Lost:
    """A score whose server is lost after a number of calls."""

    def __init__(self, good: int) -> None:
        self.good = good

    def __call__(self, images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        self.good -= 1
        if self.good < 0:
            raise RewardServerError("distant gave no score: no answer")
        return brightness(images, prompts)


class _LostScore(Score):
    """The same as a score of ours, whose own errors pass as they are."""

    def __init__(self, good: int) -> None:
        super().__init__("distant")
        self.inner = _Lost(good)

    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Any) -> Tensor:
        return self.inner(batch.images, prompts)


def test_a_lost_reward_server_stops_with_rows_and_pictures_kept(sd: ImagePipeline, tmp_path: Path) -> None:
    lost = _LostScore(1)
    board = Scoreboard({"brightness": brightness}, {"distant": lost})
    with pytest.raises(RewardServerError):
        evaluate(sd, tmp_path / "a", [Styled()], scoreboard=board)
    kept = read_rows(tmp_path / "a" / ROWS)
    assert [len(row.scores) for row in kept] == [2] * 6 + [0] * 6
    assert [bool(row.failed) for row in kept] == [False] * 6 + [True] * 6
    files = {str(row.picture): (tmp_path / "a" / str(row.picture)).stat().st_mtime_ns for row in kept}
    lost.inner.good = 100
    rows = evaluate(sd, tmp_path / "a", [Styled()], scoreboard=board).rows
    whole = evaluate(sd, tmp_path / "b", [Styled()], scoreboard=board).rows
    assert [dict(row.scores) for row in rows] == [dict(row.scores) for row in whole]
    assert not any(row.failed for row in rows)
    assert {name: (tmp_path / "a" / name).stat().st_mtime_ns for name in files} == files  # none drawn again
