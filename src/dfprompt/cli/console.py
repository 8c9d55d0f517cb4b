"""What reaches the terminal: results on stdout, everything else on stderr, ASCII where needed."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

from dfprompt.errors import DFPromptError, DFPromptWarning


def show_error(error: DFPromptError) -> None:
    """Write one error to stderr."""
    sys.stderr.write(f"error: {error}\n")


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write one warning to stderr: ours as a plain line, others as Python shows them."""
    stream = file or sys.stderr
    if issubclass(category, DFPromptWarning):
        stream.write(f"warning: {message}\n")
    else:
        stream.write(warnings.formatwarning(message, category, filename, lineno, line))
