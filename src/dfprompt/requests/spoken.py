"""A request as the command line that asks the same."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from typing import Any

from dfprompt.requests.base import Flag, Request


def command_line(command: str, request: Request, always: Collection[str] = ()) -> str:
    """Return the command that makes this request: what differs from its defaults, and `always`.

    >>> from dfprompt.requests.render import GenerateRequest
    >>> command_line("generate", GenerateRequest(texts=["a red cat"], width=64, height=48, metadata=False))
    'dfprompt generate "a red cat" --no-metadata --size 64x48'
    """
    words = ["dfprompt", command]
    for name in request.fields():
        value = getattr(request, name)
        if name in always or _plain(value) != _plain(type(request).model_fields[name].get_default()):
            words += _said(request, name, value)
    return " ".join(words)


def _said(request: Request, name: str, value: Any) -> Iterator[str]:
    flag, option = request.flag(name), request.option(name)
    if flag.hidden:
        return
    if isinstance(value, bool):
        yield option
    elif flag.argument:
        yield from map(quote_word, _plain(value))
    else:
        for each in _plain(_whole(request, flag, value)):
            yield f"{option} {quote_word(each)}"


def _whole(request: Request, flag: Flag, value: Any) -> Any:
    """What one option says of all the fields that it fills."""
    return "x".join(str(getattr(request, each)) for each in flag.fills) if flag.fills else value


def _plain(value: Any) -> tuple[str, ...]:
    """The values as they are typed, one or several."""
    if value is None:
        return ()
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple(str(each).removesuffix(".0") if isinstance(each, float) else str(each) for each in listed)


def quote_word(word: str) -> str:
    """Return a word as a shell takes it; double quotes, which every shell knows, wherever they do.

    >>> quote_word("snow"), quote_word("a red cat"), quote_word('so "red"')
    ('snow', '"a red cat"', '\\'so "red"\\'')
    """
    quoted = shlex.quote(word)
    return f'"{word}"' if quoted != word and not set(word) & set('"$`\\!\n') else quoted
