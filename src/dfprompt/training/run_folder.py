"""The folder of a training run: begun once, gone on with under the same recipe, never overwritten unasked.

recipe.toml      the resolved recipe with versions, seed and commit
metrics.jsonl    one row per logged step       samples.jsonl   rewrites of the same prompts over time
checkpoints/     what is needed to go on       best/           the policy of the lowest validation loss
policy/          the result                    pages/          pictures of the samples, stage 2
tensorboard/     if asked for             curves.png, curves.html   how it went
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfprompt.config import Config, load_config, save_resolved
from dfprompt.config.provenance import check_inputs
from dfprompt.errors import ConfigError
from dfprompt.storage import check_ours, lock_folder, remove, reported

RECIPE = "recipe.toml"
# In the order in which they go: checkpoints first, the recipe last, so that a run that was killed while it
# began anew is never gone on with under another recipe.
CURVES_PICTURE, CURVES_PAGE = "curves.png", "curves.html"
_PARTS = (
    "checkpoints",
    "metrics.jsonl",
    "samples.jsonl",
    "tensorboard",
    "pages",
    CURVES_PICTURE,
    CURVES_PAGE,
    "best",
    "policy",
    RECIPE,
)


def open_run(
    folder: Path,
    settings: Config,
    *,
    seed: int,
    resume: bool = False,
    force: bool = False,
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Begin a run in a folder, or go on with the one in it.

    `inputs` are digests of what it is begun with (data, base, reward); going on with others is refused.

    Raises ConfigError where the folder holds a run and neither `resume` nor `force` is given, and
    where the run to go on with had another recipe, naming what differs; InputError where it holds parts
    of a run without a recipe, and `force` is not given.
    """
    recipe = folder / RECIPE
    check_ours(folder, _PARTS, RECIPE, force=force)
    if resume and recipe.exists():
        check_same_recipe(folder, settings)
        check_inputs(recipe, inputs or {})
        return
    if recipe.exists() and not force:
        raise ConfigError(
            f"{folder} holds a training run; add --resume to go on with it, --force to begin anew, or take "
            "another --output"
        )
    for part in _PARTS:
        with reported(folder / part, ConfigError):
            remove(folder / part)
    save_resolved(settings, recipe, seeds=[seed], inputs=inputs)


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process; of several that train together the first one holds it."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    with lock_folder(folder):
        yield


def check_same_recipe(folder: Path, settings: Config, *, but: Sequence[str] = ()) -> None:
    """Raise ConfigError, naming what differs, unless the run in a folder had these settings.

    `but` are dotted names that may differ: where a run's parts lie, for one that was moved as a whole.
    """
    recipe = folder / RECIPE
    before = load_config(type(settings), recipe)
    changed = differences(before.model_dump(mode="json"), settings.model_dump(mode="json"))
    # Who draws changes no number; what else may differ is named.
    named = [each for each in changed if not each.startswith("scale.")]
    if changed := [each for each in named if each.partition(":")[0] not in but]:
        raise ConfigError(
            f"{folder} was begun with another recipe ({', '.join(changed)}); go on with {recipe}, or "
            "take another folder"
        )


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of the settings that differ, with both values.

    >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
    ['a.b: 1 before, 2 now']
    """
    found = []
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}: {old} before, {new} now")
    return found
