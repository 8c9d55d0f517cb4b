"""One picture, measured: what was drawn, from which noise, what it scored, and what failed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeAlias

from dfprompt.errors import EvaluationError
from dfprompt.excerpt import quote

PLAIN = "plain"
"""The method that every other is compared with: the user's words as they are."""
UNSCORED = "scores"
"""What a row says has failed while its picture is drawn and not scored yet."""
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("method", "prompt_id", "prompt", "stage"), str),
    **dict.fromkeys(("df_prompt", "picture"), str | None),
    **dict.fromkeys(("scores", "failed"), dict),
    **dict.fromkeys(("seconds", "evaluations", "spared"), int | float),
    **{"seed": int, "noise": int | None, "pictures": int},
}
RowKey: TypeAlias = tuple[str, str, int]
"""Method, prompt id, seed."""


@dataclass(frozen=True)
class Row:
    """One picture of one method: what was drawn, its scores, and what failed.

    `seed` counts the pictures of a prompt, `noise` is the seed it was drawn from. `scores` holds every
    column that could be computed; `failed` says by name ("method", "picture", or a score's) what could not
    and why. `pictures` were drawn for this row. `seconds` is their share of the time that drawing and
    scoring took; `evaluations` of the denoiser's evaluations, `spared` of those that sharing saved. `stage`
    is the part of a search that asked.
    """

    method: str
    prompt_id: str
    prompt: str
    seed: int
    noise: int | None = None
    df_prompt: str | None = None
    picture: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    pictures: int = 0
    seconds: float = 0.0
    evaluations: float = 0.0
    spared: float = 0.0
    stage: str = ""

    @property
    def key(self) -> RowKey:
        """What a row is found by."""
        return self.method, self.prompt_id, self.seed

    def to_line(self) -> str:
        """Return the row as one line of JSON, ASCII only, without its end.

        >>> Row("plain", "a", "a cat", 0).to_line()[:40]
        '{"method": "plain", "prompt_id": "a", "p'
        """
        for value in self.scores.values():
            if not math.isfinite(value):
                raise EvaluationError(f"a score must be a finite number, not {value}")
        return json.dumps({**asdict(self), "scores": dict(self.scores)}, allow_nan=False)


def parse_row(line: str, where: str) -> Row:
    """Read one line; raises EvaluationError that names the place. Fields it does not know are let through."""
    try:
        values = json.loads(line)
        known = {each.name for each in fields(Row)}
        row = Row(**{name: value for name, value in values.items() if name in known})
        fits = all(isinstance(getattr(row, name), kind) for name, kind in _KINDS.items())
        fits = fits and all(math.isfinite(each) for each in (row.seconds, *row.scores.values()))
        fits = fits and all(isinstance(each, str) for each in row.failed.values())
    except (ValueError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
        raise EvaluationError(f"{where}: not a measured picture: {quote(line)}") from error
    if not fits:
        raise EvaluationError(f"{where}: not a measured picture: {quote(line)}")
    return row
