"""What was run: the resolved recipe saved with versions, seeds and the git commit."""

from __future__ import annotations

import datetime as dt
import platform
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dfprompt.config.base import Config
from dfprompt.config.recipes import PROVENANCE
from dfprompt.config.tomltext import to_toml
from dfprompt.errors import ConfigError
from dfprompt.storage import check_free, read_toml, reported, tidied, write_text

_PACKAGES = ("dfprompt", "torch", "diffusers", "transformers", "accelerate", "peft", "numpy")


def collect_provenance(seeds: Iterable[int] = ()) -> dict[str, Any]:
    """Versions, seeds, commit and date of this run; never a path or the name of the machine."""
    return {
        "date": dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat(),
        "seeds": list(seeds),
        "commit": _own_commit(Path(__file__).parent),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: version for name in _PACKAGES if (version := package_version(name))},
    }


def save_resolved(
    config: Config,
    path: str | Path,
    *,
    seeds: Iterable[int] = (),
    force: bool = False,
    inputs: Mapping[str, str] | None = None,
) -> Path:
    """Write the resolved recipe with its provenance; `load_config` reads it back to the same configuration.

    `inputs` are digests of the files that the run read, for `read_inputs`.

    Raises InputError when the file exists and `force` is not given, ConfigError where it cannot be written.
    """
    tables = config.model_dump(mode="json")
    provenance = {**collect_provenance(seeds), **({"inputs": dict(inputs)} if inputs else {})}
    return write_recipe({**tables, PROVENANCE: provenance}, path, force=force)


def read_inputs(path: Path) -> dict[str, str]:
    """The digests of a resolved recipe, none where it holds none; raises ConfigError for a damaged file."""
    try:
        found = read_toml(path).get(PROVENANCE, {}).get("inputs", {})
        return {str(name): str(digest) for name, digest in found.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def check_inputs(recipe: Path, now: Mapping[str, str]) -> None:
    """Raise ConfigError where the files a run reads are others than its resolved recipe was written with."""
    before = read_inputs(recipe)
    changed = sorted(name for name in now if before.get(name, now[name]) != now[name])
    if changed:
        raise ConfigError(
            f"{recipe.parent} was begun with another {' and another '.join(changed)}: the files have changed "
            "since; put them back, or begin anew in another folder"
        )


def write_recipe(tables: dict[str, Any], path: str | Path, *, comment: str = "", force: bool = False) -> Path:
    """Write tables as TOML, whole or not at all; `comment` stands above, line by line."""
    path = Path(path)
    check_free([path], force=force, name="choose another name")
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    text = head + ("\n" if head else "") + to_toml(tables)
    with reported(path, ConfigError):
        with tidied(path.parent):
            write_text(path, text)
    return path


def git_commit(folder: Path) -> str | None:
    """The commit of the checkout that holds `folder`, with `+changes` when files differ; None outside one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _own_commit(folder: Path) -> str | None:
    """This project's commit; a repository around an installed package, such as the user's, is not ours."""
    return git_commit(folder) if _is_ours(folder) else None


def _is_ours(folder: Path) -> bool:
    """Whether the checkout around a folder is this project's: its root holds our pyproject.toml."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    if root is None or not folder.resolve().is_relative_to(Path(root).resolve() / "src" / "dfprompt"):
        return False
    try:
        project = tomllib.loads((Path(root) / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return bool(project.get("project", {}).get("name") == "dfprompt")


def _git(folder: Path, *arguments: str) -> str | None:
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def package_version(package: str) -> str | None:
    """Return the version of an installed package; None of one that is not installed."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
