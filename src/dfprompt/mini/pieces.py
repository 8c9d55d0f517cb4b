"""Opening built pieces: whatever is missing or damaged is named with the command that makes it anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from dfprompt.errors import LoadError

_Piece = TypeVar("_Piece")


def open_piece(opener: Callable[[Path], _Piece], folder: Path, stage: str) -> _Piece:
    """Open one piece of a built world with a stock loader; `stage` is the stage of the build that makes it.

    Raises LoadError naming the folder and the command.

    >>> open_piece(lambda folder: folder.name, Path("weights/clip"), "clip")
    'clip'
    """
    try:
        return opener(folder)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LoadError(
            f"the mini world's {folder.parent.name}/{folder.name} cannot be read ({reason}); run: "
            f"python -m worlds.mini build --stage {stage}"
        ) from error
