"""A restraint curve measured on a tiny pipeline, kept with its policy, and read by evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import tiny_pipelines
from dfprompt.api.methods import MethodChoices, load_methods
from dfprompt.api.restraint import measure_restraint
from dfprompt.errors import ConfigError
from dfprompt.evaluation.methods import Plain
from dfprompt.measurement.log import read_rows
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import Policy, load_policy_folder, save_policy_folder
from dfprompt.policy.restraint import Point, Restraint
from dfprompt.requests.render import RenderSettings
from runs import SIZE
from tiny_evaluation import brightness
from tiny_policies import storable_policy, tiny_policy

SETTINGS = RenderSettings(num_inference_steps=2, height=SIZE, width=SIZE)
PROMPTS = [f"a red house {number}" for number in range(8)]
MANY = [PlainPrompt(f"a blue star {number}") for number in range(40)]


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


def different(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
    """Some number that other words change, so that there is a gain to share out."""
    return (images[:, 0, 0, 0] - 0.5).abs() + images.std((1, 2, 3))


def test_the_curve_is_measured_kept_and_read(sd: ImagePipeline, tmp_path: Path) -> None:
    folder = save_policy_folder(storable_policy(), tmp_path / "policy")
    asked: dict[str, Any] = {
        "prompts": PROMPTS, "seeds": [0], "biases": (0.0, 3.0, 60.0), "pipeline": sd, "settings": SETTINGS,
        "rewards": [different], "judges": [brightness],
    }  # fmt: skip
    curve = measure_restraint(folder, tmp_path / "out", **asked)
    rows = read_rows(tmp_path / "out" / "rows.jsonl")
    assert {row.method for row in rows} == {"plain", "bias-0", "bias-3", "bias-60"}
    assert [point.end_bias for point in curve.points] == [0.0, 3.0, 60.0]
    silent = curve.points[-1]
    assert (silent.reward, silent.fidelity, silent.alone) == (0.0, 0.0, 1.0)
    mean = [
        sum(row.scores["different"] for row in rows if row.method == method) / len(PROMPTS)
        for method in ("bias-0", "plain")
    ]
    assert curve.points[0].reward == pytest.approx(mean[0] - mean[1], abs=1e-6)
    assert load_policy_folder(folder).restraint == curve


def choices(policy: Policy) -> MethodChoices:
    return MethodChoices(load_policy=lambda source: policy)


def test_a_name_with_a_restraint_is_that_policy_restrained() -> None:
    policy, flat = tiny_policy(ending=2.0), (0.0, 0.0)
    with pytest.raises(ConfigError, match=r"policy@0.5: .* no restraint curve"):
        load_methods(["policy@0.5"], choices(policy))
    policy.restraint = Restraint((Point(0, 1.0, flat, 0, flat, 0), Point(2, 0.0, flat, 0, flat, 1)))
    whole, half, none = load_methods(["policy", "policy@0.5", "policy@1"], choices(policy))
    assert [whole.name, half.name, none.name] == ["policy", "policy@0.5", "policy@1"]
    assert "restraint 0.5" in half.definition
    lengths = [sum(len(str(each)) for each in method.rewrite(MANY, 0)) for method in (whole, half, none)]
    assert lengths[0] > lengths[1] > lengths[2]
    assert list(none.rewrite(MANY, 0)) == list(Plain().rewrite(MANY, 0))


@pytest.mark.parametrize(
    ("spec", "said"),
    [("plain@0.5", "only a policy"), ("policy@1.5", "from 0 to 1"), ("policy@.", "must be a number")],
)
def test_restraints_that_cannot_be_are_refused(spec: str, said: str) -> None:
    policy, flat = tiny_policy(), (0.0, 0.0)
    policy.restraint = Restraint((Point(0, 1.0, flat, 0, flat, 0),))
    with pytest.raises(ConfigError, match=said):
        load_methods([spec], choices(policy))
