"""Command words that stand beside the package now: each answers with one line that names the new command."""

from __future__ import annotations

import typer

from dfprompt.errors import InputError

_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def register(parent: typer.Typer, word: str, old: str, new: str) -> None:
    """Put the old command word on an app, out of the help, with whatever follows it.

    `old` is the command as it was typed, `new` the module that took its place; the words after it are kept.
    """

    def answer(context: typer.Context) -> None:
        rest = context.args[:1] if context.args and not context.args[0].startswith("-") else []
        raise InputError(
            f"`{' '.join([old, *rest])}` is not in the package any more; in a checkout of the project run: "
            f"{' '.join(['python -m', new, *rest])}"
        )

    parent.command(word, hidden=True, context_settings=_ANYTHING)(answer)
