"""Tables of an evaluation: markdown for people, CSV for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.summary import Failure, MethodLine, ScoreLine, Summary
from dfprompt.statistics.intervals import Interval
from dfprompt.table import Table, escape_markdown, format_ends, format_number, format_p, number

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
    lines = [f"# {escape_markdown(title)}", "", *([note, ""] if note else []), _how_to_read(summary), ""]
    for score in dict.fromkeys(line.score for line in summary.scores):
        chosen = [line for line in summary.scores if line.score == score]
        lines += [f"## {escape_markdown(score)} ({_ROLES[chosen[0].role]})", "", _score_table(chosen), ""]
    lines += ["## Diversity", "", _diversity_table(summary.methods), ""]
    lines += ["## Cost", "", _cost_table(summary.methods), ""]
    return "\n".join([*lines, *failure_lines(summary.failures)])


def failure_lines(failures: Sequence[Failure]) -> list[str]:
    """Return the part of a page that says what failed; nothing where nothing did."""
    if not failures:
        return []
    table = Table("method", "what", number("rows"), "first message")
    for each in failures:
        table.add(each.method, each.what, each.rows, each.message)
    return ["## Failed", "", table.markdown(), ""]


def _how_to_read(summary: Summary) -> str:
    units = {line.comparison.units for line in summary.scores if line.comparison}
    over = "the seeds of the one prompt" if units == {"seeds"} else "prompts, each with all its seeds"
    return (
        f"{summary.prompts} prompts, {summary.seeds} seeds each; every method drew from the same noise. "
        "Means weigh prompts equally. Difference: method minus plain, picture by picture; in brackets the "
        f"95 % bootstrap interval over {over}. Won: share of pairs above plain, ties half. p: two-sided "
        f"sign-flip test, adjusted by Holm over {summary.comparisons} comparisons."
    )


def _score_table(lines: Sequence[ScoreLine]) -> str:
    heads = ("mean", "difference to plain", "won", "p (Holm)", "pairs", "failed")
    return Table("method", *map(number, heads), rows=map(_score_row, lines)).markdown()


def _score_row(line: ScoreLine) -> tuple[str, ...]:
    mean = "-" if line.mean is None else format_number(line.mean)
    found = line.comparison
    if found is None:
        return line.method, mean, "-", "-", "-", "-", str(line.failed)
    difference = f"{format_number(found.difference, sign=True)} {_interval(found.interval)}"
    won = f"{100 * found.win_rate:.1f} %"
    p = "-" if line.adjusted_p is None else format_p(line.adjusted_p)
    return line.method, mean, difference, won, p, str(found.pairs), str(line.failed)


def _diversity_table(methods: Sequence[MethodLine]) -> str:
    heads = (
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
    return Table("method", *map(number, heads), rows=rows).markdown()


def _cost_table(methods: Sequence[MethodLine]) -> str:
    measured = any(line.cmmd is not None for line in methods)
    heads = ["rows", "failed", "images", "drawing s", "rewriting s", *(["CMMD"] if measured else [])]
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
    return Table("method", "what it is", *map(number, heads), rows=rows).markdown()


def _interval(interval: Interval) -> str:
    return f"({format_ends(interval.to_json(), 'too few for an interval')})"


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
    return Table(*_SCORE_FIELDS, rows=rows).csv()


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
    return Table(*_METHOD_FIELDS, rows=rows).csv()
