"""`dfprompt study`: a blinded comparison by people, from plan to report."""

from __future__ import annotations

import typer

from dfprompt.cli import study_pages

app = typer.Typer(
    name="study",
    help="Compare methods by people who do not know which is which.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(parent: typer.Typer) -> None:
    """Put the command group on the app."""
    study_pages.register(app)
    parent.add_typer(app, name="study")


@app.callback()
def group() -> None:
    """Compare methods by people who do not know which is which."""
