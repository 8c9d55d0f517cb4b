"""`learn_policy` on logs: what is read, what is refused, and the policy that searches then begin with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_pipelines
from dfprompt.api.learning import learn_policy
from dfprompt.api.policies import load_policy
from dfprompt.api.tuning import propose_rewrites
from dfprompt.errors import ConfigError, InputError
from dfprompt.measurement.log import MeasurementLog
from dfprompt.measurement.rows import Row
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import save_policy_folder
from dfprompt.prompt import DFPrompt
from tiny_policies import storable_policy

MODEL = {"name": "tiny", "hash": "abc"}


def write_log(
    folder: Path, prompt: str, *, model: Any = MODEL, scores: Any = None, kind: str = "search"
) -> Path:
    """A log of 12 noises: film grain late helps, 8k does nothing."""
    rng = random.Random(prompt)
    folder.mkdir(parents=True)
    scores = scores or {"reward": "reward", "fidelity": "judge"}
    with MeasurementLog(folder / "rows.jsonl", {"model": model, "scores": scores}, kind=kind) as log:
        for noise in range(12):
            for words, gain in (("", 0.0), (", [film grain:late]", 1.0), (", [8k:early:1.25]", 0.0)):
                found = {"reward": 5 + gain + rng.gauss(0, 0.1), "fidelity": 1.0}
                text = prompt + words
                log.append([Row(text, "p", prompt, noise, noise=noise, df_prompt=text, scores=found)])
    return folder


def test_a_policy_is_learnt_from_all_logs_below_a_folder(
    tmp_path: Path, tiny_folder: Callable[[str], Path]
) -> None:
    write_log(tmp_path / "out" / "one", "a red cat")
    write_log(tmp_path / "out" / "two", "a blue dog", kind="evaluation")
    run = learn_policy([tmp_path / "out", tmp_path / "out" / "one"], tmp_path / "mine")
    assert (run.logs, run.pictures, run.prompts, run.reward) == (2, 48, ("a red cat", "a blue dog"), "reward")
    assert str(run.best_words(1)[0][0]) == "[film grain:late]"
    assert run.to_json()["words"][0]["gain"] == pytest.approx(run.best_words()[0][1], abs=1e-6)
    policy = load_policy(tmp_path / "mine")
    pipeline = ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))
    with pytest.warns(match="expects something of"):
        proposals = propose_rewrites(policy, DFPrompt.from_plain("a green house"), 4, 0, pipeline)
    assert str(proposals[0].spans[0]) == "[film grain:late]"
    assert proposals[0].origin == "policy mine"
    again = learn_policy([tmp_path / "out" / "one"], tmp_path / "mine")
    assert again.logs == 1, "a policy in the folder is replaced"


def test_the_score_may_be_named(tmp_path: Path) -> None:
    write_log(tmp_path / "one", "a red cat")
    run = learn_policy([tmp_path / "one"], tmp_path / "mine", reward="fidelity")
    assert [gain for _, gain in run.best_words()] == [0.0, 0.0]
    with pytest.raises(ConfigError, match='no score "clip"'):
        learn_policy([tmp_path / "one"], tmp_path / "mine", reward="clip")


def test_what_cannot_be_learnt_from_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no rows"):
        learn_policy([tmp_path], tmp_path / "mine")
    write_log(tmp_path / "a" / "one", "a red cat")
    write_log(tmp_path / "a" / "two", "a blue dog", model={"name": "other", "hash": "abc"})
    with pytest.raises(ConfigError, match="2 pipelines"):
        learn_policy([tmp_path / "a"], tmp_path / "mine")
    write_log(tmp_path / "b" / "one", "a red cat")
    write_log(tmp_path / "b" / "two", "a blue dog", scores={"clip": "reward"})
    with pytest.raises(ConfigError, match='no score "reward"'):
        learn_policy([tmp_path / "b"], tmp_path / "mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError):
        learn_policy([tmp_path / "a" / "one"], tmp_path / "full")
    trained = save_policy_folder(storable_policy(), tmp_path / "trained")
    with pytest.raises(InputError, match="no policy of searches"):
        learn_policy([tmp_path / "a" / "one"], trained)
    assert (trained / "model.safetensors").is_file()
    write_log(tmp_path / "judged", "a red cat", scores={"fidelity": "judge"})
    with pytest.raises(ConfigError, match="has no reward"):
        learn_policy([tmp_path / "judged"], tmp_path / "mine")


def test_the_command_prints_what_it_learnt(tmp_path: Path, cli: Callable[..., Any]) -> None:
    write_log(tmp_path / "one", "a red cat")
    done = cli("learn", str(tmp_path / "one"), "--output", str(tmp_path / "mine"), "--json")
    answer = json.loads(done.stdout)
    assert (answer["dfprompt"], answer["pictures"], answer["prompts"]) == (1, 24, 1)
    assert answer["words"][0]["span"] == "[film grain:late]"
    done = cli("learn", str(tmp_path / "one"), "--output", str(tmp_path / "mine"))
    assert "learnt from 24 pictures of 1 prompts" in done.stdout
