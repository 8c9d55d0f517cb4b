"""`dfprompt plot RUN`, and what every training leaves at its end: learning curves as PNG and page."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfprompt.config.recipes import PROVENANCE
from dfprompt.errors import ConfigError, DFPromptError, DFPromptWarning, TrainingError
from dfprompt.evaluation.training_plots import draw_curves, gather_curves, make_curves_page
from dfprompt.storage import check_free, read_toml, undamaged, write_bytes, write_text, writing_into
from dfprompt.training.metrics import read_rows
from dfprompt.training.run_folder import CURVES_PAGE, CURVES_PICTURE, RECIPE


def plot_training(
    run: str | Path, *, output: str | Path | None = None, force: bool = False
) -> tuple[Path, Path]:
    """Draw the learning curves of a run; returns the PNG and the page, in its folder or in `output`.

    Reward, validation, judges, divergence, entropies, variety, controls over time and what the watchdogs
    said, as far as the training logged them; a run may still be going on. Raises ConfigError for a folder
    without a training and where matplotlib is missing, EvaluationError for damaged rows, InputError for files
    of these names in `output` without `force`.
    """
    folder = Path(run)
    metrics = folder / "metrics.jsonl"
    if not metrics.is_file():
        raise ConfigError(f"{folder} holds no training: there is no metrics.jsonl in it")
    samples = folder / "samples.jsonl"
    place = folder if output is None else Path(output)
    picture_file, page_file = place / CURVES_PICTURE, place / CURVES_PAGE
    check_free([picture_file, page_file], force=force or output is None)
    with undamaged(metrics, "leave out the lines that no training wrote"):
        curves = gather_curves(read_rows(metrics), read_rows(samples) if samples.is_file() else [])
    if not curves.numbers:
        raise ConfigError(f"{metrics} has no numbers yet; let the training make a step")
    title = f"Training of {folder.resolve().name}"
    picture = draw_curves(curves, title)
    page = make_curves_page(curves, picture, title, _facts(folder / RECIPE))
    with writing_into(place, TrainingError):
        write_bytes(picture_file, picture)
        write_text(page_file, page)
    return picture_file, page_file


@contextmanager
def plotted(folder: Path) -> Iterator[None]:
    """Leave the curves of the training inside, however it ends; what prevents them is only a warning."""
    try:
        yield
    finally:
        metrics = folder / "metrics.jsonl"  # without a row, the training ended before its first step
        ours = (folder / RECIPE).is_file() and metrics.is_file() and metrics.stat().st_size
        if os.environ.get("RANK", "0") == "0" and ours:
            try:
                plot_training(folder)
            except (DFPromptError, OSError, ImportError, MemoryError) as error:  # no memory to map matplotlib
                warnings.warn(f"no learning curves were drawn: {error}", DFPromptWarning, stacklevel=3)


def _facts(recipe: Path) -> dict[str, str]:
    """Return the recipe's settings and what it was run with, by dotted name."""
    try:
        values = read_toml(recipe)
    except (OSError, ValueError):
        return {}
    found = dict(_flat(values.pop(PROVENANCE, {})))
    return found | dict(_flat(values))


def _flat(values: dict[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)
