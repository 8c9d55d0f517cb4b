"""What a paper has to say of a study by people, filled in as far as the folder knows.

The items follow what M. Otani and others (Toward Verifiable and Reproducible Human Evaluation for
Text-to-Image Generation, CVPR 2023) found missing in most papers, in words of our own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dfprompt.study.analysis import FEWEST, Analysis
from dfprompt.study.journal import Participant
from dfprompt.study.plan import PREFER, SHOWS
from dfprompt.study.study import ABOUT
from dfprompt.study.texts import TO_FILL
from dfprompt.study.votes import Opened
from dfprompt.table import Table


def fill_template(
    opened: Opened, digest: str, found: Analysis, excluded: int, people: Sequence[Participant]
) -> Table:
    """Return the template: what is to be said, and what this study says; the rest is marked."""
    plan = opened.study.plan
    quarter, median, three = found.seconds
    alpha = {each.question: each.alpha for each in found.agreement}
    rows = {
        "Methods compared": ", ".join(opened.methods),
        "Task": "two pictures side by side for the prompt's words; left, right or no difference",
        "Questions": f'"{plan.questions[SHOWS]}", "{plan.questions[PREFER]}"',
        "Prompts": f"{plan.prompts}; source: {TO_FILL}]",
        "Pictures": f"{plan.pairs} pairs, drawn at random from the evaluation, both of a pair from one seed",
        "Selection of pictures": "none: no picture was left out or chosen by hand",
        "Order and sides": "random, balanced within one per person and per pair; methods hidden from all",
        "Answers per pair": f"{found.answers / plan.pairs:.1f} on average",
        "Participants": _came(people),
        "Recruitment": f"{TO_FILL}: platform or place, qualification, dates]",
        "Payment": f"{TO_FILL}: per hour, at the median time]",
        "Who they are": _who(people),
        "Time per pair": f"median {median:.1f} s (quartiles {quarter:.1f} and {three:.1f})",
        "Instructions and practice": f"{plan.practice} practice pairs; text of consent attached",
        "Controls": f"{plan.gold} pairs with a known answer, {plan.repeats} repeats with sides swapped",
        "Exclusions": f"{excluded} people: {plan.exclusion.sentence()}; both analyses are given",
        "Agreement": f"Krippendorff's alpha {alpha[PREFER]:.2f} (liking), {alpha[SHOWS]:.2f} (asked)",
        "Statistics": "95 % intervals over people and prompts (two-way clusters); draws half and apart",
        "Size": plan.power,
        "Registration": f"plan SHA-256 {digest}; deposited at {TO_FILL}]",
        "Ethics": f"{TO_FILL}: board, number]",
        "Data": f"{TO_FILL}: where answers.csv is]; people by number, kept until {plan.retain_until}",
    }
    return Table("item", "this study", rows=rows.items())


def _came(people: Sequence[Participant]) -> str:
    kind = "SIMULATED people " if any(each.simulated for each in people) else ""
    return f"{len(people)} {kind}consented, {sum(each.finished for each in people)} finished"


def _who(people: Sequence[Participant]) -> str:
    """Return how many said what of themselves; groups too small to be shown are counted together."""
    told = []
    for field in ABOUT:
        counts = Counter(each.about[field] for each in people if field in each.about)
        shown = [f"{value} {count}" for value, count in sorted(counts.items()) if count >= FEWEST]
        fewer = sum(count for count in counts.values() if count < FEWEST)
        shown += [f"in groups under {FEWEST}: {fewer}"] if fewer else []
        if counts:
            told.append(f"{field}: {', '.join(shown)}, not said: {len(people) - counts.total()}")
    return "; ".join(told) or "nobody said"
