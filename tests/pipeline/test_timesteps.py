"""Timesteps read off a pipeline's scheduler, without its weights."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from dfprompt.errors import LoadError, UnsupportedPipelineError
from dfprompt.pipeline.timesteps import load_timesteps


def write_scheduler(folder: Path, name: str, **config: object) -> str:
    (folder / "scheduler").mkdir(parents=True)
    content = {"_class_name": name, "_diffusers_version": "0.42.1", **config}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(content), encoding="utf-8")
    return str(folder)


def test_pndm_repeats_its_second_timestep(tmp_path: Path) -> None:
    source = write_scheduler(tmp_path, "PNDMScheduler", skip_prk_steps=True, steps_offset=1)
    run = load_timesteps(source, 5)
    assert run.timesteps == (801, 601, 601, 401, 201, 1)
    assert run.step_of_evaluation == (0, 0, 1, 2, 3, 4)


def test_pndm_with_its_runge_kutta_warm_up(tmp_path: Path) -> None:
    run = load_timesteps(write_scheduler(tmp_path, "PNDMScheduler"), 5)
    assert run.step_of_evaluation == (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 4)


def test_heun_evaluates_twice_per_step(tmp_path: Path) -> None:
    run = load_timesteps(write_scheduler(tmp_path, "HeunDiscreteScheduler"), 4)
    assert run.order == 2
    assert run.timesteps == (999, 666, 666, 333, 333, 0, 0)
    assert run.step_of_evaluation == (0, 0, 1, 1, 2, 2, 3)


def test_a_shifted_flow_schedule(tmp_path: Path) -> None:
    run = load_timesteps(write_scheduler(tmp_path, "FlowMatchEulerDiscreteScheduler", shift=3.0), 4)
    assert run.timesteps == pytest.approx((1000, 857.692322, 602.150574, 8.928572))


def test_dynamic_shifting_is_that_of_the_full_size(tmp_path: Path) -> None:
    source = write_scheduler(
        tmp_path, "FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, max_shift=1.15
    )
    # sigma = e^mu / (e^mu + 1/s - 1) for the unshifted sigmas 1, 2/3, 1/3 (to the last, 1/1000).
    shifted = load_timesteps(source, 4).timesteps
    assert shifted[0] == 1000
    assert shifted[1] == pytest.approx(1000 * 3.1582 / (3.1582 + 1 / 0.667 - 1), rel=1e-3)


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ("FluxPipeline", (1000, 750, 500, 250)),  # it hands its scheduler even levels of noise
        ("StableDiffusion3Pipeline", (1000, 667, 334, 1)),
        ("KolorsPipeline", (1000, 667, 334, 1)),  # one that is not drawn with here
        (None, (1000, 667, 334, 1)),
    ],
)
def test_levels_that_a_pipeline_hands_over_are_those_of_its_runs(
    tmp_path: Path, pipeline: str | None, expected: tuple[int, ...]
) -> None:
    source = write_scheduler(tmp_path, "FlowMatchEulerDiscreteScheduler")
    if pipeline is not None:
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    assert load_timesteps(source, 4).timesteps == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
def test_logarithms_of_noise_are_no_time(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedPipelineError, match=f"{name}.*clock steps"):
        load_timesteps(write_scheduler(tmp_path, name), 10)


def test_a_scheduler_folder_by_itself(tmp_path: Path) -> None:
    source = write_scheduler(tmp_path, "DDIMScheduler")
    assert load_timesteps(f"{source}/scheduler", 4) == load_timesteps(source, 4)


def test_the_command_line_reads_a_pipeline(tmp_path: Path, cli) -> None:
    source = write_scheduler(tmp_path, "FlowMatchEulerDiscreteScheduler", shift=3.0)
    ran = cli("plan", "a, [b:early]", "--steps", "4", "--pipeline", source, "--clock", "timestep", "--json")
    assert [step["text"] for step in json.loads(ran.stdout)["plan"]] == ["a, b", "a, b", "a, b", "a"]
    tail = cli("plan", "a", "--steps", "4", "--pipeline", source, "--strength", "0.5", "--json")
    assert [step["step"] for step in json.loads(tail.stdout)["plan"]] == [2, 3]


@pytest.mark.parametrize("name", ["UNet2DConditionModel", "NoSuchScheduler", "os", 3, None])
def test_a_class_that_is_no_scheduler(tmp_path: Path, name: object) -> None:
    with pytest.raises(LoadError, match="no scheduler of diffusers"):
        load_timesteps(write_scheduler(tmp_path, name), 4)  # type: ignore[arg-type]


def test_a_folder_without_a_scheduler(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no scheduler can be read"):
        load_timesteps(str(tmp_path), 4)
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(LoadError, match="no scheduler can be read"):
        load_timesteps(str(tmp_path), 4)


def test_more_steps_than_were_trained(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cannot run 2000 steps"):
        load_timesteps(write_scheduler(tmp_path, "DDIMScheduler"), 2000)


@pytest.mark.parametrize(
    "wrong", [{"shift_terminal": 0.1}, {"num_train_timesteps": 1e308}, {"beta_schedule": "x"}]
)
def test_a_scheduler_that_cannot_be_made_is_named(tmp_path: Path, wrong: dict[str, object]) -> None:
    source = write_scheduler(tmp_path, "UniPCMultistepScheduler", **wrong)
    with pytest.raises(LoadError, match="its scheduler cannot be made"):
        load_timesteps(source, 4)


def test_a_file_deeper_than_can_be_read_is_no_scheduler(tmp_path: Path) -> None:
    source = write_scheduler(tmp_path, "DDIMScheduler")
    (tmp_path / "model_index.json").write_text("[" * 100_000, encoding="utf-8")
    assert len(load_timesteps(source, 4).timesteps) == 4
    (tmp_path / "scheduler" / "scheduler_config.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(LoadError, match="no scheduler can be read"):
        load_timesteps(source, 4)


def test_a_hub_id_is_looked_for_without_a_librarys_remark() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(LoadError, match='from "a/b"'):
            load_timesteps("hub:a/b", 4)
    assert not caught
