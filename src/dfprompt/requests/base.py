"""What every request has: frozen fields, each with one line of meaning and its word on the command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, ConfigDict, ValidationError, model_validator

from dfprompt.config import Config, nearest
from dfprompt.config.problems import describe_problems
from dfprompt.errors import ConfigError, InputError
from dfprompt.excerpt import quote

# Pydantic's words for a bound, and shorter ones.
_BOUNDS = {
    "input should be greater than or equal to": "must be at least",
    "input should be less than or equal to": "must be at most",
}
RequestT = TypeVar("RequestT", bound="Request")


@dataclass(frozen=True)
class Flag:
    """How a field is asked for on the command line; without one it is its own name, with dashes.

    `old` are earlier spellings, which are answered with this one. `argument` makes it a positional
    argument; `hidden` gives it no option at all. `kind` is what is typed where the field's type is wider.
    `commas` lets one option hold several values. `read` turns the text into the values of `fills`, for one
    option that stands for several fields. `help` stands in the help where that differs from the field's line.
    """

    name: str = ""
    metavar: str = ""
    old: tuple[str, ...] = ()
    argument: bool = False
    hidden: bool = False
    kind: Any = None
    commas: bool = False
    fills: tuple[str, ...] = ()
    read: Callable[[str], Sequence[Any]] | None = None
    help: str = ""


HIDDEN = Flag(hidden=True)


class Request(Config):
    """What one command is asked to do: names and numbers, no models; wrong ones are refused when made."""

    model_config = ConfigDict(defer_build=True)  # a command validates one request, and imports many
    goes_on: ClassVar[bool] = False  # whether the same command goes on with its folder without being told

    @model_validator(mode="after")
    def _check_folder_named(self) -> Self:
        if getattr(self, "resume", False) and getattr(self, "output", None) is None:
            raise ConfigError("--resume needs --output, the folder of the run to go on with")
        return self

    @classmethod
    def flag(cls, name: str) -> Flag:
        """Return how a field is asked for on the command line.

        >>> Request.flag("seed")
        Traceback (most recent call last):
            ...
        KeyError: 'seed'
        """
        found = (each for each in cls.model_fields[name].metadata if isinstance(each, Flag))
        return next(found, Flag())

    @classmethod
    def fields(cls) -> list[str]:
        """Return the fields in the order people read them: the request's own, then the shared groups."""
        owned = (name for owner in cls.__mro__ for name in getattr(owner, "__annotations__", ()))
        return [name for name in dict.fromkeys(owned) if name in cls.model_fields]

    @classmethod
    def option(cls, name: str) -> str:
        """Return what a field is called on the command line: an option, or an argument's name in capitals."""
        flag = cls.flag(name)
        if flag.argument:
            return flag.metavar.strip("[].") or name.upper()
        return flag.name or "--" + name.replace("_", "-")


def make_request(
    kind: type[RequestT], values: Mapping[str, Any], spoken: Callable[[str], str] = str
) -> RequestT:
    """Return a request of values by field; `spoken` says what a field is called where they were written.

    Raises ConfigError that names every problem at once, an unknown field with the nearest that exists.
    """
    problems = [
        f"{name}: no setting of this name; {nearest(name, list(kind.model_fields))}"
        for name in values
        if name not in kind.model_fields
    ]
    known = {name: value for name, value in values.items() if name in kind.model_fields}
    made: RequestT | None = None
    try:
        made = kind.model_validate(known)
    except ValidationError as error:
        problems += [_spoken(line, kind, spoken) for line in describe_problems(error, kind)]
    if made is None or problems:
        raise ConfigError("\n".join(problems))
    return made


def _spoken(line: str, kind: type[Request], spoken: Callable[[str], str]) -> str:
    key, _, rest = line.partition(": ")
    if key == "the recipe":  # a rule of several fields says their names itself, and shows no values
        return rest.rpartition(", got ")[0]
    name, dot, inner = key.partition(".")
    said = spoken(name) if name in kind.model_fields else name
    for theirs, ours in _BOUNDS.items():
        rest = rest.replace(theirs, ours)
    return f"{said}{dot}{inner}{'' if rest.startswith('must be') else ':'} {rest}"


def split_commas(values: Sequence[str]) -> list[str]:
    """Return the parts of texts that may hold several, between commas.

    >>> split_commas(["clip, aesthetic", "hps"])
    ['clip', 'aesthetic', 'hps']
    """
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _listed(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str | Path) else tuple(given or ())


Things = Annotated[Sequence[Any], AfterValidator(tuple)]
Words = Annotated[Sequence[str], AfterValidator(tuple)]
ListedThings = Annotated[Any, AfterValidator(_listed)]
"""As `Things`, and a single one need not be listed."""
Folder = Annotated[str | Path | None, Flag(metavar="DIR", kind=Path)]
Texts = Annotated[Words, Flag(metavar="TEXT...", argument=True)]


def parse_share(text: str) -> tuple[float]:
    """Return the share that `2%` or `0.02` names; raises InputError for what is no number.

    >>> parse_share("2%"), parse_share("0.05")
    ((0.02,), (0.05,))
    """
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / 100 if percent else float(number)
    except ValueError:
        value = float("nan")
    if rest.strip() or not math.isfinite(value):
        raise InputError(f"a share is written 2% or 0.02, not {quote(text)}")
    return (value,)


MaxRisk = Annotated[float | None, Flag("--max-risk", "R%", kind=str, fills=("max_risk",), read=parse_share)]


class SeedRequest(Request):
    """Which noise is drawn on: the same seed, the same picture.

    >>> list(SeedRequest(seed=7, seeds=2).numbers), SeedRequest(seeds=[3, 1]).numbers
    ([7, 8], [3, 1])
    """

    most_seeds: ClassVar[int] = 10_000

    seed: Annotated[int, Flag(metavar="S")] = 0
    """The first seed."""
    seeds: Annotated[int | Sequence[int], Flag(metavar="K", kind=int)] = 1
    """Pictures per prompt: seeds S to S+K-1; in Python also the seeds themselves."""

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        count = self.seeds if isinstance(self.seeds, int) else len(self.seeds)
        if not 1 <= count <= self.most_seeds:
            raise InputError(f"--seeds counts pictures per prompt, 1 to {self.most_seeds}, not {count}")
        return self

    @property
    def numbers(self) -> Sequence[int]:
        """The seeds, one by one."""
        return range(self.seed, self.seed + self.seeds) if isinstance(self.seeds, int) else self.seeds


class FolderRequest(Request):
    """Where the files go; `resume` goes on with what the folder holds."""

    output: Folder = None
    """Where to write; default: dfprompt-out/<date>-<words>."""
    metadata: Annotated[bool, Flag("--no-metadata")] = True
    """Write no recipe into the pictures."""
