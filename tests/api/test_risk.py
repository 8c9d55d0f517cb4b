"""A risk that holds in use: rewrites whose probe lost too much are put back to the user's words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny_pipelines
from dfprompt.api.comparison import compare_prompts
from dfprompt.api.restraint import measure_risk
from dfprompt.api.risk import gate_rewrites, open_gate
from dfprompt.errors import ConfigError, DFPromptWarning
from dfprompt.measurement.log import read_rows
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import HowToDraw
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import Policy, Rewrite, SamplingSettings, load_policy_folder, save_policy_folder
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.prompt import DFPrompt, Span
from dfprompt.requests.base import parse_share
from dfprompt.requests.compare import CompareRequest
from dfprompt.requests.render import RenderSettings
from dfprompt.rewards import as_score
from dfprompt.statistics.risk import RiskCurve
from runs import SIZE
from tiny_evaluation import brightness
from tiny_policies import storable_policy, tiny_policy

SETTINGS = RenderSettings(num_inference_steps=2, height=SIZE, width=SIZE)
SAFE = RiskCurve("seen", 400, ((0.0, 360, 0), (0.5, 400, 30)))


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


class Scripted:
    """A judge that reads its answers from a list: plain first, then the rewrites, in the order drawn."""

    __name__ = "seen"

    def __init__(self, answers: Sequence[float]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        found = self.answers[self.asked : self.asked + len(prompts)]
        self.asked += len(prompts)
        return torch.tensor(found)


def board(answers: Sequence[float]) -> Scoreboard:
    return Scoreboard({"brightness": brightness}, {"seen": as_score(Scripted(answers), "seen")})


def rewrites(base: DFPrompt, *words: str) -> list[Rewrite]:
    """A rewrite for each of the words; an empty one changes nothing."""
    made = []
    for each in words:
        spans = (Span(each, "late"),) if each else ()
        made.append(Rewrite(base.plain_text, append_modifiers(base, spans), spans, -1.0, 2, 0))
    return made


def sift(sd: ImagePipeline, answers: Sequence[float], *words: str) -> tuple[list[Rewrite], Any]:
    policy, scores, base = tiny_policy(), board(answers), DFPrompt.from_plain("a red cat")
    policy.risk = SAFE
    gate = open_gate(policy, 0.02, scores, None)
    kept, told = gate_rewrites(gate, [base], [rewrites(base, *words)], sd, scores, HowToDraw(SETTINGS), 0)
    return kept[0], told


def test_what_lost_on_its_probe_is_put_back(sd: ImagePipeline) -> None:
    kept, told = sift(sd, [1.0, 1.0, 0.75, 1.2], "8k", "film grain", "bokeh")
    assert [str(each.prompt) for each in kept] == [
        "a red cat, [8k:late]",
        "a red cat",
        "a red cat, [bokeh:late]",
    ]
    assert [each.end for each in kept] == ["end", "risk", "end"]
    assert [each.changed for each in kept] == [True, False, True]
    assert (told.alone, told.rewrites, told.choice.threshold) == (1, 3, 0.0)
    assert "1 of 3 left alone" in told.sentence()
    assert "90 % are rewritten" in told.sentence()


def test_a_rewrite_that_adds_nothing_needs_no_probe(sd: ImagePipeline) -> None:
    kept, told = sift(sd, [], "")
    assert (str(kept[0].prompt), told.alone) == ("a red cat", 0)


def test_a_probe_that_cannot_be_judged_counts_as_lost(sd: ImagePipeline) -> None:
    with pytest.warns(DFPromptWarning, match="its probe has no seen"):
        kept, told = sift(sd, [1.0, float("nan")], "8k")
    assert (str(kept[0].prompt), told.alone) == ("a red cat", 1)


def test_where_no_threshold_is_safe_everything_is_left_alone_and_nothing_drawn(sd: ImagePipeline) -> None:
    policy, scores, base = tiny_policy(), board([]), DFPrompt.from_plain("a red cat")
    policy.risk = RiskCurve("seen", 100, ((0.0, 100, 0),))
    gate = open_gate(policy, 0.02, scores, None)
    kept, told = gate_rewrites(gate, [base], [rewrites(base, "8k")], sd, scores, HowToDraw(SETTINGS), 0)
    assert (str(kept[0][0].prompt), told.alone) == ("a red cat", 1)
    assert "no threshold on a probe is safe" in told.sentence()


def test_a_policy_without_a_curve_or_a_board_without_its_judge_is_refused() -> None:
    policy = tiny_policy()
    with pytest.raises(ConfigError, match="no risk-coverage curve"):
        open_gate(policy, 0.02, board([]), None)
    policy.risk = SAFE
    with pytest.raises(ConfigError, match="name it with --judge"):
        open_gate(policy, 0.02, Scoreboard({"brightness": brightness}), None)
    with pytest.warns(DFPromptWarning, match="usual way of drawing"):
        open_gate(policy, 0.02, board([]), SamplingSettings(temperature=1.0))


def test_a_comparison_probes_on_a_noise_it_does_not_show(sd: ImagePipeline, tmp_path: Path) -> None:
    policy: Policy = tiny_policy(ending=-3.0)
    policy.risk = RiskCurve("fidelity", 400, ((-9.0, 400, 0),))

    def fidelity(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        return images.mean((1, 2, 3))

    request = CompareRequest(
        texts=["a red cat"], output=tmp_path, pipeline=sd, policy=policy, seeds=2, rewards=[brightness],
        judges=[fidelity], max_risk=0.02, num_inference_steps=2, height=SIZE, width=SIZE,
    )  # fmt: skip
    run = compare_prompts(request)
    assert run.gate is not None
    assert (run.gate.alone, run.gate.rewrites) == (1, 1), "a brightness cannot rise by 9"
    assert {row.seed for row in read_rows(tmp_path / "rows.jsonl")} == {0, 1}
    assert {row.df_prompt for row in run.shown.rows} == {"a red cat"}
    risk = run.to_json()["risk"]
    assert (risk["limit"], risk["alone"], risk["threshold"]) == (0.02, 1, -9.0)


def test_a_curve_is_measured_and_kept_with_its_policy(sd: ImagePipeline, tmp_path: Path) -> None:
    folder = save_policy_folder(storable_policy(), tmp_path / "policy")
    curve = measure_risk(
        folder, tmp_path / "out", prompts=[f"a red house {number}" for number in range(8)], pipeline=sd,
        settings=SETTINGS, rewards=[brightness], judges=[Scripted([1.0, 0.5] * 16)],
    )  # fmt: skip
    assert curve.total == 8
    assert load_policy_folder(folder).risk == curve
    rows = read_rows(tmp_path / "out" / "rows.jsonl")
    assert len([row for row in rows if row.method == "policy"]) == 16


@pytest.mark.parametrize("text", ["", "two", "2%3", "nan", "inf%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="a share is written 2%"):
        parse_share(text)
