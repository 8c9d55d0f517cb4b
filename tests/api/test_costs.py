"""What is drawn is what was said: estimates against runs that counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfprompt.api.costs import (
    Cost,
    estimate_comparison,
    estimate_evaluation,
    estimate_reinforcement,
    estimate_search,
)
from dfprompt.cli.costs import TimeLeft
from dfprompt.requests.compare import CompareRequest, TuneRequest
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.training.rl_settings import GrpoSettings

PROMPTS = ["a red cat", "a blue boat", "a star"]


def _evaluation(**more: Any) -> Cost:
    return estimate_evaluation(EvaluateRequest(prompts=PROMPTS, output="out", **{"seeds": 2, **more}))


def test_an_evaluation_counts_methods_seeds_and_searches() -> None:
    assert _evaluation() == Cost(6, 10, (64, 64), 6)
    cost = _evaluation(methods=["starter", "best-of-4"], num_inference_steps=4, validation_images=0)
    assert (cost.pictures, cost.evaluations, cost.kept) == (3 * 2 * (1 + 1 + 4), 3 * 2 * 6 * 4, 3 * 2 * 3)
    assert _evaluation(methods=["suffix"], validation_images=50).pictures == 3 * 2 * 2 + 50
    assert _evaluation(methods=["suffix"], suffix="film grain").pictures == 3 * 2 * 2
    assert _evaluation(shard="2/4").pictures == 2
    unknown = _evaluation(pipeline="somewhere/model")
    assert (unknown.evaluations, unknown.disk) == (None, None)
    assert "pipeline's own number of steps" in str(unknown)


def test_comparisons_and_searches() -> None:
    cost = estimate_comparison(CompareRequest(texts=["a cat", "a dog"], candidates=2, seeds=3))
    assert cost.pictures == 2 * (1 + 2) * 3
    assert estimate_search(TuneRequest(text="a cat", images=30)).pictures == 30


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"texts": ["a cat"], "vary": ["snow"]}, 5),  # the pipeline's own policy writes only without vary
        ({"texts": ["a cat"], "vary": ["snow", "mist"]}, 9),
        ({"texts": ["a cat"], "vary": ["snow"], "policy": "starter"}, 6),
        ({"texts": ["a cat"], "vary": ["snow"], "pipeline": "models/none"}, 5),
        ({"texts": ["a cat"], "written": ["a cat, [snow:late]"], "pipeline": "models/none"}, 2),
        ({"written": ["a cat, [snow:late]", "a dog, [snow:late]"]}, 4),
    ],
)
def test_a_comparison_counts_the_rows_that_are_drawn(asked: dict[str, Any], rows: int) -> None:
    assert estimate_comparison(CompareRequest(seeds=3, **asked)).pictures == 3 * rows


def test_stage_two_counts_rollouts_validations_and_pages() -> None:
    settings = GrpoSettings.model_validate(
        {
            "rollout": {"rows": 32},
            "group": {"size": 8, "keep_plain": True},
            "optimizer": {"steps": 10},
            "validation": {"interval": 5, "rows": 16, "samples": 4},
        }
    )
    assert estimate_reinforcement(settings).pictures == 10 * (32 + 4) + 3 * 16 + 2 * 2 * 4


@pytest.mark.parametrize("as_json", [False, True])
def test_estimate_draws_nothing(cli: Callable[..., Any], tmp_path: Path, as_json: bool) -> None:
    (tmp_path / "p.txt").write_text("\n".join(PROMPTS))
    words = [
        "evaluate",
        "--prompts",
        str(tmp_path / "p.txt"),
        "--output",
        str(tmp_path / "out"),
        "--estimate",
    ]
    done = cli(*words, *(["--json"] if as_json else []))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out").exists()
    if as_json:
        values = json.loads(done.stdout)
        assert (values["pictures"], values["evaluations"]) == (12, 120)
    else:
        assert done.stdout.startswith("12 pictures, at most 120 denoiser evaluations")


def test_a_curation_counts_what_it_draws(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat, bright\na cat, dark\na dog, bright\na cat, bright\n")
    words = [
        "curate",
        str(tmp_path / "p.txt"),
        "--pipeline",
        "mini",
        "--output",
        str(tmp_path / "out"),
        "--json",
    ]
    done = cli(*words, "--estimate")
    assert json.loads(done.stdout)["pictures"] == 2 * (3 + 2)
    assert not (tmp_path / "out").exists()


def test_time_left_follows_the_measured_rate(capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    left = TimeLeft("rows", clock=lambda: now[0])
    left(40, 240)  # what stands already counts for no rate
    now[0] += 10
    left(60, 240)
    left(61, 240)
    now[0] += 90
    left(240, 240)
    assert capsys.readouterr().err.splitlines() == [
        "60 of 240 rows, about 2 min left",
        "240 of 240 rows in 2 min",
    ]
