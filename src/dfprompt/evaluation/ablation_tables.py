"""Tables of ablations: one page of markdown for people, one CSV for programs."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence

from dfprompt.evaluation.ablations import Ablation
from dfprompt.evaluation.attribution import WRITTEN, Attribution
from dfprompt.evaluation.effects import Effect
from dfprompt.evaluation.methods import PLAIN
from dfprompt.evaluation.scoreboard import Role
from dfprompt.evaluation.summary import Failure
from dfprompt.evaluation.tables import format_number, format_p
from dfprompt.excerpt import printable
from dfprompt.prompt import DFPrompt, Span
from dfprompt.statistics.comparison import Comparison

_FIELDS = (
    "modifier arm baseline score role fresh_seeds difference low high win_rate p p_holm prompts pairs units"
).split()
_ROLES: dict[Role, str] = {
    "reward": "reward",
    "judge": "judge: never optimised here",
    "part": "part of a composite reward",
}
_INTERVAL = "in brackets the 95 % bootstrap interval"
_P = "p: two-sided sign-flip test, adjusted by Holm over"


def format_ablation(found: Ablation, *, title: str, note: str = "") -> str:
    """Return the page of a range or weight ablation: per score the arms, then every modifier by itself."""
    arms = "when it acts" if found.design.kind == "range" else "weight"
    lines = [f"# {_cell(title)}", "", *_noted(note), _how_to_read(found), ""]
    for score, role in found.scores.items():
        mean = found.plain[score]
        shown = "not measured" if mean is None else format_number(mean)
        lines += [f"## {_cell(score)} ({_ROLES[role]})", "", f"Mean of plain: {shown}.", ""]
        lines += [*_pooled_table(found, score, arms), ""]
        if len(found.modifiers) > 1:
            lines += ["Each modifier, difference to plain:", "", *_modifier_table(found, score), ""]
    return "\n".join([*lines, *_failures(found.failures)])


def _how_to_read(found: Ablation) -> str:
    compared = sum(effect.comparison is not None for effect in found.pooled)
    units = {effect.comparison.units for effect in found.pooled if effect.comparison is not None}
    over = "the seeds of the one prompt" if units == {"seeds"} else "prompts, each with all its seeds"
    return (
        f"{found.prompts} prompts, {found.seeds} seeds each, {len(found.modifiers)} modifiers "
        f"({_cell(', '.join(found.modifiers))}); each modifier alone behind the plain prompt, every arm "
        f"and plain from the same noise. Differences are averaged over the modifiers first; {_INTERVAL} over "
        f"{over}. {_P} {compared} comparisons. Pairs: prompts times seeds."
    )


def _pooled_table(found: Ablation, score: str, arms: str) -> list[str]:
    reference = found.design.reference
    heads = (arms, "difference to plain", "p (Holm)", f"difference to {reference}", "p (Holm)", "pairs")
    rows = []
    for arm in found.design.arms:
        own = {e.baseline: e for e in found.pooled if (e.score, e.arm) == (score, arm.name)}
        to_plain, to_reference = own[PLAIN], own.get(reference)
        pairs = "0" if to_plain.comparison is None else str(to_plain.comparison.pairs)
        rows.append(
            (
                f"{arm.name} ({arm.effect_range.arrow})" if found.design.kind == "range" else str(arm.weight),
                *_difference(to_plain),
                *(("", "") if to_reference is None else _difference(to_reference)),
                pairs,
            )
        )
    return _table(heads, rows)


def _modifier_table(found: Ablation, score: str) -> list[str]:
    heads = ("modifier", *(arm.name for arm in found.design.arms))
    rows = []
    for word in found.modifiers:
        own = {e.arm: e for e in found.single if (e.score, e.modifier) == (score, word)}
        rows.append((word, *(_difference(own[arm.name])[0] for arm in found.design.arms)))
    return _table(heads, rows)


def format_attribution(found: Attribution, *, title: str, note: str = "") -> str:
    """Return the page of an attribution: what each change does, and the pruned prompt on fresh seeds."""
    lines = [f"# {_cell(title)}", "", *_noted(note)]
    lines += [f"Written: {_code(found.written)}", "", _how_to_read_attribution(found), ""]
    for score, role in found.scores.items():
        own = [effect for effect in found.effects if effect.score == score]
        lines += [f"## {_cell(score)} ({_ROLES[role]})", "", *_effect_table(own), ""]
    lines += ["## Pruned", "", _pruning(found), ""]
    if found.remeasured:
        heads = ("score", "compared", "difference", "p (Holm)", "pairs")
        rows = [
            (e.score, f"{e.arm} - {e.baseline}", *_difference(e), _pairs(e.comparison))
            for e in found.remeasured
        ]
        lines += [*_table(heads, rows), ""]
    return "\n".join([*lines, *_failures(found.failures)])


def _how_to_read_attribution(found: Attribution) -> str:
    compared = sum(effect.comparison is not None for effect in found.effects)
    return (
        f"{len(found.seeds)} seeds, every prompt from the same noise. Difference: the written prompt minus "
        "the same prompt with one thing taken back, so above 0 it had raised the score; the first line is "
        f"written minus plain. {_INTERVAL.capitalize()} over the seeds: it holds for this prompt. "
        f"{_P} {compared} comparisons."
    )


def _effect_table(effects: Sequence[Effect]) -> list[str]:
    heads = ("what", "effect of", "compared with", "difference", "p (Holm)", "pairs")
    rows = [
        (
            e.modifier,
            "all its modifiers" if e.arm == WRITTEN else f"the {e.arm}",
            e.baseline,
            *_difference(e),
            _pairs(e.comparison),
        )
        for e in effects
    ]
    return _table(heads, rows)


def _pruning(found: Attribution) -> str:
    rule = f"Dropped is every modifier whose mean effect on {_cell(found.reward)} is below 0."
    if not found.dropped:
        return f"{rule} None is, so nothing was dropped and nothing measured again."
    gone = ", ".join(_code(span) for span in found.dropped)
    seeds = f"{found.fresh_seeds[0]} to {found.fresh_seeds[-1]}"
    return (
        f"{rule} Dropped: {gone}. Pruned: {_code(found.pruned)}\n\nMeasured again on "
        f"the fresh seeds {seeds}, which chose nothing; p adjusted by Holm over these comparisons alone."
    )


def format_effects_csv(effects: Iterable[Effect]) -> str:
    """Return one line per effect; empty fields are what does not exist."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_FIELDS)
    for effect in effects:
        head = (effect.modifier, effect.arm, effect.baseline, effect.score, effect.role, int(effect.fresh))
        writer.writerow([_plain(value) for value in (*head, *_numbers(effect))])
    return stream.getvalue()


def _numbers(effect: Effect) -> list[object]:
    found = effect.comparison
    if found is None:
        return [None] * 9
    test = (found.win_rate, found.p, effect.adjusted_p, found.prompts, found.pairs, found.units)
    return [found.difference, *found.interval, *test]


def _plain(value: object) -> object:
    """Empty for what does not exist; a quote goes before text that a spreadsheet would run as a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return value


def _difference(effect: Effect) -> tuple[str, str]:
    """The difference with its interval, and the adjusted p."""
    found = effect.comparison
    if found is None:
        return "not measured", "-"
    p = "-" if effect.adjusted_p is None else format_p(effect.adjusted_p)
    return f"{format_number(found.difference, sign=True)} {_interval(found)}", p


def _interval(found: Comparison) -> str:
    if math.isnan(found.interval.low):
        return "(too few for an interval)"
    low, high = (format_number(end, sign=True) for end in found.interval)
    return f"({low} to {high})"


def _pairs(found: Comparison | None) -> str:
    return "0" if found is None else str(found.pairs)


def _failures(failures: Sequence[Failure]) -> list[str]:
    if not failures:
        return []
    rows = [(each.method, each.what, str(each.rows), each.message) for each in failures]
    return ["## Failed", "", *_table(("method", "what", "rows", "first message"), rows), ""]


def _noted(note: str) -> list[str]:
    return [note, ""] if note else []


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, *rows]
    return [_line(lines[0]), "|" + "---|" * len(heads), *(_line(row) for row in lines[1:])]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _code(prompt: DFPrompt | Span) -> str:
    """A DF-Prompt to be copied: nothing in it is escaped, and no backtick of its own ends it."""
    text = printable(" ".join(str(prompt).split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def _cell(text: str) -> str:
    """One line, with what markdown would take for structure escaped."""
    flat = printable(" ".join(text.split()))
    return "".join(f"\\{letter}" if letter in "\\|`*_<[#" else letter for letter in flat)
