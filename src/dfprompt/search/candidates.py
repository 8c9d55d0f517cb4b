"""What is tried: a plain prompt, and arms that add modifiers to it or change one of its spans."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import zip_longest
from typing import Protocol

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.prompt import EARLY, FULL, LATE, DFPrompt, EffectRange, Span, Weight
from dfprompt.search.lexicon import Entry, Lexicon

RANGES = (LATE, FULL, EARLY)
WEIGHTS = tuple(Weight(text) for text in ("1", "1.25", "0.75", "1.5", "0.5"))
_PROMPT = frozenset({"the prompt's own"})
_NARROWER = (
    EffectRange("0.7", 0),
    EffectRange("0.3", 0),
    EffectRange(1, "0.7"),
    EffectRange(1, "0.3"),
)


@dataclass(frozen=True)
class Proposal:
    """A rewrite somebody suggests, such as a policy: the modifiers it adds, and who says so."""

    spans: tuple[Span, ...]
    origin: str


@dataclass(frozen=True)
class Arm:
    """A DF-Prompt on trial; `spans` are what it adds to the plain prompt, `origins` where they come from."""

    prompt: DFPrompt
    spans: tuple[Span, ...]
    origins: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def words(self) -> frozenset[str]:
        """The phrases added, whatever their case."""
        return frozenset(span.text.casefold() for span in self.spans)

    @property
    def origin(self) -> str:
        """Where the words come from, in one line: a list, a policy, or several of them."""
        return " + ".join(sorted(self.origins))


class Space(Protocol):
    """Everything that may be tried for one prompt."""

    @property
    def plain(self) -> DFPrompt:
        """What every arm is compared with."""

    def first(self, room: int) -> list[Arm]:
        """Return the arms to begin with, at most `room`, the most promising first."""

    def make(self, spans: Iterable[Span], origins: frozenset[str] = frozenset()) -> Arm:
        """Return the arm that adds these spans, taken from there."""

    def variants(self, arm: Arm) -> list[Arm]:
        """Return arms that differ in one span: its range or weight, or that it is left out."""


class ModifierSpace:
    """Modifiers of a lexicon, behind a prompt: modifier x {early, late, full} x weight.

    `proposals` (rewrites of the prompt, such as a policy's) come first and take half of the room at most:
    a policy that has nothing good to say must not keep the list from being tried.
    """

    def __init__(
        self, base: DFPrompt, lexicon: Lexicon, seed: int = 0, proposals: Sequence[Proposal] = ()
    ) -> None:
        self.base, self.proposals = base, [each for each in proposals if each.spans]
        self.listed = frozenset({lexicon.name})
        lexicon = lexicon.absent_from(base.plain_text)
        if not lexicon.entries and not self.proposals:
            raise InputError("every modifier of the list stands in the prompt already; give others")
        self.entries = _mix(lexicon, random.Random(seed))

    @property
    def plain(self) -> DFPrompt:
        """The prompt without any modifier."""
        return self.base

    def first(self, room: int) -> list[Arm]:
        """Return what is proposed, every modifier with its own control, other ranges, then other weights."""
        proposed = (self.make(each.spans, frozenset({each.origin})) for each in self.proposals)
        arms: dict[DFPrompt, Arm] = {}
        _add(arms, proposed, -(-room // 2) if self.entries else room)
        _add(arms, (self.make(spans, self.listed) for spans in self._in_order()), room)
        return list(arms.values())

    def _in_order(self) -> Iterator[tuple[Span, ...]]:
        yield from ((entry.span,) for entry in self.entries)
        for effect_range in RANGES:
            yield from ((entry.span.with_range(effect_range),) for entry in self.entries)
        for entry in self.entries:
            yield from ((entry.span.with_weight(weight),) for weight in WEIGHTS)

    def make(self, spans: Iterable[Span], origins: frozenset[str] = frozenset()) -> Arm:
        """Return the prompt with these modifiers behind it, in alphabetical order."""
        ordered = tuple(sorted(spans, key=lambda span: span.text))
        return Arm(append_modifiers(self.base, ordered), ordered, origins)

    def variants(self, arm: Arm) -> list[Arm]:
        """Return the arm without each modifier, and with one's range, or its weight by a quarter, changed."""
        shorter, found = [], []
        for at, span in enumerate(arm.spans):
            rest = (*arm.spans[:at], *arm.spans[at + 1 :])
            shorter += [self.make(rest, arm.origins)] if rest else []
            changed = [*_other_ranges(span, RANGES), *_near_weights(span)]
            found += [self.make((*rest, other), arm.origins) for other in changed]
        return [*shorter, *found]


class SpanSpace:
    """The range and the weight of one span of a prompt already written; plain is the prompt without it."""

    def __init__(self, prompt: DFPrompt, only: str) -> None:
        found = [at for at, span in enumerate(prompt.controls) if span.text.casefold() == only.casefold()]
        if len(found) != 1:
            known = ", ".join(quote(span.text) for span in prompt.controls) or "none"
            raise InputError(
                f"--only {quote(only)} names {len(found)} spans of the prompt; its spans are {known}. "
                "Write the words in brackets, as in [film grain:late]"
            )
        self.prompt, self.at = prompt, found[0]
        self.span = prompt.controls[self.at]

    @property
    def plain(self) -> DFPrompt:
        """The prompt without the span."""
        return self.prompt.without(self.at)

    def first(self, room: int) -> list[Arm]:
        """Return the span as written, every range, then every range with other weights."""
        weights = [self.span.weight, *(each for each in WEIGHTS if each != self.span.weight)]
        tried = [self.span, *(Span(self.span.text, each, weight) for weight in weights for each in RANGES)]
        return [self.make((span,)) for span in list(dict.fromkeys(tried))[:room]]

    def make(self, spans: Iterable[Span], origins: frozenset[str] = _PROMPT) -> Arm:
        """Return the prompt with the span in this form."""
        (span,) = spans
        changed = self.prompt.with_range(self.at, span.effect_range).with_weight(self.at, span.weight)
        return Arm(changed, (span,), origins)

    def variants(self, arm: Arm) -> list[Arm]:
        """Return the span with a weight a quarter away, or another range, finer ones included."""
        (span,) = arm.spans
        changed = [*_near_weights(span), *_other_ranges(span, (*RANGES, *_NARROWER))]
        return [self.make((other,)) for other in changed]


def _add(arms: dict[DFPrompt, Arm], found: Iterable[Arm], room: int) -> None:
    """Put arms to those there are, the first of each prompt, until there are `room`."""
    for arm in found:
        if len(arms) >= room:
            return
        arms.setdefault(arm.prompt, arm)


def _mix(lexicon: Lexicon, rng: random.Random) -> list[Entry]:
    """Return the entries in seeded order, one of each category in turn: early rounds see every kind."""
    groups = list(lexicon.categories().values())
    for group in groups:
        rng.shuffle(group)
    rng.shuffle(groups)
    return [entry for turn in zip_longest(*groups) for entry in turn if entry is not None]


def _other_ranges(span: Span, ranges: Sequence[EffectRange]) -> list[Span]:
    return [span.with_range(each) for each in ranges if each != span.effect_range]


def _near_weights(span: Span) -> list[Span]:
    if span.weight.is_ramp:
        return [span.with_weight(weight) for weight in WEIGHTS]
    steps = (span.weight.first + step for step in (Decimal("0.25"), Decimal("-0.25")))
    return [span.with_weight(weight) for weight in steps if Decimal("0.5") <= weight <= Decimal("1.5")]
