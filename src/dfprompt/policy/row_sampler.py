"""One row while it is drawn: the grammar's state, its modifiers, what is kept, redrawn or dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dfprompt.policy.bans import normalize
from dfprompt.policy.settings import SamplingSettings
from dfprompt.policy.tables import ControlTables
from dfprompt.policy.trajectory import Phrase
from dfprompt.policy.vocabulary import INSIDE, OPEN, START, Vocabulary
from dfprompt.prompt.foreign_syntax import find_foreign_syntax
from dfprompt.prompt.tags import split_tags

Control = tuple[int, int]  # classes: range, weight


@dataclass
class SampledRow:
    """One token as it was drawn, the state it was drawn in, its slot in the model's cache, its control."""

    token: int
    state: int
    logprob: float
    slot: int
    control: Control | None = None
    control_logprobs: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class FirstWord:
    """What the model said where the current modifier begins; a redraw starts from here.

    logprobs (V,) of its first word; with control "token" also those of both heads, (R,) and (W,).
    """

    logprobs: Tensor
    controls: tuple[Tensor, Tensor] | None


class RowSampler:
    """The drawing of one row; the user's `text` is only counted and compared."""

    def __init__(
        self,
        text: str,
        seed: int,
        control: str,
        vocabulary: Vocabulary,
        settings: SamplingSettings,
        tables: ControlTables,
    ) -> None:
        self.control, self.vocabulary, self.settings, self.tables = control, vocabulary, settings, tables
        # One generator per row: its draws do not depend on the batch around it.
        self.generator = np.random.Generator(np.random.PCG64(seed))
        self.drawn: list[SampledRow] = []
        self.phrases: list[Phrase] = []
        self.state = START
        self.first_word: FirstWord | None = None
        self.closing = False  # a modifier is closed; its control comes from the next hidden state
        self.done = False
        self.end = ""
        self._begun = 0  # where the current modifier begins in `drawn`
        self._redraws = 0
        self._text = text.rstrip()
        self._said = {normalize(part) for part in text.split(",")}
        if settings.budget is not None and not settings.budget.fits(text):
            self._finish("budget")

    @property
    def modifiers_if_ended(self) -> int:
        """How many modifiers stand if the row ends with its next token: those kept, and one just written."""
        return self._kept() + (self.state == INSIDE)

    def uniform(self) -> float:
        """The next number in [0, 1) of this row."""
        return float(self.generator.random())

    def take(self, drawn: SampledRow) -> list[int] | None:
        """Accept a drawn token: None. Or refuse it: the cache slots of the modifier to be drawn again."""
        closes = self.state == INSIDE and self.vocabulary.closes(drawn.token)
        if closes:
            text = self.vocabulary.decode_modifier([each.token for each in self.drawn[self._begun :]])
            objection = self._objection(text)
            if objection and self._redraws < self.settings.redraws:
                return self._withdraw()
            self._close(text, objection)
        self._record(drawn)
        if drawn.token == self.vocabulary.end_id:
            self._finish("end")
        elif len(self.drawn) >= self.settings.max_new_tokens:
            self._finish("length")
        if self.done:
            self._drop_unfinished()
        return None

    def set_control(self, control: Control, logprobs: tuple[float, float]) -> None:
        """Give the modifier just closed the control drawn from the state behind its closing token."""
        last = self.phrases[-1]
        self.phrases[-1] = Phrase(last.start, last.end, last.text, *control)
        self.drawn[-1].control, self.drawn[-1].control_logprobs = control, logprobs
        self.closing, self.done = False, bool(self.end)

    def _record(self, drawn: SampledRow) -> None:
        self.drawn.append(drawn)
        self.state = self.vocabulary.follow(self.state, drawn.token)
        if self.state == OPEN:
            self._begun, self._redraws = len(self.drawn), 0

    def _withdraw(self) -> list[int]:
        slots = [drawn.slot for drawn in self.drawn[self._begun :]]
        del self.drawn[self._begun :]
        self._redraws += 1
        self.state = OPEN
        return slots

    def _objection(self, text: str) -> str:
        """Why a finished modifier should not stand; "" if it may."""
        if not text:
            return "unreadable"
        if self.settings.bans and (broken := self.settings.bans.find(text)) is not None:
            return f"banned: {broken}"
        if not self.settings.tidy:
            return ""
        if normalize(text) in self._said:
            return "said already"
        if not any(character.isalnum() for character in text):
            return "no words"
        if len(split_tags(text)) > 1:
            return "holds a network tag"
        return next((f"looks like {found.what}" for found in find_foreign_syntax(text)), "")

    def _close(self, text: str, objection: str) -> None:
        whole = f"{self._text}, {text}"
        budget = self.settings.budget
        if not objection and budget is not None and not budget.fits(whole):
            objection = "budget"
        votes = [drawn.control for drawn in self.drawn[self._begun :] if drawn.control]
        control = majority(votes) if votes else (self.tables.default_range, self.tables.default_weight)
        self.phrases.append(Phrase(self._begun, len(self.drawn), text, *control, dropped=objection))
        if objection == "budget":
            self._finish("budget")
        elif not objection:
            self._text = whole
            self._said.add(normalize(text))
            self.closing = self.control == "phrase"
            if self._kept() == self.settings.max_modifiers:
                self._finish("modifiers")

    def _finish(self, why: str) -> None:
        """Draw no further token; a control that is still to come is waited for."""
        self.end = self.end or why
        self.done = not self.closing

    def _drop_unfinished(self) -> None:
        begun, end = self._begun, len(self.drawn)
        if self.state == INSIDE and self.end == "length":
            text = self.vocabulary.decode_modifier([drawn.token for drawn in self.drawn[begun:]])
            defaults = (self.tables.default_range, self.tables.default_weight)
            self.phrases.append(Phrase(begun, end, text, *defaults, dropped="unfinished"))

    def _kept(self) -> int:
        return sum(not phrase.dropped for phrase in self.phrases)


def majority(votes: Sequence[Control]) -> Control:
    """The range and the weight most tokens of a modifier drew; of equals the one drawn first.

    >>> majority([(0, 2), (1, 3), (1, 2)])
    (1, 2)
    """
    # Counter keeps the order of first appearance, and most_common is stable.
    ranges, weights = (Counter(column).most_common(1)[0][0] for column in zip(*votes, strict=True))
    return ranges, weights
