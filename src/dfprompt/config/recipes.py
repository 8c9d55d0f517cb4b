"""Recipes: a TOML file and assignments on top become one validated configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dfprompt.config.assignments import apply_assignments
from dfprompt.config.base import Config
from dfprompt.config.problems import describe_problems
from dfprompt.errors import ConfigError
from dfprompt.storage import read_toml

# A saved recipe carries this table (versions, seeds, commit); it is skipped when the recipe is read again.
PROVENANCE = "provenance"

ConfigT = TypeVar("ConfigT", bound=Config)


def load_config(
    config: type[ConfigT], recipe: str | Path | None = None, assignments: Iterable[str] = ()
) -> ConfigT:
    """Read a recipe file, make the assignments and validate; raises ConfigError listing every problem.

    >>> class Render(Config):
    ...     steps: int = 10
    >>> load_config(Render, assignments=["steps=20"]).steps
    20
    """
    values = read_recipe(recipe) if recipe is not None else {}
    refused = list(config.refuse_in_file(values))
    changed, problems = apply_assignments(values, assignments)
    origin = str(recipe) if recipe else "settings"
    return make_config(config, changed, origin=origin, problems=[*refused, *problems])


def make_config(
    config: type[ConfigT],
    values: dict[str, Any],
    *,
    origin: str = "settings",
    problems: Iterable[str] = (),
) -> ConfigT:
    """Validate values; raises ConfigError that lists every problem found, `problems` included."""
    found = list(problems)
    made: ConfigT | None = None
    try:
        made = config.model_validate(values)
    except ValidationError as error:
        found += describe_problems(error, config)
    if made is None or found:
        count = f"{len(found)} problem" + ("s" if len(found) != 1 else "")
        raise ConfigError(f"{origin}: {count}\n" + "\n".join(f"  {line}" for line in found))
    return made


def packaged_recipes() -> dict[str, Path]:
    """Return the recipes that come with dfprompt, by name: of the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    places = (package / "recipes", package.parent.parent / "recipes")
    return {file.stem: file for place in places for file in sorted(place.glob("*.toml"))}


def find_recipe(recipe: str | Path) -> Path:
    """Return the file of a recipe: a path, or the name of one that comes with dfprompt.

    "mini-sft", "mini-sft.toml" and "recipes/mini-sft.toml" are one recipe where no such file lies here.
    Raises ConfigError naming those there are.

    >>> find_recipe("mini-sft").name
    'mini-sft.toml'
    """
    path = Path(recipe)
    if path.is_file():
        return path
    known = packaged_recipes()
    if path.suffix in ("", ".toml") and path.parent in (Path(), Path("recipes")) and path.stem in known:
        return known[path.stem]
    raise ConfigError(
        f"cannot read the recipe {path}: no such file, and none of the recipes that come with dfprompt "
        f"({', '.join(known)})"
    )


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file or a named recipe; raises ConfigError for one missing or not TOML."""
    path = find_recipe(path)
    try:
        values = read_toml(path)
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: a recipe is UTF-8 text, but byte {error.start} is not") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    values.pop(PROVENANCE, None)
    return values
