"""The report of a study as a page in markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dfprompt.evaluation.judge_check import describe_share
from dfprompt.statistics.agreement import Share
from dfprompt.study.analysis import FEWEST, Analysis, Line, SignTest
from dfprompt.study.journal import Participant
from dfprompt.study.judging import Judged
from dfprompt.study.plan import PREFER, SHOWS
from dfprompt.study.template import fill_template
from dfprompt.study.votes import QUESTIONS, Opened
from dfprompt.table import Table, escape_markdown, format_p, number

FIGURE = "shares.png"
EVERYBODY, KEPT = "everybody", "after exclusions"
TITLES = {PREFER: "Liked more", SHOWS: "Shows what was asked"}


@dataclass(frozen=True)
class Report:
    """What a study found, of everybody and of those whom the plan's rule keeps."""

    opened: Opened
    digest: str
    everybody: Analysis
    kept: Analysis | None
    excluded: Mapping[int, str]
    people: Sequence[Participant]
    judged: Sequence[Judged]
    judged_note: str = ""

    @property
    def analyses(self) -> dict[str, Analysis]:
        """The analyses by name; without the second where nobody is kept."""
        return {EVERYBODY: self.everybody} | ({KEPT: self.kept} if self.kept is not None else {})

    def to_markdown(self) -> str:
        """Return the page."""
        parts = [
            f"# {escape_markdown(self.opened.study.plan.title)}: report",
            *([_SIMULATED] if self.simulated else []),
            self._status(),
            *(part for question in QUESTIONS for part in self._question(question)),
            "## Who was left out",
            self._exclusions(),
            "## How the answers hold together",
            self._quality().markdown(),
            _QUALITY_NOTE,
            *self._subgroups(),
            "## The scores of the evaluation against people",
            *self._judges(),
            "## Reporting template",
            fill_template(
                self.opened, self.digest, self.everybody, len(self.excluded), self.people
            ).markdown(),
        ]
        return "\n\n".join(parts) + "\n"

    @property
    def simulated(self) -> int:
        """How many of the people were simulated."""
        return sum(each.simulated for each in self.people)

    def _status(self) -> str:
        plan, finished = self.opened.study.plan, sum(each.finished for each in self.people)
        overdue = datetime.now(UTC).date().isoformat() > plan.retain_until
        said = f"{len(self.people)} people consented, {finished} of {plan.participants} planned finished. "
        if finished < plan.participants:
            said += "**An interim look: the registration says to wait for all.** "
        return (
            f"{said}{self.everybody.answers} answers count, {plan.pairs} pairs of pictures for "
            f"{plan.prompts} prompts{_identical(plan.identical)}; practice, repeats and controls are left "
            "aside. Plan "
            f"{self.digest[:12]}, frozen before the first answer. Answers are to be deleted after "
            f"{plan.retain_until}{' (**that day has passed**)' if overdue else ''}. Intervals are 95 %, over "
            "people and prompts together."
        )

    def _question(self, question: str) -> list[str]:
        asked = self.opened.study.plan.questions[question]
        parts = [f"## {TITLES[question]}", f'"{escape_markdown(asked)}"']
        if question == QUESTIONS[0]:
            parts.append(f"![Shares preferred with intervals]({FIGURE})")
        heads = ("share, draws half", "for : draw : against", "without draws", "by person", "by prompt")
        table = Table("method", "against", *map(number, heads), "of")
        for name, analysis in self.analyses.items():
            for line in analysis.lines:
                if line.question == question:
                    table.add(*_cells(name, line))
        parts += [table.markdown(), *(_sentence(line) for line in self._primary(question))]
        for name, analysis in self.analyses.items():
            if question in analysis.strengths:
                parts += [f"Order by a Davidson model, {name}:", self._order(analysis, question).markdown()]
        return parts

    def _primary(self, question: str) -> list[Line]:
        return [line for line in self.everybody.lines if line.question == question]

    def _order(self, analysis: Analysis, question: str) -> Table:
        found = analysis.strengths[question]
        table = Table("method", number("strength (logits)"), number("95 % interval"))
        for place in sorted(range(len(self.opened.methods)), key=lambda each: -found.strengths[each]):
            low, high = found.intervals[place]
            table.add(
                self.opened.methods[place], f"{found.strengths[place]:+.2f}", f"{low:+.2f} to {high:+.2f}"
            )
        return table

    def _exclusions(self) -> str:
        rule = self.opened.study.plan.exclusion.sentence()
        reasons = Counter(self.excluded.values())
        told = ", ".join(f"{count} ({reason})" for reason, count in sorted(reasons.items())) or "nobody"
        after = "" if self.kept is not None else " Nobody is left, so there is no second analysis."
        return f"The plan's rule: {rule}. Left out: {told}.{after}"

    def _quality(self) -> Table:
        table = Table("what", *(number(f"{TITLES[question].lower()}") for question in QUESTIONS), "of")
        for name, analysis in self.analyses.items():
            agreement = {each.question: each for each in analysis.agreement}
            rows = {
                "Krippendorff's alpha": [_plain(agreement[each].alpha) for each in QUESTIONS],
                "Fleiss's kappa": [_plain(agreement[each].kappa) for each in QUESTIONS],
                "two people who chose, chose alike": [_percent(agreement[each].alike) for each in QUESTIONS],
                "the left picture, of those who chose": [_share(analysis.left[each]) for each in QUESTIONS],
                "a repeat answered as before": [_share(analysis.repeated[each]) for each in QUESTIONS],
            }
            for what, cells in rows.items():
                table.add(what, *cells, name)
        return table

    def _subgroups(self) -> list[str]:
        found = self.everybody.subgroups
        parts = ["## Subgroups"]
        if not found:
            return [*parts, "Nobody said anything of themselves."]
        table = Table("said", number("people"), "question", "of", number("share, draws half"))
        for group in found:
            if group.lines is None:
                continue
            for line in group.lines:
                versus = f"{line.versus[0]} against {line.versus[1]}"
                said = f"{group.field}: {group.value}"
                table.add(said, group.people, TITLES[line.question], versus, describe_share(line.share))
        few = [group for group in found if group.lines is None]
        hidden = (
            f"Groups of fewer than {FEWEST} people are not shown ({len(few)}). " if few else ""
        ) + "Everybody, described and not tested: of many groups one will differ by chance."
        return [*parts, *([table.markdown()] if table.rows else []), hidden]

    def _judges(self) -> list[str]:
        if not self.judged:
            return [self.judged_note or "The evaluation holds no score that every picture has."]
        heads = ("agrees, 95 % interval", "answers", "its ties")
        table = Table("score", "question", *map(number, heads))
        for each in sorted(self.judged, key=lambda each: -each.check.agreement.share):
            check = each.check
            cells = describe_share(check.agreement), check.agreement.count, check.ties
            table.add(check.judge, TITLES[each.question], *cells)
        return [table.markdown(), f"{_JUDGED_NOTE} {self._ceiling()}"]

    def _ceiling(self) -> str:
        alike = {each.question: _percent(each.alike) for each in self.everybody.agreement}
        told = ", ".join(f"{alike[question]} ({TITLES[question].lower()})" for question in QUESTIONS)
        return f"People themselves agree with each other in {told}."


def _identical(pairs: int) -> str:
    return f" ({pairs} of them show one picture twice)" if pairs else ""


def _cells(name: str, line: Line) -> tuple[object, ...]:
    counts = f"{line.chosen} : {line.draws} : {line.against}"
    tests = _tested(line.by_person), _tested(line.by_prompt)
    return *line.versus, describe_share(line.share), counts, _percent(line.decided), *tests, name


def _tested(test: SignTest) -> str:
    return f"{test.above} : {test.below}, p {format_p(test.p)}"


def _sentence(line: Line) -> str:
    first, second = line.versus
    low, high = line.share.interval
    told = describe_share(line.share)
    if math.isnan(low) or low <= 0.5 <= high:
        return f"Between {first} and {second} no difference was shown: {first} is at {told}."
    better, worse = (first, second) if low > 0.5 else (second, first)
    return f"{better} was put before {worse}: {first} is at {told}."


def _plain(value: float) -> str | None:
    return None if math.isnan(value) else f"{value:.2f}"


def _percent(value: float) -> str | None:
    return None if math.isnan(value) else f"{100 * value:.0f} %"


def _share(share: Share | None) -> str | None:
    return None if share is None else describe_share(share)


_SIMULATED = "**Simulated people: nobody was asked. These numbers say nothing about any method.**"
_QUALITY_NOTE = (
    "Alpha and kappa are 1 where all agree and 0 where they agree as often as chance has it; tastes differ, "
    "so low values are usual for liking. Left should hold 50 %. Repeats came later with their sides swapped."
)
_JUDGED_NOTE = (
    "A score agrees when it is higher for the picture that was chosen; 50 % is a coin. Answers of no "
    "difference are left out, a score's ties count half."
)
