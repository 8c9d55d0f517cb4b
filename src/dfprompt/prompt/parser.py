"""Text to tree: one scanner, one pass, no recursion, so that any input costs linear time."""

from __future__ import annotations

import re
from typing import NamedTuple

from dfprompt.errors import ParseError, PromptValueError
from dfprompt.excerpt import quote
from dfprompt.prompt import bracket_errors
from dfprompt.prompt.alternation import MOST_TURNS, split_entries, unroll
from dfprompt.prompt.ast import UNIT, DFPrompt, EffectRange, Span, Weight
from dfprompt.prompt.clocks import check_steps
from dfprompt.prompt.escapes import ESCAPABLE
from dfprompt.prompt.fields import Bracket, read_range, read_weight
from dfprompt.prompt.foreign import keep_meaning
from dfprompt.prompt.foreign_syntax import report_foreign_syntax
from dfprompt.prompt.tags import BARE_TAG

_SPECIAL = re.compile(rf"{BARE_TAG.pattern}|[\[\]\\:]")


def parse_prompt(text: str, *, strict: bool = False, num_inference_steps: int | None = None) -> DFPrompt:
    r"""Read a DF-Prompt from its text form, `[words:RANGE:WEIGHT]` inside ordinary words.

    Text that looks like another tool's prompt control stands as it is and is named in a
    DFPromptWarning; with `strict` it raises. `[cat|dog]`, one word per step by turns, is read where
    the number of steps is given. Raises ParseError, with offset, expectation and a suggested fix, and
    never anything else for any str.

    >>> parse_prompt(r"a \[red\] horse, [anime style:early:1.5]").spans
    ('a [red] horse, ', Span('anime style', EffectRange(1, 0.5), Weight(1.5)))
    >>> print(parse_prompt("a [cat|dog]", num_inference_steps=2))
    a [cat:early][dog:late]
    """
    prompt = read_back(text, num_inference_steps)
    report_foreign_syntax(text, strict=strict, words_alone=not prompt.controls)
    return prompt


def read_back(text: str, num_inference_steps: int | None = None) -> DFPrompt:
    r"""Read text that `format_prompt` wrote: it was written for no other tool, so look-alikes are words.

    Raises ParseError as `parse_prompt` does.

    >>> read_back(r"a \[red:0.5\] horse (:1.2)").spans
    ('a [red:0.5] horse (:1.2)',)
    """
    if not isinstance(text, str):
        raise PromptValueError(f"a prompt must be a string, not {quote(text)}")
    try:
        return DFPrompt(
            piece for place in _Scanner(text, num_inference_steps).scan() for piece in place.pieces
        )
    except ParseError as error:
        raise keep_meaning(error) from None


class Place(NamedTuple):
    """A stretch of a text and what it means: plain words, or a bracket or network tag and its spans.

    `text[start:end]` is what is written. `words` is where the words lie in a bracket or tag, which is
    several spans where tags stand among the words, or where they go by turns; None for plain words.
    """

    start: int
    end: int
    pieces: tuple[str | Span, ...]
    words: tuple[int, int] | None = None


def locate_pieces(
    text: str, num_inference_steps: int | None = None, *, first_turn: bool = False
) -> tuple[Place, ...]:
    """Return what every stretch of a DF-Prompt means, in order and without gaps.

    `[cat|dog]` is read where the number of steps is given, or with `first_turn` as its first words. Raises
    ParseError as `parse_prompt` does, and says nothing of look-alikes.

    >>> [(place.start, place.end, place.words) for place in locate_pieces("a cat, [snow:late]")]
    [(0, 7, None), (7, 18, (8, 12))]
    """
    scanner = _Scanner(text, 1 if first_turn else num_inference_steps, first_turn=first_turn)
    try:
        return tuple(place for place in scanner.scan() if place.start < place.end)
    except ParseError as error:
        raise keep_meaning(error) from None


class _Scanner:
    """The state of one pass: literal pieces gathered so far, and the bracket that is open.

    A network tag is one token: its colons end no field, and it becomes a span of its own.
    """

    def __init__(self, text: str, steps: int | None, *, first_turn: bool = False) -> None:
        self.text = text
        self.first_turn = first_turn
        self.steps = steps if steps is None else check_steps(steps)
        self.turns = 0  # of all alternations
        self.places: list[Place] = []
        self.literal: list[str] = []  # of the plain piece or the words being read
        self.copied = 0  # everything before this offset is in `literal` or belongs to a field
        self.opened = -1  # offset of the open bracket, -1 outside
        self.colons: list[int] = []
        self.words: list[str] = []  # of the open bracket: words and network tags by turns
        # Schedules repeat within a prompt: each distinct field is read once.
        self.ranges: dict[str, EffectRange | None] = {}
        self.weights: dict[str, Weight | None] = {}

    def scan(self) -> list[Place]:
        escaped = -1
        for match in _SPECIAL.finditer(self.text):
            at, special = match.start(), match[0]
            if at == escaped:
                continue
            if special == "\\":
                if self.text[at + 1 : at + 2] in ESCAPABLE:
                    self._copy_to(at)
                    escaped = at + 1
            elif special[0] == "<":
                self._tag(at, special)
            elif special == "[":
                self._open(at)
            elif special == "]":
                self._close(at)
            elif self.opened >= 0:
                self._end_field(at)
        if self.opened >= 0:
            raise bracket_errors.unclosed(self._bracket(len(self.text)))
        self._end_plain(len(self.text))
        return self.places

    def _end_plain(self, at: int) -> None:
        """Keep the plain words that end here."""
        start = self.places[-1].end if self.places else 0
        self.places.append(Place(start, at, (self._take_literal(at),)))

    def _copy_to(self, at: int) -> None:
        """Keep the literal run before `at`, and go on after it."""
        if not self.colons:
            self.literal.append(self.text[self.copied : at])
            self.copied = at + 1

    def _take_literal(self, at: int) -> str:
        self._copy_to(at)
        taken = "".join(self.literal)
        self.literal.clear()
        return taken

    def _tag(self, at: int, tag: str) -> None:
        if self.opened < 0:
            self._end_plain(at)
            self.copied = at + len(tag)
            self.places.append(Place(at, self.copied, (Span(tag),), (at, self.copied)))
        elif not self.colons:
            self.words += [self._take_literal(at), tag]
            self.copied = at + len(tag)

    def _open(self, at: int) -> None:
        if self.opened >= 0:
            raise bracket_errors.nested(self._bracket(at))
        self._end_plain(at)
        self.opened = at

    def _end_field(self, at: int) -> None:
        if not self.colons:
            self.words.append(self._take_literal(at))
        self.colons.append(at)

    def _close(self, at: int) -> None:
        if self.opened < 0:
            raise bracket_errors.stray_close(self.text, at)
        spans = tuple(self._spans(self._bracket(at)))
        words = (self.opened + 1, self.colons[0] if self.colons else at)
        self.places.append(Place(self.opened, at + 1, spans, words))
        self.colons.clear()
        self.words.clear()
        self.copied, self.opened = at + 1, -1

    def _bracket(self, close: int) -> Bracket:
        return Bracket(self.text, self.opened, tuple(self.colons), close)

    def _spans(self, bracket: Bracket) -> list[str | Span]:
        """The span a bracket means; several where network tags stand among its words, or for alternation."""
        if not bracket.colons and self.steps is not None and "|" in bracket.raw:
            return self._alternation(bracket, self.steps)
        if len(bracket.colons) not in (1, 2):
            raise bracket_errors.field_count(bracket)
        if all(not words or words.isspace() for words in self.words):
            raise bracket_errors.no_words(bracket)
        fields = bracket.fields
        effect_range = self._range(fields[1])
        if effect_range is None or (len(fields) == 2 and not fields[1].strip()):
            raise bracket_errors.bad_range(bracket)
        weight = self._weight(fields[2]) if len(fields) == 3 else UNIT
        if weight is None:
            raise bracket_errors.bad_weight(bracket)
        return [
            Span(words, effect_range, weight) if words.strip() else words for words in self.words if words
        ]

    def _alternation(self, bracket: Bracket, steps: int) -> list[str | Span]:
        entries = split_entries([*self.words, self._take_literal(bracket.close)])
        self.turns += steps
        if self.turns > MOST_TURNS:
            raise bracket_errors.too_many_turns(bracket, MOST_TURNS)
        if self.first_turn:
            spoken = next((each for each in entries if any(map(str.strip, each))), [])
            spans = [Span(words) for words in spoken if words.strip()]
        else:
            spans = list(unroll(entries, steps))
        if not spans:
            raise bracket_errors.no_words(bracket)
        return list(spans)

    def _range(self, field: str) -> EffectRange | None:
        if field not in self.ranges:
            self.ranges[field] = read_range(field)
        return self.ranges[field]

    def _weight(self, field: str) -> Weight | None:
        if field not in self.weights:
            self.weights[field] = read_weight(field)
        return self.weights[field]
