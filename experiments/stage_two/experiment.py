"""The stage 2 experiment: prompts curated, stage 1, every arm on its seeds, one evaluation of all.

Everything lies in one folder and is done once: a run that was stopped goes on where it was, and arms that are
asked for later join those that stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dfprompt.api.curation import read_curation, run_curation
from dfprompt.api.evaluation import VALIDATION_IMAGES, EvaluationRun, evaluate
from dfprompt.api.policies import load_policy
from dfprompt.api.reinforcement import SETTINGS_OF, run_reinforcement
from dfprompt.api.scoring import FIDELITY, TASTE
from dfprompt.api.training import run_sft
from dfprompt.api.world import mini_folder
from dfprompt.config import load_config
from dfprompt.errors import ConfigError, TrainingError
from dfprompt.evaluation.control_methods import Stripped
from dfprompt.evaluation.methods import Method, PolicyMethod
from dfprompt.training.run_folder import RECIPE, check_same_recipe
from dfprompt.training.sft_settings import SftSettings
from experiments.stage_two.arms import Arm
from experiments.stage_two.workers import Note, run_jobs

_CLOSE = ("ppo-", "frozen-", "placebo-", "grpo-")
_PLACES = ("model.base", "data.folder")  # differ when an experiment's folder was moved
_BASELINES = ("plain", "suffix", "random", "starter", "best-of-4")


@dataclass(frozen=True)
class Recipes:
    """The recipes of the parts; `source` is what is curated, `changes` goes on top of stage 2's recipes."""

    source: str
    curate: Path | None
    sft: Path | None
    ppo: Path | None
    grpo: Path | None
    changes: tuple[str, ...] = ()


def find_recipes(folder: Path, prefix: str, names: Sequence[str]) -> dict[str, Path]:
    """The files PREFIX-NAME.toml of a folder by name; raises ConfigError for one that is not there."""
    found = {name: folder / f"{prefix}-{name}.toml" for name in names}
    for file in found.values():
        if not file.is_file():
            raise ConfigError(f"{file} is not there; name the folder of recipes with --recipes")
    return found


def run_arms(
    recipes: Recipes, folder: Path, arms: Sequence[Arm], note: Note, *, processes: int = 1
) -> dict[str, Path]:
    """Train what is not trained yet; returns the policy of each run, "stage-1" (and "stage-1-token") first.

    With `processes` above 1 that many runs of stage 2 train at a time. A run that a watchdog stopped has a
    policy too: its best by then, or its last with export=last. Raises what curation and training raise.
    """
    data = folder / "data"
    curate_once(recipes, data, note)
    found = {"stage-1": train_stage_one(recipes, folder / "stage-1", data, "phrase", note)}
    if any(arm.control == "token" for arm in arms):
        found["stage-1-token"] = train_stage_one(recipes, folder / "stage-1-token", data, "token", note)
    jobs = {}
    for name, arm, seed in runs_of(arms):
        base = found["stage-1-token" if arm.control == "token" else "stage-1"]
        jobs[name] = partial(train_stage_two, recipes, folder / "runs" / name, arm, seed, base, data)
    if processes > 1:
        return found | run_jobs(jobs, processes, note)
    return found | {name: job(note) for name, job in jobs.items()}


def runs_of(arms: Sequence[Arm]) -> Iterator[tuple[str, Arm, int]]:
    """Every run of the arms with its name and seed, the first seed of all arms before the second."""
    for seed in range(1, max((arm.seeds for arm in arms), default=0) + 1):
        for arm in arms:
            if seed <= arm.seeds:
                yield f"{arm.name}-{seed}", arm, seed


def evaluate_arms(
    policies: dict[str, Path],
    folder: Path,
    *,
    prompts: str | Path = "mini",
    count: int = 100,
    seeds: Sequence[int] = (0, 1, 2, 3),
    pipeline: str | Path = "mini",
    rewards: Sequence[str] = (),
    judges: Sequence[str] = (),
    search_images: int = VALIDATION_IMAGES,
    note: Note,
) -> EvaluationRun:
    """Every arm and baseline on the same held-out prompts and noise, in `folder`.

    The best suffix, its best controls and each policy's best single control are searched with `search_images`
    pictures each, on other prompts.
    """
    note(f"evaluating {len(policies)} policies")
    judges = mini_judges(prompts, judges)
    # Mini alone has prompts to search a suffix's controls on, what users wrote, and a bare language model.
    human = ["suffix-controls", "human", f"language-model={mini_folder('lm')}"] if prompts == "mini" else []
    methods = [*_BASELINES, *human, *(f"{name}={path}" for name, path in policies.items())]
    for name in policies:
        # What the controls are worth: the same words without them, and with them dealt out anew.
        whole = name.startswith(("ppo-", "grpo-")) and not name.startswith("grpo-frozen")
        if whole or name.startswith(("placebo-", "token-", "heads-")):
            methods.append(f"stripped:{name}")
        if whole:
            methods += [f"shuffled:{name}", f"constant:{name}"]
    if "ppo-1" in policies:
        methods.append("best-of-4:ppo-1")
    return evaluate(
        prompts,
        methods,
        folder,
        seeds=seeds,
        pipeline=pipeline,
        rewards=rewards,
        judges=judges,
        count=count,
        validation_images=search_images,
    )


def evaluate_closely(
    policies: dict[str, Path],
    folder: Path,
    *,
    prompts: str | Path = "mini",
    count: int = 100,
    seeds: Sequence[int],
    pipeline: str | Path = "mini",
    rewards: Sequence[str] = (),
    judges: Sequence[str] = (),
    note: Note,
) -> EvaluationRun:
    """The arms whose small differences are claimed, and plain, with more noises per prompt, in `folder`.

    A difference of a point of fidelity needs thousands of pairs; these arms are those with three seeds. A
    placebo is drawn as it was trained, without its controls.
    """
    close = {name: path for name, path in policies.items() if name.startswith(_CLOSE)}
    note(f"evaluating {len(close)} policies closely")
    methods: list[str | Method] = ["plain"]
    for name, path in close.items():
        if name.startswith("placebo"):
            methods.append(Stripped(PolicyMethod(load_policy(path), name=name), f"stripped:{name}"))
        else:
            methods.append(f"{name}={path}")
    return evaluate(
        prompts,
        methods,
        folder,
        seeds=seeds,
        pipeline=pipeline,
        rewards=rewards,
        judges=mini_judges(prompts, judges),
        count=count,
    )


def draw_side_by_side(
    policies: dict[str, Path], folder: Path, closely: Path, options: Mapping[str, Any], close: int, note: Note
) -> None:
    """Both evaluations at a time, each in a process; evaluating again in one finds every row drawn.

    `options` are what `evaluate_arms` takes; `close` is the pictures per prompt of `evaluate_closely`.
    """
    shared = {name: value for name, value in options.items() if name not in ("seeds", "search_images")}
    jobs = {
        folder.name: partial(_drawn, evaluate_arms, policies, folder, dict(options)),
        closely.name: partial(_drawn, evaluate_closely, policies, closely, {**shared, "seeds": range(close)}),
    }
    run_jobs(jobs, 2, note)


def _drawn(
    evaluation: Callable[..., EvaluationRun],
    policies: dict[str, Path],
    folder: Path,
    options: Mapping[str, Any],
    note: Note,
) -> Path:
    evaluation(policies, folder, **options, note=note)
    return folder


def mini_judges(prompts: str | Path, judges: Sequence[str]) -> Sequence[str]:
    """The judges asked for; without any, on the mini world's prompts, both of its own."""
    return (FIDELITY, TASTE) if prompts == "mini" and not judges else judges


def curate_once(recipes: Recipes, data: Path, note: Note) -> None:
    """Curate the source into `data`, unless that is done; raises ConfigError where it was done otherwise."""
    if (data / "report.json").is_file():
        check_same_recipe(data, read_curation(recipes.source, recipes.curate))
        return
    note(f"curating {recipes.source}")
    run_curation(recipes.source, recipes.curate, output=data, resume=data.exists())


def train_stage_one(recipes: Recipes, folder: Path, data: Path, control: str, note: Note) -> Path:
    """Train stage 1 in `folder` on `data`, unless that is done; returns its policy.

    Raises ConfigError for one that was trained otherwise: it would stand in a table under another recipe.
    """
    changes = [f"data.folder={data}", f"model.control={control}"]
    if (folder / "policy").is_dir():
        check_same_recipe(folder, load_config(SftSettings, recipes.sft, changes), but=_PLACES)
        return folder / "policy"
    note(f"stage 1, a control per {control}")
    run_sft(recipes.sft, changes, output=folder, resume=(folder / RECIPE).is_file())
    return folder / "policy"


def train_stage_two(
    recipes: Recipes, folder: Path, arm: Arm, seed: int, base: Path, data: Path, note: Note
) -> Path:
    """Train one run of stage 2 from the policy `base`, unless that is done; returns its policy.

    A run that a watchdog stopped has a policy too. Raises what training raises, ConfigError where none came
    and for a run that was trained otherwise.
    """
    recipe = recipes.ppo if arm.algorithm == "ppo" else recipes.grpo
    changes = [f"model.base={base}", f"data.folder={data}", f"model.control={arm.control}", f"seed={seed}"]
    changes += [f"policy.name={folder.name}", *recipes.changes, *arm.changes]
    if (folder / "policy").is_dir():
        check_same_recipe(folder, load_config(SETTINGS_OF[arm.algorithm], recipe, changes), but=_PLACES)
        return folder / "policy"
    note(f"{arm.name}, seed {seed}: {arm.says}")
    try:
        resume = (folder / RECIPE).is_file()
        run_reinforcement(arm.algorithm, recipe, changes, output=folder, resume=resume)
    except TrainingError as error:
        if not (folder / "policy").is_dir():
            raise
        note(f"{folder.name} ended early: {error}")
    if not (folder / "policy").is_dir():
        raise ConfigError(f"{folder} holds no policy; look at its metrics.jsonl")
    return folder / "policy"
