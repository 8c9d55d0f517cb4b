"""Defaults of one's own: the file `dfprompt.toml` of the folder a command runs in, and the environment.

What is typed counts first, then `DFPROMPT_<OPTION>` in the environment, then the file, then the program's own
default. A file may lie in a folder that came from elsewhere, so it cannot let code run, name servers, say yes
or overwrite.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dfprompt.cli import console
from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.storage import read_toml

FILE = Path("dfprompt.toml")
ENVIRONMENT = "DFPROMPT_"
# What a person says for one command, and no file for all.
TYPED_ONLY = frozenset(
    {
        "allow-code",
        "force",
        "help",
        "host",
        "json",
        "listen",
        "llm",
        "ray",
        "resume",
        "retry-failed",
        "token-file",
        "yes",
    }
)


def apply_defaults(command: Any, path: tuple[str, ...], every: Callable[[], Mapping[str, Any]]) -> None:
    """Give a command's options the defaults of the environment and of the file, and its commands theirs.

    `every` returns all commands by name: it is asked where the file says what this command does not take.
    Raises ConfigError for a file that is not TOML, and for tables and keys that no command and no option is.
    """
    for name, inner in getattr(command, "commands", {}).items():
        apply_defaults(inner, (*path, name), every)
    options = dict(_options(command))
    for name, option in options.items():
        option.envvar, option.show_envvar = ENVIRONMENT + name.replace("-", "_").upper(), False
    if getattr(command, "commands", None) is None:
        said = _said(path, options, every)
        used = [name for name, value in said.items() if _set(options[name], name, value)]
        if used:
            console.note(f"defaults of {FILE}: {', '.join(used)}")


def _options(command: Any) -> Iterator[tuple[str, Any]]:
    for each in command.params:
        long = [option for option in each.opts if option.startswith("--")]
        if long and not getattr(each, "hidden", False):
            yield long[0].removeprefix("--"), each


def _all_options(command: Any) -> set[str]:
    inner = getattr(command, "commands", {}).values()
    return {name for name, _ in _options(command)}.union(*map(_all_options, inner))


def _said(
    path: tuple[str, ...], options: Mapping[str, Any], every: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what the file says for a command: its plain keys, and over them those of the command's table."""
    tables: list[dict[str, Any]] = [_read(FILE)]
    found: dict[str, Any] = {}
    for name in path:
        inner = tables[-1].get(name, {})
        tables.append(inner if isinstance(inner, dict) else {})
    others = {key for key in tables[0] if key not in options and key != path[0]} - TYPED_ONLY
    if others:
        commands = every()
        known = {*commands, *set().union(*map(_all_options, commands.values()))}
        if wrong := sorted(others - known):
            raise ConfigError(
                f"{FILE}: no command and no option is {quote(wrong[0])}{_near(wrong[0], known)}"
            )
    for depth, table in enumerate(tables):
        for key, value in table.items():
            if isinstance(value, dict):
                continue
            if key in TYPED_ONLY:
                raise ConfigError(
                    f"{FILE}: {key!r} is for the command line: no file may say it for every command"
                )
            if key in options:
                found[key] = value
            elif depth == len(path):
                raise ConfigError(
                    f"{FILE}: `dfprompt {' '.join(path)}` has no option {quote(key)}{_near(key, options)}"
                )
    return found


def _near(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {near[0]!r}" if near else ""


def _set(option: Any, name: str, value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    if any("://" in str(each) for each in values):
        raise ConfigError(
            f"{FILE}: {name} = {quote(value)}: addresses are for the command line or the environment"
        )
    if isinstance(value, list) and not option.multiple:
        raise ConfigError(f"{FILE}: {name} takes one value, not {quote(value)}")
    option.default, option.required = values if option.multiple else value, False
    return True


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_toml(file)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"cannot read {FILE}: {error}") from error
