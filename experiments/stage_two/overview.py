"""The overview of an experiment: every method in one row, the reward and every judge side by side."""

from __future__ import annotations

from dfprompt.evaluation.summary import ScoreLine, Summary
from dfprompt.measurement.rows import PLAIN

_SHOWN = ("reward", "judge")


def format_overview(summary: Summary, *, note: str = "") -> str:
    """A markdown table: mean, difference to plain with its interval, pictures won; and different modifiers.

    `note` stands above: what the numbers can say. What only enters a composite reward is left out; the
    tables of the evaluation have it.
    """
    roles = {line.score: line.role for line in summary.scores}
    scores = [score for score, role in roles.items() if role in _SHOWN]
    heads = [cell for score in scores for cell in (score, "minus plain", "won")]
    lines = [
        *([note, ""] if note else []),
        f"{summary.prompts} held-out prompts, {summary.seeds} noises each.",
        "",
        "| method | " + " | ".join(heads) + " | distinct modifiers |",
        "|---|" + "---:|" * (len(heads) + 1),
    ]
    for method in summary.methods:
        cells = [cell for score in scores for cell in _cells(summary.of(method.method, score))]
        lines.append(f"| {method.method} | {' | '.join(cells)} | {method.diversity.distinct} |")
    return "\n".join(lines) + "\n"


def _cells(line: ScoreLine) -> tuple[str, str, str]:
    mean = "-" if line.mean is None else f"{line.mean:.3f}"
    if line.method == PLAIN or line.comparison is None:
        return mean, "-", "-"
    low, high = line.comparison.interval
    return (
        mean,
        f"{line.comparison.difference:+.3f} ({low:+.3f} to {high:+.3f})",
        f"{line.comparison.win_rate:.0%}",
    )
