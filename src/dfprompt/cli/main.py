"""The command line: one app, one place where errors and warnings become text for people.

Command modules import nothing heavy at the top: `dfprompt --help` stays under 0.3 s. Each family
of commands is a module with `register(app)`, listed below in the order of the help.
"""

from __future__ import annotations

import logging
import sys
import warnings

import typer

from dfprompt.cli import (
    ablate,
    capabilities,
    compare,
    console,
    convert,
    curate,
    evaluate,
    generate,
    inspect,
    language,
    moved,
    optimize,
    score,
    train,
    tune,
)
from dfprompt.errors import DFPromptError, DFPromptWarning

app = typer.Typer(
    name="dfprompt",
    help="Prompts whose words know when and how strongly to act.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # brackets in a help text are the language, not markup
)
language.register(app)
convert.register(app)
capabilities.register(app)
optimize.register(app)
generate.register(app)
compare.register(app)
evaluate.register(app)
ablate.register(app)
inspect.register(app)
score.register(app)
curate.register(app)
train.register(app)
tune.register(app)
moved.register(app, "mini", "dfprompt mini", "worlds.mini")


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    """Prompts whose words know when and how strongly to act."""
    if version:
        from dfprompt import __version__

        console.write(f"dfprompt {__version__}")
        raise typer.Exit


def _says_more_than_torchvision(record: logging.LogRecord) -> bool:
    return "requires torchvision" not in record.getMessage()


def main() -> None:
    """Run the command line."""
    run(app)


def run(commands: typer.Typer) -> None:
    """Run an app of commands; bad input exits with 2, a failure with 1, never with a traceback."""
    console.prepare_streams()
    warnings.showwarning = console.show_warning
    warnings.simplefilter("always", DFPromptWarning)
    # Pillow's processors are meant here, so a library's advice to install torchvision is noise.
    logging.getLogger("transformers.utils.import_utils").addFilter(_says_more_than_torchvision)
    try:
        commands()
    except DFPromptError as error:
        console.show_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
