"""From drawn modifiers to a DF-Prompt: the user's text as it is, then words with their controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dfprompt.prompt import FULL, DFPrompt, Span
from dfprompt.prompt.layout import SEPARATORS

if TYPE_CHECKING:
    from dfprompt.policy.tables import ControlTables
    from dfprompt.policy.trajectory import Phrase, Trajectory

_STOPS = (".", "。")
LEFT_ALONE = "left alone: nothing it knows would help here"
RESTRAINED = "left alone: nothing it knows would help enough for this restraint"
LOST = "risk"
"""How a rewrite ended whose probe lost too much."""


@dataclass(frozen=True)
class Rewrite:
    """One rewrite of a user's text.

    `plain` is the user's text, `prompt` the DF-Prompt, `modifiers` what was appended to it, in order.
    `logprob` is the log-probability of everything drawn (at temperature 1, bans aside), `actions` the
    number of draws, `score` the mean per draw, by which candidates are ranked: by the sum alone a
    shorter rewrite would always win. `end` says why it ended: "end" is the policy's own choice;
    "budget", "length" and "modifiers" are limits. `dropped` are modifiers that were left out, with the
    reason. `restrained` says that a restraint was asked for.
    """

    plain: str
    prompt: DFPrompt
    modifiers: tuple[Span, ...]
    logprob: float
    actions: int
    seed: int
    candidate: int = 0
    end: str = "end"
    dropped: tuple[tuple[str, str], ...] = ()
    restrained: bool = False

    @property
    def score(self) -> float:
        """Mean log-probability per draw; 0 where nothing could be drawn."""
        return self.logprob / self.actions if self.actions else 0.0

    @property
    def changed(self) -> bool:
        """Whether anything was appended."""
        return bool(self.modifiers)

    @property
    def unchanged(self) -> str:
        """Why nothing was appended, in words for the user; "" if something was."""
        if self.modifiers:
            return ""
        if self.end == LOST:
            return "left alone: its probe lost something that was asked"
        if self.dropped:
            return "unchanged: everything it drew was left out"
        if self.end != "end":
            return "unchanged: the prompt leaves no room for another word"
        return RESTRAINED if self.restrained else LEFT_ALONE

    def to_json(self) -> dict[str, Any]:
        """The rewrite as a JSON object, as `dfprompt optimize --json` prints it."""
        return {
            "plain": self.plain,
            "text": str(self.prompt),
            "spans": self.prompt.to_json()["spans"],
            "unchanged": self.unchanged or None,
            "modifiers": [span.to_json() for span in self.modifiers],
            "logprob": round(self.logprob, 6),
            "score": round(self.score, 6),
            "seed": self.seed,
            "candidate": self.candidate,
            "end": self.end,
            "dropped": [{"text": text, "reason": reason} for text, reason in self.dropped],
        }


def append_modifiers(base: DFPrompt, modifiers: Sequence[Span]) -> DFPrompt:
    """The user's prompt with modifiers behind it; those with the default control are plain words.

    The text of every step begins with the user's words. Where a step may hold none of the modifiers
    and the user's text ends with a stop, a comma goes between: the plan's tidying then takes that one.

    >>> print(append_modifiers(DFPrompt.from_plain("a cat"), [Span("8k"), Span("film grain", "late")]))
    a cat, 8k, [film grain:late]
    """
    pieces: list[str | Span] = list(base.spans)
    for number, span in enumerate(modifiers):
        pieces += [", " if number else _first_separator(base, modifiers)]
        pieces += [span.text if span.is_neutral else span]
    return DFPrompt(pieces)


def rewrites_of(
    trajectory: Trajectory,
    bases: Sequence[DFPrompt],
    plains: Sequence[str],
    seeds: Sequence[int],
    tables: ControlTables,
) -> list[Rewrite]:
    """The rewrite each row of a trajectory stands for."""
    logprobs, actions = trajectory.logprobs.tolist(), trajectory.actions.tolist()
    made = []
    for row, phrases in enumerate(trajectory.phrases):
        modifiers = tuple(_span(phrase, tables) for phrase in phrases if not phrase.dropped)
        made.append(
            Rewrite(
                plain=plains[row],
                prompt=append_modifiers(bases[row], modifiers),
                modifiers=modifiers,
                logprob=logprobs[row],
                actions=actions[row],
                seed=seeds[row],
                end=trajectory.ends[row],
                dropped=tuple((phrase.text, phrase.dropped) for phrase in phrases if phrase.dropped),
            )
        )
    return made


def _span(phrase: Phrase, tables: ControlTables) -> Span:
    return Span(phrase.text, tables.ranges[phrase.range_id], tables.weights[phrase.weight_id])


def _first_separator(base: DFPrompt, modifiers: Sequence[Span]) -> str:
    text = base.plain_text
    said = text.rstrip()
    if not said:
        return ""
    always_there = any(span.effect_range == FULL for span in modifiers)
    if said[-1] in SEPARATORS and (always_there or not said.endswith(_STOPS)):
        return " " if said == text else ""
    return ", "
