"""Trainings by recipe: the names in a recipe become models and rows, a folder becomes a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from dfprompt.api.companions import MINI
from dfprompt.api.gallery import choose_folder
from dfprompt.api.inputs import TRAIN, VALIDATION, digest_inputs
from dfprompt.api.training_plots import plotted
from dfprompt.api.world import mini_folder
from dfprompt.config import load_config
from dfprompt.domain import FILE_NAME as DOMAIN
from dfprompt.errors import ConfigError
from dfprompt.policy import Policy, TokenBudget
from dfprompt.policy.folders import COUNTING, load_policy_model, load_tokenizer, policy_in
from dfprompt.rewards.weights import find_source
from dfprompt.training.examples import Example, read_examples
from dfprompt.training.model_setup import policy_fields, set_up_model
from dfprompt.training.run_folder import RECIPE, lock_run
from dfprompt.training.settings import ModelSettings, PolicySettings
from dfprompt.training.sft import Report, SftResult, train_sft
from dfprompt.training.sft_settings import SftSettings

_PACKAGED = {MINI: "lm", "mini-sft": "sft"}


def run_sft(
    recipe: str | Path | None = None,
    assignments: Iterable[str] = (),
    *,
    output: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    report: Report | None = None,
) -> SftResult:
    """Run stage 1 as a recipe says; without one, as the run in `output` was begun, or by the defaults.

    Names in a recipe are "mini", hub ids, or paths from the current folder. Raises ConfigError for a
    recipe that cannot be run, InputError for rows that cannot be read, LoadError for models.
    """
    folder = choose_run_folder(output, recipe, resume=resume)
    # First of all: a process that just began has no recipe there yet.
    with lock_run(folder), plotted(folder):
        if recipe is None and resume:
            recipe = folder / RECIPE
        settings = load_config(SftSettings, recipe, assignments)
        train, validation = read_rows_of(settings.data.folder)
        base = find_policy_source(settings.model.base)
        policy = open_trainable(base, settings.model, settings.policy, seed=settings.seed)
        return train_sft(
            policy,
            train,
            validation,
            settings,
            folder,
            resume=resume,
            force=force,
            extra=files_beside(base, settings.model),
            report=report,
            inputs=digest_inputs(settings.data.folder, base),
        )


def choose_run_folder(
    output: str | Path | None, recipe: str | Path | None, *, resume: bool, default: str = "sft"
) -> Path:
    """The folder asked for, or a new one named by the date and the recipe.

    Raises ConfigError where a run must name its folder: to go on, and in several processes at once.
    """
    if output is None and resume:
        raise ConfigError("--resume needs --output, the folder of the run to go on with")
    if output is None and torch.distributed.is_torchelastic_launched():
        raise ConfigError("several processes must write into one folder: name it with --output")
    return choose_folder(output, Path(recipe).stem if recipe else default)


def read_rows_of(folder: str) -> tuple[list[Example], list[Example]]:
    """The rows to train and to validate on, from the folder `dfprompt curate` wrote."""
    if not folder:
        raise ConfigError(
            "data.folder names no data; write some with `dfprompt curate SOURCE --output data` and pass "
            "--set data.folder=data"
        )
    return read_examples(Path(folder) / TRAIN), read_examples(Path(folder) / VALIDATION)


def find_policy_source(name: str) -> Path:
    """The folder of a policy or language model by name, as a folder, or by hub id (which may be fetched).

    "mini" is the mini world's language model before any training on pictures, "mini-sft" its stage 1; the
    folder of a training run stands for the policy in it.
    """
    return mini_folder(_PACKAGED[name]) if name in _PACKAGED else policy_in(find_source(name, Path()))


def open_trainable(
    base: Path, model: ModelSettings, card: PolicySettings, *, seed: int, tastes: Sequence[str] = ()
) -> Policy:
    """A policy ready to be trained: the base as it is, or new heads on a plain language model.

    Tokens of whole prompts are counted with the tokenizer the recipe names, else with the one the base
    counts with.
    """
    loaded = load_policy_model(base, settings=policy_fields(model))
    ready = set_up_model(loaded, model, seed=seed, base=base, tastes=tastes)
    tokenizer = load_tokenizer(base)
    if card.tokenizer:
        counting = load_tokenizer(_tokenizer_folder(card.tokenizer))
    else:
        counting = load_tokenizer(base / COUNTING) if (base / COUNTING).is_dir() else tokenizer
    budget = TokenBudget(card.prompt_tokens, (counting,))
    return Policy(ready, tokenizer, budget=budget, name=card.name)


def files_beside(base: Path, model: ModelSettings) -> dict[str, Path]:
    """What a policy of this base carries along: the words its world knows."""
    places = [base, mini_folder()] if model.base in _PACKAGED else [base]
    found = next((place / DOMAIN for place in places if (place / DOMAIN).is_file()), None)
    return {} if found is None else {DOMAIN: found}


def _tokenizer_folder(name: str) -> Path:
    """The folder of a tokenizer: "mini", its own folder, or that of a pipeline."""
    folder = mini_folder("pipeline") if name == MINI else Path(name)
    return folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
