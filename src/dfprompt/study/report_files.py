"""The files of a study's report: the page, a figure, tables for programs, and every number as JSON."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from dfprompt.errors import StudyError
from dfprompt.evaluation.share_plot import Panel, draw_shares
from dfprompt.statistics.agreement import Share
from dfprompt.storage import write_bytes, write_text, writing_into
from dfprompt.study.analysis import Analysis, Line
from dfprompt.study.plan import PREFER, SHOWS
from dfprompt.study.report import FIGURE, TITLES, Report
from dfprompt.study.study import ABOUT
from dfprompt.study.votes import QUESTIONS
from dfprompt.table import Table, number

REPORT, SHARES, ANSWERS = "report.md", "shares.csv", "answers.csv"
FILES = (REPORT, SHARES, ANSWERS, FIGURE)
_SHARES = (
    *(
        "analysis",
        "question",
        "method",
        "other",
        "share",
        "low",
        "high",
        "chosen",
        "against",
        "draws",
        "answers",
    ),
    *("prompts", "people", "people_above", "people_below", "p_people"),
    *("prompts_above", "prompts_below", "p_prompts"),
)


def write_report(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write the page, the figure and two tables for programs; raises StudyError where the disk refuses."""
    shares = Table(*_SHARES[:4], *map(number, _SHARES[4:]))
    for name, analysis in report.analyses.items():
        for line in analysis.lines:
            shares.add(*_raw(name, line))
    figure = draw_shares(
        [_panel(report, question) for question in QUESTIONS],
        list(report.analyses),
        "Simulated people" if report.simulated else "",
    )
    files = {REPORT: report.to_markdown(), SHARES: shares.csv(), ANSWERS: _answers(report).csv()}
    with writing_into(folder, StudyError):
        for name, text in files.items():
            write_text(folder / name, text)
        write_bytes(folder / FIGURE, figure)
    return tuple(folder / name for name in FILES)


def report_json(report: Report) -> dict[str, Any]:
    """Return every number, by analysis."""
    return {
        "digest": report.digest,
        "methods": list(report.opened.methods),
        "participants": {
            "planned": report.opened.study.plan.participants,
            "simulated": report.simulated,
            "consented": len(report.people),
            "finished": sum(each.finished for each in report.people),
            "excluded": dict(Counter(report.excluded.values())),
        },
        "analyses": {name: _analysis_json(each) for name, each in report.analyses.items()},
        "judges": [{"question": each.question, **each.check.to_json()} for each in report.judged],
    }


def _raw(name: str, line: Line) -> tuple[object, ...]:
    share = line.share
    tests = (each for test in (line.by_person, line.by_prompt) for each in (test.above, test.below, test.p))
    counts = line.chosen, line.against, line.draws, share.count, share.prompts, share.raters
    return name, line.question, *line.versus, share.share, *share.interval, *counts, *tests


def _panel(report: Report, question: str) -> Panel:
    rows = []
    for line in report.everybody.lines:
        if line.question == question:
            shares = [
                next((each.share for each in analysis.lines if _same(each, line)), None)
                for analysis in report.analyses.values()
            ]
            rows.append((f"{line.versus[0]} over {line.versus[1]}", shares))
    return Panel(f"{TITLES[question]}: {report.opened.study.plan.questions[question]}", rows)


def _same(one: Line, other: Line) -> bool:
    return (one.question, one.versus) == (other.question, other.versus)


def _answers(report: Report) -> Table:
    """Return every answer with its methods; people stand there by their number."""
    names = ("participant", "place", "kind", "excluded", "pair", "prompt", "left", "right", SHOWS, PREFER)
    table = Table(*names, number("seconds"), *ABOUT)
    for said in report.opened.said:
        trial, person = said.trial, said.person
        left, right = (report.opened.shown[each]["method"] for each in (trial.left, trial.right))
        reason = report.excluded.get(person.number or 0, "")
        about = (person.about.get(name) for name in ABOUT)
        what = person.number, said.place, trial.kind, reason, trial.pair, trial.prompt, left, right
        table.add(*what, said.shows, said.prefer, said.seconds, *about)
    return table


def _analysis_json(analysis: Analysis) -> dict[str, Any]:
    return {
        "people": analysis.people,
        "answers": analysis.answers,
        "shares": [_line_json(line) for line in analysis.lines],
        "agreement": [
            {
                "question": each.question,
                "krippendorff_alpha": _finite(each.alpha),
                "fleiss_kappa": _finite(each.kappa),
                "alike": _finite(each.alike),
                "pairs": each.pairs,
            }
            for each in analysis.agreement
        ],
        "davidson": {
            question: {
                "strengths": list(found.strengths),
                "draws": found.draws,
                "intervals": [each.to_json() for each in found.intervals],
            }
            for question, found in analysis.strengths.items()
        },
        "left": {question: _share_json(share) for question, share in analysis.left.items()},
        "repeated": {question: _share_json(share) for question, share in analysis.repeated.items()},
        "subgroups": [
            {
                "field": each.field,
                "value": each.value,
                "people": each.people,
                "shares": [_line_json(line) for line in each.lines],
            }
            for each in analysis.subgroups
            if each.lines is not None
        ],
        "seconds": dict(zip(("quarter", "median", "three_quarters"), analysis.seconds, strict=True)),
    }


def _line_json(line: Line) -> dict[str, Any]:
    tests = {"by_person": line.by_person, "by_prompt": line.by_prompt}
    return {
        "question": line.question,
        "method": line.versus[0],
        "other": line.versus[1],
        **(_share_json(line.share) or {}),
        "chosen": line.chosen,
        "against": line.against,
        "draws": line.draws,
        **{name: {"above": each.above, "below": each.below, "p": each.p} for name, each in tests.items()},
    }


def _share_json(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    counts = {"answers": share.count, "prompts": share.prompts, "people": share.raters}
    return {"share": share.share, "interval": share.interval.to_json(), **counts}


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
