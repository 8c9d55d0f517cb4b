"""The tree of a DF-Prompt: plain pieces and spans, frozen, hashable and always valid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from dfprompt.errors import PromptValueError
from dfprompt.excerpt import quote
from dfprompt.prompt.effect import EARLY, FULL, LATE, UNIT, EffectRange, Weight
from dfprompt.prompt.escapes import escape_field, escape_plain
from dfprompt.prompt.exact import Number, to_json_number
from dfprompt.prompt.jsonform import VERSION, check_object, check_version, load_json
from dfprompt.prompt.layout import SEPARATORS, lay_out
from dfprompt.prompt.tags import BARE_TAG, NetworkTag, read_tag

__all__ = ["EARLY", "FULL", "LATE", "UNIT", "DFPrompt", "EffectRange", "Span", "Weight"]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Span:
    """Words with an effect range and a weight: what stands in brackets.

    `effect_range` may be a word (early, late, full), `weight` a number. A span whose text is one
    network tag is no words: see `tag`. Raises PromptValueError for a text without words, a bad
    range or a bad weight.

    >>> print(Span("film grain", "late", 1.25))
    [film grain:late:1.25]
    """

    text: str
    effect_range: EffectRange
    weight: Weight

    def __init__(
        self, text: str, effect_range: EffectRange | str = FULL, weight: Weight | Number = UNIT
    ) -> None:
        if not isinstance(text, str):
            raise PromptValueError(f"the text of a span must be a string, not {quote(text)}")
        if not text or text.isspace():
            raise PromptValueError(f"the text of a span must hold words, and {quote(text)} holds none")
        if not isinstance(effect_range, EffectRange):
            effect_range = EffectRange.named(effect_range)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "effect_range", effect_range)
        object.__setattr__(self, "weight", weight if isinstance(weight, Weight) else Weight(weight))

    @property
    def is_neutral(self) -> bool:
        """Whether the span acts like plain words: full range, weight 1."""
        return self.effect_range == FULL and self.weight == UNIT

    @property
    def tag(self) -> NetworkTag | None:
        """The network tag this span is, or None where it is words.

        >>> Span("<lora:fur:0.8>", "late").tag.name
        'fur'
        """
        return read_tag(self.text)

    @property
    def words(self) -> str:
        """What of the span can reach an encoder: its text, nothing for a network tag."""
        return "" if self.tag else self.text

    def with_range(self, effect_range: EffectRange | str) -> Span:
        """Return the span with another effect range."""
        return Span(self.text, effect_range, self.weight)

    def with_weight(self, weight: Weight | Number) -> Span:
        """Return the span with another weight."""
        return Span(self.text, self.effect_range, weight)

    @classmethod
    def from_json(cls, data: object) -> Span:
        """Read what `to_json` wrote; raises PromptValueError."""
        checked = check_object(data, {"text"}, {"range", "weight"}, "a span")
        start_end = _numbers(checked.get("range", [1, 0]), "range", {2})
        weight = checked.get("weight", 1)
        ramp = _numbers(weight if isinstance(weight, list | tuple) else [weight], "weight", {1, 2})
        return cls(checked["text"], EffectRange(*start_end), Weight(*ramp))

    def to_json(self) -> dict[str, Any]:
        """Return the span as a JSON object; a ramp is a list of two weights."""
        start, end, first, last = map(
            to_json_number,
            (self.effect_range.start, self.effect_range.end, self.weight.first, self.weight.last),
        )
        return {
            "text": self.text,
            "range": [start, end],
            "weight": [first, last] if self.weight.is_ramp else first,
        }

    def __str__(self) -> str:
        bare = BARE_TAG.fullmatch(self.text)
        if bare and self.is_neutral:
            return self.text
        return f"[{self.text if bare else escape_field(self.text)}{self.fields}]"

    @property
    def fields(self) -> str:
        """What stands in the bracket behind the words, `:late:1.25`."""
        if self.weight == UNIT:
            return f":{self.effect_range}"
        return f":{'' if self.effect_range == FULL else self.effect_range}:{self.weight}"

    def __repr__(self) -> str:
        return f"Span({self.text!r}, {self.effect_range!r}, {self.weight!r})"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class DFPrompt:
    """A prompt whose words know when and how strongly to act.

    `spans` holds plain pieces (str) and Spans as written; adjacent plain pieces merge and empty
    ones vanish. `str(prompt)` is the text form, which parses back to an equal prompt.

    >>> print(DFPrompt(["a red horse, ", Span("anime style", "early", 1.5)]))
    a red horse, [anime style:early:1.5]
    """

    spans: tuple[str | Span, ...]

    def __init__(self, spans: Iterable[str | Span] = ()) -> None:
        object.__setattr__(self, "spans", tuple(_merge(spans)))

    @classmethod
    def from_plain(cls, text: str) -> DFPrompt:
        r"""Return a prompt without control; brackets in the text are words like any other.

        >>> print(DFPrompt.from_plain("a [sic] sign"))
        a \[sic\] sign
        """
        return cls([text])

    @classmethod
    def from_json(cls, data: str | Mapping[str, Any]) -> DFPrompt:
        """Read what `to_json` wrote, as an object or as JSON text; raises PromptValueError.

        A `text` beside the spans, as `dfprompt parse --json` prints it, is left alone.

        >>> DFPrompt.from_json('{"dfprompt": 1, "spans": ["a cat"]}')
        DFPrompt(['a cat'])
        """
        loaded = load_json(data) if isinstance(data, str) else data
        checked = check_object(loaded, {"dfprompt", "spans"}, {"text"}, "a prompt")
        check_version(checked)
        if not isinstance(checked["spans"], list | tuple):
            raise PromptValueError(f'"spans" must be a list, not {quote(checked["spans"])}')
        return cls(piece if isinstance(piece, str) else Span.from_json(piece) for piece in checked["spans"])

    def to_json(self) -> dict[str, Any]:
        """Return the prompt as a JSON object; its numbers print their exact digits.

        >>> DFPrompt(["a cat, ", Span("grain", "late", 1.25)]).to_json()["spans"]
        ['a cat, ', {'text': 'grain', 'range': [0.5, 0], 'weight': 1.25}]
        """
        spans = [piece if isinstance(piece, str) else piece.to_json() for piece in self.spans]
        return {"dfprompt": VERSION, "spans": spans}

    @property
    def plain_text(self) -> str:
        """All words, without control and without network tags (and the separators these leave)."""
        words = self.words
        return lay_out(words, [bool(piece) for piece in words]).text

    @property
    def words(self) -> tuple[str, ...]:
        """What of each piece can reach an encoder; empty for network tags."""
        return tuple(piece if isinstance(piece, str) else piece.words for piece in self.spans)

    @property
    def runs(self) -> tuple[str, ...]:
        """The words as they can be read: cut where spans touch and share no time, as by turns.

        >>> DFPrompt(["a ", Span("red", "early"), Span("blue", "late"), " cat"]).runs
        ('a red', 'blue cat')
        """
        runs: list[str] = []
        before: str | Span = ""
        for piece, words in zip(self.spans, self.words, strict=True):
            ends = [each.effect_range for each in (before, piece) if isinstance(each, Span)]
            apart = len(ends) == 2 and (ends[0].end >= ends[1].start or ends[1].end >= ends[0].start)
            if apart or not runs:
                runs.append(words)
            else:
                runs[-1] += words
            before = piece
        return tuple(runs)

    @property
    def tags(self) -> tuple[Span, ...]:
        """The spans that are network tags, in order."""
        return tuple(span for span in self.controls if span.tag)

    @property
    def controls(self) -> tuple[Span, ...]:
        """The spans alone, without the plain pieces."""
        return tuple(piece for piece in self.spans if isinstance(piece, Span))

    @property
    def is_plain(self) -> bool:
        """Whether no span controls anything: full range with weight 1 is no control."""
        return all(span.is_neutral for span in self.controls)

    def with_weight(self, index: int, weight: Weight | Number) -> DFPrompt:
        """Return the prompt with another weight on its span number `index` (of `controls`).

        >>> print(DFPrompt(["a cat, ", Span("grain", "late")]).with_weight(0, 1.25))
        a cat, [grain:late:1.25]
        """
        at, span = self._control(index)
        return DFPrompt([*self.spans[:at], span.with_weight(weight), *self.spans[at + 1 :]])

    def with_range(self, index: int, effect_range: EffectRange | str) -> DFPrompt:
        """Return the prompt with another effect range on its span number `index` (of `controls`).

        >>> print(DFPrompt(["a cat, ", Span("grain", "late")]).with_range(0, "early"))
        a cat, [grain:early]
        """
        at, span = self._control(index)
        return DFPrompt([*self.spans[:at], span.with_range(effect_range), *self.spans[at + 1 :]])

    def without(self, index: int) -> DFPrompt:
        """Return the prompt without its span number `index`; a separator left over goes with it.

        >>> print(DFPrompt(["a cat, ", Span("grain", "late"), ", sharp"]).without(0))
        a cat, sharp
        """
        at, _ = self._control(index)
        texts = [piece if isinstance(piece, str) else piece.text for piece in self.spans]
        layout = lay_out(texts, [position != at for position in range(len(texts))])
        kept = (layout.text[start:end] for start, end in layout.places)
        return DFPrompt(
            Span(text, piece.effect_range, piece.weight) if isinstance(piece, Span) and text.strip() else text
            for piece, text in zip(self.spans, kept, strict=True)
        )

    def append(self, modifier: str | Span) -> DFPrompt:
        """Return the prompt with one more modifier behind a comma: plain words, or a span.

        >>> print(DFPrompt.from_plain("a cat").append(Span("grain", "late")))
        a cat, [grain:late]
        """
        return DFPrompt([*self.spans, self.separator, modifier])

    @property
    def separator(self) -> str:
        """What stands between the prompt and one more modifier.

        >>> DFPrompt.from_plain("a cat").separator, DFPrompt.from_plain("a cat.").separator
        (', ', ' ')
        """
        text = self.plain_text.rstrip()
        if not text:
            return ""
        spaced = len(text) < len(self.plain_text)
        return ("" if spaced else " ") if text[-1] in SEPARATORS else ", "

    def _control(self, index: int) -> tuple[int, Span]:
        """Return where a span stands among all pieces, and the span."""
        found = [(at, piece) for at, piece in enumerate(self.spans) if isinstance(piece, Span)]
        if isinstance(index, bool) or not isinstance(index, int) or not -len(found) <= index < len(found):
            raise PromptValueError(f"there is no span {quote(index)}: this prompt has {len(found)} spans")
        return found[index]

    def __str__(self) -> str:
        return "".join(escape_plain(piece) if isinstance(piece, str) else str(piece) for piece in self.spans)

    def __repr__(self) -> str:
        return f"DFPrompt({list(self.spans)!r})"


def _numbers(value: object, key: str, lengths: Set[int]) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or len(value) not in lengths:
        wanted = " or ".join(map(str, sorted(lengths)))
        raise PromptValueError(f'"{key}" of a span must hold {wanted} numbers, not {quote(value)}')
    return value


def _merge(spans: Iterable[str | Span]) -> list[str | Span]:
    """Join neighbouring plain pieces; linear however many there are."""
    merged: list[str | Span] = []
    plain: list[str] = []
    for piece in spans:
        if isinstance(piece, str):
            plain.append(piece)
        elif isinstance(piece, Span):
            merged += _flush(plain)
            merged.append(piece)
        else:
            raise PromptValueError(f"a prompt holds str and Span pieces, not {quote(piece)}")
    return merged + _flush(plain)


def _flush(plain: list[str]) -> list[str | Span]:
    text = "".join(plain)
    plain.clear()
    return [text] if text else []
