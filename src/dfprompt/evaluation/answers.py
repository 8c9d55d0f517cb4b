"""What an evaluation answers: does a method help, by how much, on what share of prompts, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfprompt.evaluation.summary import MethodLine, ScoreLine, Summary
from dfprompt.measurement.rows import PLAIN, Row
from dfprompt.statistics.comparison import pair_differences
from dfprompt.table import format_ends, format_number

FIDELITY, ARTEFACTS = "fidelity", "artefacts"
_SIGNIFICANT = 0.05
_BASELINES = ("suffix", "suffix-controls", "random", "starter", "human")


@dataclass(frozen=True)
class Answer:
    """The answer for one method: a verdict in a few words, and (what, value) lines, None for not measured."""

    method: str
    verdict: str
    lines: tuple[tuple[str, str | None], ...]


def make_answers(summary: Summary, rows: Sequence[Row]) -> list[Answer]:
    """Return an answer per method other than plain, by the first reward; a method that is asked about first.

    Policies and other rewriters come before the baselines, in their own order.
    """
    reward = next(line.score for line in summary.scores if line.role == "reward")
    methods = sorted(
        (line for line in summary.methods if line.method != PLAIN), key=lambda line: _rank(line.method)
    )
    return [_answer(summary, line, reward, rows) for line in methods]


def prompt_gains(rows: Sequence[Row], method: str, score: str) -> dict[str, float]:
    """Return by prompt the mean difference to plain over the seeds both have."""
    values = [
        {row.key[1:]: row.scores[score] for row in rows if row.method == name and score in row.scores}
        for name in (method, PLAIN)
    ]
    return {prompt: sum(each) / len(each) for prompt, each in pair_differences(*values).items()}


def _answer(summary: Summary, method: MethodLine, reward: str, rows: Sequence[Row]) -> Answer:
    line = summary.of(method.method, reward)
    gains = prompt_gains(rows, method.method, reward)
    watched: dict[str, list[ScoreLine]] = {FIDELITY: [], ARTEFACTS: []}
    for score, what in summary.measures.items():
        watched[what].append(summary.of(method.method, score))
    share = f"{sum(gain > 0 for gain in gains.values())} of {len(gains)}" if gains else None
    lines = [
        (reward, _difference(line)),
        ("prompts it helps", share),
        *_watched(FIDELITY, watched[FIDELITY]),
        *_watched(ARTEFACTS, watched[ARTEFACTS]),
        ("variety", _variety(method)),
        ("cost", _cost(summary, method)),
    ]
    return Answer(method.method, _verdict(line, watched[FIDELITY]), tuple(lines))


def _verdict(line: ScoreLine, fidelity: Sequence[ScoreLine]) -> str:
    found = line.comparison
    if found is None or not found.bounded:
        return "too little was measured to say"
    sure = line.adjusted_p is not None and line.adjusted_p < _SIGNIFICANT
    if sure and found.interval.high < 0:
        return "makes it worse"
    if not (sure and found.interval.low > 0):
        return "no difference shown"
    lost = any(each.comparison is not None and each.comparison.interval.high < 0 for each in fidelity)
    return "helps, and loses some of what was asked" if lost else "helps"


def _watched(what: str, lines: Sequence[ScoreLine]) -> list[tuple[str, str | None]]:
    if not lines:
        return [(what, None)]
    several = len(lines) > 1 or lines[0].score != what
    return [(f"{what} ({line.score})" if several else what, _difference(line)) for line in lines]


def _difference(line: ScoreLine) -> str | None:
    if line.comparison is None:
        return None
    found = line.comparison
    interval = format_ends(found.interval.to_json(), "too few for an interval")
    return f"{format_number(found.difference, sign=True)} ({interval})"


def _variety(method: MethodLine) -> str:
    found = method.diversity
    if not found.modifiers:
        return "adds no words"
    same = "" if found.self_similarity is None else f", two prompts share {100 * found.self_similarity:.0f} %"
    alone = f", {100 * found.unchanged_share:.0f} % left alone" if found.unchanged_share else ""
    return f"{found.distinct} different modifiers of {found.modifiers}{same}{alone}"


def _cost(summary: Summary, method: MethodLine) -> str | None:
    plain = next(line for line in summary.methods if line.method == PLAIN)
    if not method.rows or not plain.rows or not plain.drawing_seconds:
        return None
    seconds = (method.drawing_seconds + method.rewriting_seconds) / method.rows
    times = seconds / (plain.drawing_seconds / plain.rows)
    drawn = method.pictures / method.rows
    return (
        f"{drawn:g} picture{'' if drawn == 1 else 's'} drawn for one kept, {times:.1f} times plain's seconds"
    )


def _rank(method: str) -> int:
    """What is asked about, then rewriters of others, then baselines."""
    if method in _BASELINES or method.startswith("best-of-"):
        return 2
    return int(method in ("llm", "vendor"))
