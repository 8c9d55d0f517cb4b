"""Tables of an evaluation: markdown for people, CSV for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.latex import format_latex
from dfprompt.evaluation.summary import Failure, MethodLine, ScoreLine, Summary
from dfprompt.statistics.comparison import Comparison
from dfprompt.table import Table, escape_markdown, format_ends, format_number, format_p, number

Line = TypeVar("Line", ScoreLine, MethodLine)
RESULTS, SCORES, METHODS, LATEX = "results.md", "scores.csv", "methods.csv", "results.tex"
_NOT_CHECKED = "Not checked against anybody's choices (`dfprompt judge-check`)."
_ROLES = {
    "reward": "optimised",
    "judge": "judge: never optimised here",
    "part": "part of a composite reward",
}


class Metric(NamedTuple, Generic[Line]):
    """A column: its name in the CSV file, its number of a line, and on which page's table it is shown how.

    `title` is its head there; without one it is in the file alone. A column that is None throughout is left
    off the page if `optional`.
    """

    field: str
    value: Callable[[Line], object]
    title: str = ""
    page: str = ""
    text: Callable[[Any], str] = str
    optional: bool = False


def _compared(name: str) -> Callable[[ScoreLine], Any]:
    return lambda line: None if line.comparison is None else getattr(line.comparison, name)


def _end(name: str, at: int) -> Callable[[ScoreLine], Any]:
    return lambda line: None if line.comparison is None else getattr(line.comparison, name)[at]


def _diversity(name: str) -> Callable[[MethodLine], Any]:
    return lambda line: getattr(line.diversity, name)


def _difference(found: Comparison) -> str:
    interval = format_ends(found.interval.to_json(), "too few for an interval")
    return f"{format_number(found.difference, sign=True)} ({interval})"


def _with(form: str) -> Callable[[Any], str]:
    return lambda value: format(value, form)


# A new number of a method is one line here: files and pages follow.
SCORE_METRICS: tuple[Metric[ScoreLine], ...] = (
    Metric("method", lambda line: line.method, "method", "score"),
    Metric("score", lambda line: line.score),
    Metric("role", lambda line: line.role),
    Metric("mean", lambda line: line.mean, "mean", "score", format_number),
    Metric("plain_mean", _compared("baseline_mean"), "plain", "score", format_number),
    Metric("", lambda line: line.comparison, "difference to plain", "score", _difference),
    Metric("difference", _compared("difference")),
    Metric("low", _end("interval", 0)),
    Metric("high", _end("interval", 1)),
    Metric("won", _compared("won"), "won", "score"),
    Metric("tied", _compared("tied"), "tied", "score"),
    Metric("lost", _compared("lost"), "lost", "score"),
    Metric("win_rate", _compared("win_rate")),
    Metric("win_low", _end("win_interval", 0)),
    Metric("win_high", _end("win_interval", 1)),
    Metric("p", _compared("p")),
    Metric("p_holm", lambda line: line.adjusted_p, "p (Holm)", "score", format_p),
    Metric("prompts", _compared("prompts")),
    Metric("pairs", _compared("pairs"), "pairs", "score"),
    Metric("units", _compared("units")),
    Metric("rows", lambda line: line.rows),
    Metric("failed", lambda line: line.failed, "failed", "score"),
)
METHOD_METRICS: tuple[Metric[MethodLine], ...] = (
    Metric("method", lambda line: line.method, "method", "diversity cost"),
    Metric("definition", lambda line: line.definition, "what it is", "cost"),
    Metric("rows", lambda line: line.rows, "rows", "cost"),
    Metric("failed", lambda line: line.failed, "failed", "cost"),
    Metric("pictures", lambda line: line.pictures, "images", "cost"),
    Metric("drawing_seconds", lambda line: line.drawing_seconds, "seconds", "cost", _with(".1f")),
    Metric("rewriting_seconds", lambda line: line.rewriting_seconds, "rewriting s", "cost", _with(".1f")),
    Metric("modifiers", _diversity("modifiers"), "modifiers", "diversity"),
    Metric("distinct", _diversity("distinct"), "distinct", "diversity"),
    Metric("distinct_share", _diversity("distinct_share"), "distinct share", "diversity", _with(".2f")),
    Metric("self_similarity", _diversity("self_similarity"), "self-similarity", "diversity", _with(".2f")),
    Metric("default_share", _diversity("default_share"), "default controls", "diversity", _with(".2f")),
    Metric("unchanged_share", _diversity("unchanged_share"), "left alone", "diversity", _with(".2f")),
    Metric("cmmd", lambda line: line.cmmd, "CMMD", "cost", _with(".3f"), optional=True),
)
_WORDS = ("method", "what it is")  # titles of columns that hold no numbers


def write_tables(summary: Summary, folder: Path, *, title: str = "Evaluation", note: str = "") -> list[Path]:
    """Write results.md, scores.csv, methods.csv and results.tex; returns their paths."""
    texts = {
        RESULTS: format_markdown(summary, title=title, note=note),
        SCORES: format_scores_csv(summary),
        METHODS: format_methods_csv(summary),
        LATEX: format_latex(summary),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def format_markdown(summary: Summary, *, title: str = "Evaluation", note: str = "") -> str:
    """Return one page: a table per score, diversity, cost, and what failed; `note` stands above."""
    lines = [f"# {escape_markdown(title)}", "", *([note, ""] if note else []), how_to_read(summary), ""]
    for heading, table, foot in detail_tables(summary):
        lines += [f"## {escape_markdown(heading)}", "", table.markdown(), "", *([foot, ""] if foot else [])]
    return "\n".join(lines)


def detail_tables(summary: Summary) -> list[tuple[str, Table, str]]:
    """Return (heading, table, what stands under it): one per score, then diversity, cost, and what failed."""
    found = []
    for score in dict.fromkeys(line.score for line in summary.scores):
        chosen = [line for line in summary.scores if line.score == score]
        role = chosen[0].role
        checked = summary.checks.get(score)
        foot = checked.sentence() if checked is not None else _NOT_CHECKED if role == "judge" else ""
        heading = f"{score} ({_ROLES[role]})"
        found.append((heading, _page(SCORE_METRICS, "score", chosen), foot))
    found.append(("Diversity", _page(METHOD_METRICS, "diversity", summary.methods), ""))
    found.append(("Cost", _page(METHOD_METRICS, "cost", summary.methods), ""))
    if summary.failures:
        found.append(("Failed", failure_table(summary.failures), ""))
    return found


def failure_lines(failures: Sequence[Failure]) -> list[str]:
    """Return the part of a page that says what failed; nothing where nothing did."""
    return ["## Failed", "", failure_table(failures).markdown(), ""] if failures else []


def failure_table(failures: Sequence[Failure]) -> Table:
    """Return what failed: how many rows of which method, and the first message."""
    table = Table("method", "what", number("rows"), "first message")
    for each in failures:
        table.add(each.method, each.what, each.rows, each.message)
    return table


def how_to_read(summary: Summary) -> str:
    """Return what the numbers of the tables are."""
    units = {line.comparison.units for line in summary.scores if line.comparison}
    over = "the seeds of the one prompt" if units == {"seeds"} else "prompts, each with all its seeds"
    return (
        f"{summary.prompts} prompts, {summary.seeds} seeds each; every method drew from the same noise. "
        "Means weigh prompts equally; a method's mean and plain's beside it are over the pairs both have. "
        "Difference: method minus plain, picture by picture; in brackets the 95 % bootstrap interval over "
        f"{over}. Won, tied, lost: pairs above, at and below plain. p: two-sided sign-flip test, adjusted by "
        f"Holm over {summary.comparisons} comparisons."
    )


def _page(metrics: Sequence[Metric[Line]], page: str, lines: Sequence[Line]) -> Table:
    """Return one table of a page."""
    shown = [
        metric
        for metric in metrics
        if page in metric.page.split()
        and not (metric.optional and all(metric.value(line) is None for line in lines))
    ]
    table = Table(*(each.title if each.title in _WORDS else number(each.title) for each in shown))
    for line in lines:
        values = ((metric, metric.value(line)) for metric in shown)
        table.add(*(None if value is None else metric.text(value) for metric, value in values))
    return table


def _file(metrics: Sequence[Metric[Line]], lines: Sequence[Line]) -> str:
    """Return unrounded numbers; empty fields are what does not exist."""
    kept = [metric for metric in metrics if metric.field]
    rows = ([metric.value(line) for metric in kept] for line in lines)
    return Table(*(metric.field for metric in kept), rows=rows).csv()


def format_scores_csv(summary: Summary) -> str:
    """Return one line per method and score; empty fields are what does not exist."""
    return _file(SCORE_METRICS, summary.scores)


def format_methods_csv(summary: Summary) -> str:
    """Return one line per method: cost and diversity."""
    return _file(METHOD_METRICS, summary.methods)
