"""Command line options made from the fields of a request; the help is the line of meaning under a field."""

from __future__ import annotations

import functools
import inspect
import os
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from dfprompt.cli import console
from dfprompt.cli.commands import QUOTES
from dfprompt.cli.kept import describe_kept
from dfprompt.cli.stopping import Stopped
from dfprompt.errors import InputError
from dfprompt.requests.base import Flag, Request, make_request, split_commas

_PLAIN_TYPES = (bool, int, float, str, Path)
JSON = typer.Option(False, "--json", help="Print one JSON object.")


def takes(kind: type[Request]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the options of a request in place of its first parameter.

    >>> from dfprompt.requests.base import SeedRequest
    >>> @takes(SeedRequest)
    ... def count(request: SeedRequest, as_json: bool = JSON) -> None: ...
    >>> list(inspect.signature(count).parameters)
    ['seed', 'seeds', 'as_json']
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command).parameters.values()
        types = get_type_hints(command)

        @functools.wraps(command)
        def flagged(**given: Any) -> None:
            _quiet_libraries()
            rest = {each.name: given.pop(each.name) for each in own}
            request, started = make_request(kind, _values(kind, given), kind.option), time.time()
            _doubt_single_words(getattr(request, "texts", ()))
            try:
                command(request, **rest)
            except Stopped as stopped:
                stopped.kept = describe_kept(request, started)
                raise

        parameters = [
            *_parameters(kind),
            *(each.replace(annotation=types[each.name], kind=inspect.Parameter.KEYWORD_ONLY) for each in own),
        ]
        del flagged.__wrapped__  # or typer reads the signature below it
        flagged.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        flagged.__annotations__ = {each.name: each.annotation for each in parameters}
        return flagged

    return decorate


def _parameters(kind: type[Request]) -> Iterator[inspect.Parameter]:
    """Yield one parameter per field that has an option, as typer reads it, and one per old spelling."""
    for name in kind.fields():
        flag = kind.flag(name)
        if flag.hidden:
            continue
        yield _parameter(kind, name, flag)
        for number, old in enumerate(flag.old):
            option = typer.Option(None, old, hidden=True)
            yield _keyword(_old(name, number), option, str | None)


def _parameter(kind: type[Request], name: str, flag: Flag) -> inspect.Parameter:
    field = kind.model_fields[name]
    base, several = _typed(field.annotation)
    if flag.kind is not None:
        base, more = _typed(flag.kind)
        several = several or more
    default = ... if field.is_required() else field.get_default(call_default_factory=True)
    if base is bool and flag.name.startswith("--no-"):
        default = not default
    if several and default is not ...:
        default = list(default) if isinstance(default, list | tuple) else []
    chosen: Any = list[base] if several else base  # type: ignore[valid-type]
    if default is None:
        chosen = base | None
    told: dict[str, Any] = {"metavar": flag.metavar or None, "help": flag.help or field.description}
    if flag.argument:
        return _keyword(name, typer.Argument(default or None if several else default, **told), chosen)
    return _keyword(name, typer.Option(default, kind.option(name), **told), chosen)


def _keyword(name: str, option: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)


def _typed(annotation: Any) -> tuple[Any, bool]:
    """Return what typer reads for a field's type, and whether the option may be repeated.

    >>> _typed(int | None), _typed(tuple[str, ...]), _typed(Literal["a", "b"])
    ((<class 'int'>, False), (<class 'str'>, True), (<class 'str'>, False))
    """
    if annotation in _PLAIN_TYPES:
        return annotation, False
    if get_origin(annotation) is Annotated:
        return _typed(get_args(annotation)[0])
    origin, inner = get_origin(annotation), [each for each in get_args(annotation) if each is not type(None)]
    if origin in (Union, types.UnionType):
        return _typed(inner[0])
    if origin is not None and origin is not Literal:
        return _typed(inner[0])[0], True
    return str, False


def _values(kind: type[Request], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields from those of the options."""
    values: dict[str, Any] = {}
    for name in kind.fields():
        flag = kind.flag(name)
        for number, old in enumerate(flag.old):
            if given.get(_old(name, number)) is not None:
                raise InputError(f"{old} is {kind.option(name)} now, in every command")
        if name not in given or given[name] is None:
            continue
        value = given[name]
        if flag.read is not None:
            values |= dict(zip(flag.fills, flag.read(value), strict=True))
            continue
        if flag.commas:
            value = split_commas(value)
        values[name] = not value if flag.name.startswith("--no-") else value
    return values


def _doubt_single_words(texts: Sequence[Any]) -> None:
    """Say what prompts of one word each most often are: one prompt whose quotes were forgotten."""
    if len(texts) > 1 and all(len(str(each).split()) == 1 for each in texts):
        console.note(f"note: {len(texts)} prompts of one word each; {QUOTES}")


def _old(name: str, number: int) -> str:
    return f"old_{name}_{number}"


def _quiet_libraries() -> None:
    """Keep the libraries' own remarks off the terminal, unless asked for; before they are imported."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
