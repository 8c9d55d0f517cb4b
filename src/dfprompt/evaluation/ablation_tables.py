"""Tables of ablations: one page of markdown for people, one CSV for programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dfprompt.evaluation.ablations import Ablation
from dfprompt.evaluation.attribution import WRITTEN, Attribution
from dfprompt.evaluation.effects import Effect
from dfprompt.evaluation.tables import failure_lines
from dfprompt.excerpt import printable
from dfprompt.measurement.rows import PLAIN
from dfprompt.measurement.scoreboard import Role
from dfprompt.prompt import DFPrompt, Span
from dfprompt.statistics.comparison import Comparison
from dfprompt.table import Table, escape_markdown, format_ends, format_number, format_p, number

_NUMBERS = ("difference", "p (Holm)", "pairs")
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
    lines = [f"# {escape_markdown(title)}", "", *_noted(note), _how_to_read(found), ""]
    for score, role in found.scores.items():
        mean = found.plain[score]
        shown = "not measured" if mean is None else format_number(mean)
        lines += [f"## {escape_markdown(score)} ({_ROLES[role]})", "", f"Mean of plain: {shown}.", ""]
        lines += [_pooled_table(found, score, arms), ""]
        if len(found.modifiers) > 1:
            lines += ["Each modifier, difference to plain:", "", _modifier_table(found, score), ""]
    return "\n".join([*lines, *failure_lines(found.failures)])


def _how_to_read(found: Ablation) -> str:
    compared = sum(effect.comparison is not None for effect in found.pooled)
    units = {effect.comparison.units for effect in found.pooled if effect.comparison is not None}
    over = "the seeds of the one prompt" if units == {"seeds"} else "prompts, each with all its seeds"
    words = escape_markdown(", ".join(found.modifiers))
    return (
        f"{found.prompts} prompts, {found.seeds} seeds each, {len(found.modifiers)} modifiers ({words}); "
        "each modifier alone behind the plain prompt, every arm and plain from the same noise. Differences "
        f"are averaged over the modifiers first; {_INTERVAL} over {over}. {_P} {compared} comparisons. "
        "Pairs: prompts times seeds."
    )


def _pooled_table(found: Ablation, score: str, arms: str) -> str:
    reference = found.design.reference
    heads = ("difference to plain", "p (Holm)", f"difference to {reference}", "p (Holm)", "pairs")
    table = Table(arms, *map(number, heads))
    for arm in found.design.arms:
        own = {e.baseline: e for e in found.pooled if (e.score, e.arm) == (score, arm.name)}
        to_plain, to_reference = own[PLAIN], own.get(reference)
        pairs = "0" if to_plain.comparison is None else str(to_plain.comparison.pairs)
        table.add(
            f"{arm.name} ({arm.effect_range.arrow})" if found.design.kind == "range" else str(arm.weight),
            *_difference(to_plain),
            *(("", "") if to_reference is None else _difference(to_reference)),
            pairs,
        )
    return table.markdown()


def _modifier_table(found: Ablation, score: str) -> str:
    table = Table("modifier", *(number(arm.name) for arm in found.design.arms))
    for word in found.modifiers:
        own = {e.arm: e for e in found.single if (e.score, e.modifier) == (score, word)}
        table.add(word, *(_difference(own[arm.name])[0] for arm in found.design.arms))
    return table.markdown()


def format_attribution(found: Attribution, *, title: str, note: str = "") -> str:
    """Return the page of an attribution: what each change does, and the pruned prompt on fresh seeds."""
    lines = [f"# {escape_markdown(title)}", "", *_noted(note)]
    lines += [f"Written: {_code(found.written)}", "", _how_to_read_attribution(found), ""]
    for score, role in found.scores.items():
        own = [effect for effect in found.effects if effect.score == score]
        lines += [f"## {escape_markdown(score)} ({_ROLES[role]})", "", _effect_table(own), ""]
    lines += ["## Pruned", "", _pruning(found), ""]
    if found.remeasured:
        table = Table("score", "compared", *map(number, _NUMBERS))
        for e in found.remeasured:
            table.add(e.score, f"{e.arm} - {e.baseline}", *_difference(e), _pairs(e.comparison))
        lines += [table.markdown(), ""]
    return "\n".join([*lines, *failure_lines(found.failures)])


def _how_to_read_attribution(found: Attribution) -> str:
    compared = sum(effect.comparison is not None for effect in found.effects)
    return (
        f"{len(found.seeds)} seeds, every prompt from the same noise. Difference: the written prompt minus "
        "the same prompt with one thing taken back, so above 0 it had raised the score; the first line is "
        f"written minus plain. {_INTERVAL.capitalize()} over the seeds: it holds for this prompt. "
        f"{_P} {compared} comparisons."
    )


def _effect_table(effects: Sequence[Effect]) -> str:
    table = Table("what", "effect of", "compared with", *map(number, _NUMBERS))
    for e in effects:
        arm = "all its modifiers" if e.arm == WRITTEN else f"the {e.arm}"
        table.add(e.modifier, arm, e.baseline, *_difference(e), _pairs(e.comparison))
    return table.markdown()


def _pruning(found: Attribution) -> str:
    rule = f"Dropped is every modifier whose mean effect on {escape_markdown(found.reward)} is below 0."
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
    table = Table(*_FIELDS)
    for effect in effects:
        head = (effect.modifier, effect.arm, effect.baseline, effect.score, effect.role, int(effect.fresh))
        table.add(*head, *_numbers(effect))
    return table.csv()


def _numbers(effect: Effect) -> list[object]:
    found = effect.comparison
    if found is None:
        return [None] * 9
    test = (found.win_rate, found.p, effect.adjusted_p, found.prompts, found.pairs, found.units)
    return [found.difference, *found.interval, *test]


def _difference(effect: Effect) -> tuple[str, str]:
    """The difference with its interval, and the adjusted p."""
    found = effect.comparison
    if found is None:
        return "not measured", "-"
    p = "-" if effect.adjusted_p is None else format_p(effect.adjusted_p)
    return f"{format_number(found.difference, sign=True)} {_interval(found)}", p


def _interval(found: Comparison) -> str:
    return f"({format_ends(found.interval.to_json(), 'too few for an interval')})"


def _pairs(found: Comparison | None) -> str:
    return "0" if found is None else str(found.pairs)


def _noted(note: str) -> list[str]:
    return [note, ""] if note else []


def _code(prompt: DFPrompt | Span) -> str:
    """A DF-Prompt to be copied: nothing in it is escaped, and no backtick of its own ends it."""
    text = printable(" ".join(str(prompt).split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"
