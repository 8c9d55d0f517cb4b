"""The command line: one app, one place where errors and warnings become text for people.

Command modules import nothing heavy at the top: `dfprompt --help` stays under 0.3 s.
"""

from __future__ import annotations

import sys
import warnings

import typer

from dfprompt.cli import console
from dfprompt.errors import DFPromptError

app = typer.Typer(
    name="dfprompt",
    help="Prompts whose words know when and how strongly to act.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; bad input exits with 2, a failure with 1, never with a traceback."""
    warnings.showwarning = console.show_warning
    try:
        app()
    except DFPromptError as error:
        console.show_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
