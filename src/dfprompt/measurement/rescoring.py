"""Whether the scores of a resumed evaluation still mean what they meant when it began.

A score is known by its name alone, and what stands behind a name may change: other weights, another
formula, another calibration. So some recorded pictures are scored again before new rows join them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dfprompt.errors import DFPromptError, EvaluationError
from dfprompt.images.reading import read_image
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN, Row, RowKey
from dfprompt.measurement.scoreboard import Scoreboard

_ROWS = 4
_TOLERANCE = 0.01  # another device, another library; earlier versions scored before rounding to 8 bits


def check_scores(
    folder: Path, rows: Mapping[RowKey, Row], prompts: Sequence[PlainPrompt], scoreboard: Scoreboard
) -> None:
    """Raise EvaluationError naming the columns that most of a few recorded plain pictures score otherwise.

    Pictures that are gone, or that cannot be scored now, say nothing.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    plain = [row for row in rows.values() if row.method == PLAIN and row.picture and not row.failed]
    known = [row for row in plain if row.prompt_id in by_id][:_ROWS]
    pairs = [
        (row, again)
        for row in known
        if (again := _score_again(folder, row, by_id[row.prompt_id], scoreboard))
    ]
    columns = {name for row, again in pairs for name in row.scores.keys() & again.keys()}
    changed = sorted(name for name in columns if _changed(name, pairs))
    if changed:
        row, again = pairs[0]
        name = changed[0]
        raise EvaluationError(
            f"{folder} holds scores of another definition: {', '.join(changed)} differ on its own pictures "
            f"({row.picture}: {name} was {row.scores[name]:.4g}, now {again[name]:.4g}); "
            "choose another --output"
        )


def _score_again(folder: Path, row: Row, prompt: PlainPrompt, scoreboard: Scoreboard) -> Mapping[str, float]:
    try:
        pixels = read_image(folder / str(row.picture)).pixels
        return scoreboard.measure(pixels[None], [prompt], [0])[0].scores
    except DFPromptError:
        return {}


def _changed(name: str, pairs: list[tuple[Row, Mapping[str, float]]]) -> bool:
    both = [(row.scores[name], again[name]) for row, again in pairs if name in row.scores and name in again]
    far = [abs(now - before) > _TOLERANCE * (1 + abs(before)) for before, now in both]
    return 2 * sum(far) > len(far)
