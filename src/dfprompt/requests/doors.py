"""Front doors: a function of one request that may be called with the request or with its fields.

A setting is written down once, in the request; the door takes its keywords, defaults and types from there.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from dfprompt.errors import ConfigError
from dfprompt.requests.base import Request, make_request
from dfprompt.requests.render import RenderSettings

P = ParamSpec("P")
RequestT = TypeVar("RequestT", bound=Request)
RequestIn = TypeVar("RequestIn", bound=Request, contravariant=True)
Out = TypeVar("Out")
Result = TypeVar("Result", covariant=True)


class Door(Protocol[P, RequestIn, Result]):
    """Takes a request, or the keywords that build one; the first fields also by position."""

    @overload
    def __call__(self, request: RequestIn, /, **beside: Any) -> Result: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result: ...
    @overload
    def __call__(self, first: Any, /, *more: Any, **keywords: Any) -> Result: ...


def front_door(
    kind: Callable[P, RequestT], *positional: str
) -> Callable[[Callable[..., Out]], Door[P, RequestT, Out]]:
    """Return a decorator for `work(request, *, ...)`: what is not the request's goes on to `work`.

    `positional` are fields that may be given by position, in this order. `settings` is taken too, as a
    RenderSettings or a mapping, where the request draws. Unknown keywords are named with the nearest.

    >>> from dfprompt.requests.base import SeedRequest
    >>> @front_door(SeedRequest, "seed")
    ... def count(request, *, loud=False):
    ...     return f"{len(request.numbers)}{'!' * loud}"
    >>> count(7, seeds=2), count(SeedRequest(seeds=3), loud=True)
    ('2', '3!')
    """
    asked = cast(type[RequestT], kind)

    def decorate(work: Callable[..., Out]) -> Door[P, RequestT, Out]:
        _, *beside = inspect.signature(work).parameters.values()
        names = {each.name for each in beside}

        @functools.wraps(work)
        def door(*given: Any, **keywords: Any) -> Out:
            rest = {name: keywords.pop(name) for name in names & keywords.keys()}
            return work(_read(asked, positional, given, keywords), **rest)

        door.__signature__ = _signature(asked, positional, beside)  # type: ignore[attr-defined]
        return cast("Door[P, RequestT, Out]", door)

    return decorate


def takes_fields(kind: type[Request]) -> Callable[[Callable[P, Out]], Callable[P, Out]]:
    """Return a decorator that shows a reader the fields of a request where a function takes `**keywords`.

    >>> from dfprompt.requests.base import SeedRequest
    >>> @takes_fields(SeedRequest)
    ... def count(first, *, loud=False, **keywords): ...
    >>> list(inspect.signature(count).parameters)
    ['first', 'loud', 'seed', 'seeds']
    """

    def decorate(work: Callable[P, Out]) -> Callable[P, Out]:
        own = [
            each for each in inspect.signature(work).parameters.values() if each.kind is not each.VAR_KEYWORD
        ]
        shown = inspect.Signature([*own, *_signature(kind, (), []).parameters.values()])
        work.__signature__ = shown  # type: ignore[attr-defined]
        return work

    return decorate


def _read(
    kind: type[RequestT], positional: tuple[str, ...], given: tuple[Any, ...], keywords: dict[str, Any]
) -> RequestT:
    values: dict[str, Any] = {}
    if given and isinstance(given[0], Request):
        if not isinstance(given[0], kind):
            raise ConfigError(f"this takes a {kind.__name__}, not a {type(given[0]).__name__}")
        if not keywords and len(given) == 1:
            return given[0]
        values, given = dict(given[0]), given[1:]
    if len(given) > len(positional):
        raise ConfigError(f"by position go {', '.join(positional) or 'none'}; name the others")
    settings = keywords.pop("settings", None) if issubclass(kind, RenderSettings) else None
    values |= _drawing(settings)
    return make_request(kind, {**values, **dict(zip(positional, given, strict=False)), **keywords})


def _drawing(settings: RenderSettings | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of settings as keywords."""
    if isinstance(settings, RenderSettings):
        return {name: getattr(settings, name) for name in RenderSettings.model_fields}
    return dict(settings or {})


def _signature(
    kind: type[Request], positional: tuple[str, ...], beside: list[inspect.Parameter]
) -> inspect.Signature:
    """Return what a reader sees: the fields with their types and defaults, then what stands beside them."""
    required = [place for place, name in enumerate(positional) if kind.model_fields[name].is_required()]
    leading = positional[: max(required, default=-1) + 1]  # by position nothing optional precedes these
    parameters = []
    for name in dict.fromkeys([*positional, *kind.fields()]):
        field = kind.model_fields[name]
        default = inspect.Parameter.empty
        if not field.is_required() and name not in leading:
            default = field.get_default(call_default_factory=True)
        how = (
            inspect.Parameter.POSITIONAL_OR_KEYWORD if name in positional else inspect.Parameter.KEYWORD_ONLY
        )
        parameters.append(inspect.Parameter(name, how, default=default, annotation=field.annotation))
    parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in beside]
    return inspect.Signature(parameters)
