"""The mini world by name: where it lies, and what to do where a piece of it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from dfprompt.errors import LoadError

MINI_POLICIES = {"mini": "policy", "mini-sft": "sft"}
BUILD = "python -m worlds.mini build --install"  # in a checkout of the project; hours on a CPU


def mini_folder(piece: str = "") -> Path:
    """The folder of the packaged mini world, or of one of its pieces; raises LoadError when it is not there.

    >>> mini_folder.__name__
    'mini_folder'
    """
    root = Path(str(files("dfprompt.mini"))) / "weights"
    folder = root / piece
    if not folder.is_dir() or not any(folder.iterdir()):
        what = f"the {piece} of the mini world" if piece else "the mini world"
        raise LoadError(
            f"{what} is not in this installation; install the package again, build it in a checkout (hours "
            f"on a CPU: {BUILD}), or pass a folder built elsewhere"
        )
    return folder


def mini_taste(source: str) -> Path | None:
    """The recipe of a reward of the mini world's further populations, "mini-painted" and "mini-graphic".

    >>> mini_taste("mini") is None
    True
    """
    name = source.removeprefix("mini-")
    recipe = Path(str(files("dfprompt.mini"))) / "weights" / "tastes" / f"{name}.toml"
    return recipe if source.startswith("mini-") and name.isalpha() and recipe.is_file() else None


@contextmanager
def reading_mini(folder: Path) -> Iterator[None]:
    """Say of a file in a folder of the packaged mini world that cannot be read how to get it back.

    >>> with reading_mini(Path("weights/pipeline")):
    ...     pass
    """
    try:
        yield
    except LoadError as error:
        if str(folder) not in str(error):
            raise
        raise LoadError(
            f"{error}. It is a piece of the mini world, which comes with the package: install the package "
            f"again, or build the piece in a checkout (hours on a CPU): {BUILD}"
        ) from error
