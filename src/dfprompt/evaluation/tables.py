"""Tables of an evaluation: markdown for people, CSV for programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.summary import MethodLine, ScoreLine, Summary
from dfprompt.excerpt import printable
from dfprompt.statistics.intervals import Interval

RESULTS, SCORES, METHODS = "results.md", "scores.csv", "methods.csv"
_ROLES = {
    "reward": "optimised",
    "judge": "judge: never optimised here",
    "part": "part of a composite reward",
}
_SCORE_FIELDS = (
    "method score role mean difference low high win_rate win_low win_high p p_holm prompts pairs units rows "
    "failed"
).split()
_METHOD_FIELDS = (
    "method definition rows failed pictures drawing_seconds rewriting_seconds modifiers distinct "
    "distinct_share self_similarity default_share unchanged_share cmmd"
).split()


def write_tables(summary: Summary, folder: Path, *, title: str = "Evaluation", note: str = "") -> list[Path]:
    """Write results.md, scores.csv and methods.csv; returns their paths."""
    texts = {
        RESULTS: format_markdown(summary, title=title, note=note),
        SCORES: format_scores_csv(summary),
        METHODS: format_methods_csv(summary),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def format_markdown(summary: Summary, *, title: str = "Evaluation", note: str = "") -> str:
    """Return one page: a table per score, diversity, cost, and what failed; `note` stands above."""
    lines = [f"# {_cell(title)}", "", *([note, ""] if note else []), _how_to_read(summary), ""]
    for score in dict.fromkeys(line.score for line in summary.scores):
        chosen = [line for line in summary.scores if line.score == score]
        lines += [f"## {_cell(score)} ({_ROLES[chosen[0].role]})", "", *_score_table(chosen), ""]
    lines += ["## Diversity", "", *_diversity_table(summary.methods), ""]
    lines += ["## Cost", "", *_cost_table(summary.methods), ""]
    if summary.failures:
        failures = [(each.method, each.what, str(each.rows), each.message) for each in summary.failures]
        lines += ["## Failed", "", *_table(("method", "what", "rows", "first message"), failures), ""]
    return "\n".join(lines)


def _how_to_read(summary: Summary) -> str:
    units = {line.comparison.units for line in summary.scores if line.comparison}
    over = "the seeds of the one prompt" if units == {"seeds"} else "prompts, each with all its seeds"
    return (
        f"{summary.prompts} prompts, {summary.seeds} seeds each; every method drew from the same noise. "
        "Means weigh prompts equally. Difference: method minus plain, picture by picture; in brackets the "
        f"95 % bootstrap interval over {over}. Won: share of pairs above plain, ties half. p: two-sided "
        f"sign-flip test, adjusted by Holm over {summary.comparisons} comparisons."
    )


def _score_table(lines: Sequence[ScoreLine]) -> list[str]:
    heads = ("method", "mean", "difference to plain", "won", "p (Holm)", "pairs", "failed")
    return _table(heads, [_score_row(line) for line in lines])


def _score_row(line: ScoreLine) -> tuple[str, ...]:
    mean = "-" if line.mean is None else format_number(line.mean)
    found = line.comparison
    if found is None:
        return line.method, mean, "-", "-", "-", "-", str(line.failed)
    difference = f"{format_number(found.difference, sign=True)} {_interval(found.interval)}"
    won = f"{100 * found.win_rate:.1f} %"
    p = "-" if line.adjusted_p is None else format_p(line.adjusted_p)
    return line.method, mean, difference, won, p, str(found.pairs), str(line.failed)


def _diversity_table(methods: Sequence[MethodLine]) -> list[str]:
    heads = (
        "method",
        "modifiers",
        "distinct",
        "distinct share",
        "self-similarity",
        "default controls",
        "left alone",
    )
    rows = []
    for line in methods:
        found = line.diversity
        shares = (found.distinct_share, found.self_similarity, found.default_share, found.unchanged_share)
        cells = ["-" if share is None else f"{share:.2f}" for share in shares]
        rows.append((line.method, str(found.modifiers), str(found.distinct), *cells))
    return _table(heads, rows)


def _cost_table(methods: Sequence[MethodLine]) -> list[str]:
    measured = any(line.cmmd is not None for line in methods)
    heads = ("method", "what it is", "rows", "failed", "images", "drawing s", "rewriting s")
    rows = [
        (
            line.method,
            line.definition,
            str(line.rows),
            str(line.failed),
            str(line.pictures),
            f"{line.drawing_seconds:.1f}",
            f"{line.rewriting_seconds:.1f}",
            *(["-" if line.cmmd is None else f"{line.cmmd:.3f}"] if measured else []),
        )
        for line in methods
    ]
    return _table((*heads, *(["CMMD"] if measured else [])), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    numbers = [head not in ("method", "what", "what it is", "first message") for head in heads]
    rule = "|".join("---:" if number else "---" for number in numbers)
    return [_line(heads), f"|{rule}|", *(_line(row) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """One line, with what markdown would take for structure escaped."""
    flat = printable(" ".join(text.split()))
    return "".join(f"\\{letter}" if letter in "\\|`*_<[#" else letter for letter in flat)


def _interval(interval: Interval) -> str:
    if math.isnan(interval.low):
        return "(too few for an interval)"
    return f"({format_number(interval.low, sign=True)} to {format_number(interval.high, sign=True)})"


def format_number(value: float, *, sign: bool = False) -> str:
    """Return a number with four decimals, or four significant digits where it is small.

    >>> format_number(0.25, sign=True), format_number(-12.3456789), format_number(0.00012345)
    ('+0.2500', '-12.3457', '0.0001234')
    """
    shown = f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.4g}"
    return f"+{shown}" if sign and value >= 0 else shown


def format_p(p: float) -> str:
    """Return a p-value with three decimals.

    >>> format_p(0.04999), format_p(0.0002)
    ('0.050', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def format_scores_csv(summary: Summary) -> str:
    """Return one line per method and score; empty fields are what does not exist."""
    rows = []
    for line in summary.scores:
        found = line.comparison
        compared: list[object] = [None] * 10
        if found is not None:
            compared = [
                found.difference,
                *found.interval,
                found.win_rate,
                *found.win_interval,
                found.p,
                line.adjusted_p,
                found.prompts,
                found.pairs,
            ]
        units = "" if found is None else found.units
        head: list[object] = [line.method, line.score, line.role, line.mean]
        rows.append([*head, *compared, units, line.rows, line.failed])
    return _csv(_SCORE_FIELDS, rows)


def format_methods_csv(summary: Summary) -> str:
    """Return one line per method: cost and diversity."""
    rows = []
    for line in summary.methods:
        found = line.diversity
        rows.append(
            [
                line.method,
                line.definition,
                line.rows,
                line.failed,
                line.pictures,
                line.drawing_seconds,
                line.rewriting_seconds,
                found.modifiers,
                found.distinct,
                found.distinct_share,
                found.self_similarity,
                found.default_share,
                found.unchanged_share,
                line.cmmd,
            ]
        )
    return _csv(_METHOD_FIELDS, rows)


def _csv(fields: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([_plain(value) for value in row] for row in rows)
    return stream.getvalue()


def _plain(value: object) -> object:
    """Empty for what does not exist; a quote goes before text that a spreadsheet would run as a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return value
