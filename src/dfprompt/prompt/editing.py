"""Changes to a DF-Prompt's text that leave every other character as it was written.

What a person sees and drags are the brackets of a text; a bracket here has the number it has among them,
network tags included. Each function returns the whole new text, which parses.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from dfprompt.errors import InputError
from dfprompt.prompt.ast import DFPrompt, EffectRange, Span, Weight
from dfprompt.prompt.clocks import Evaluation
from dfprompt.prompt.effect import FULL, MAX_WEIGHT, MIN_WEIGHT, UNIT
from dfprompt.prompt.exact import MAX_PLACES, round_places
from dfprompt.prompt.layout import lay_out
from dfprompt.prompt.parser import Place, locate_pieces, read_back

_LEAST = Fraction(1, 10**MAX_PLACES)
_EDGES = " \t\r\n,;."


@lru_cache(maxsize=4)  # a text that is dragged at is changed again and again
def places_of(text: str) -> tuple[Place, ...]:
    """Return what every stretch of a text means, of words by turns the first alone.

    >>> [place.pieces for place in places_of("a [cat|dog]")]
    [('a ',), (Span('cat', EffectRange(1, 0), Weight(1)),)]
    """
    return locate_pieces(text, first_turn=True)


def goes_by_turns(text: str, place: Place) -> bool:
    """Return whether a place is an alternation, `[cat|dog]`, which has neither a range nor a weight."""
    return place.words is not None and place.words[1] == place.end - 1 and text[place.start] == "["


def words_outside(prompt: DFPrompt) -> str:
    """Return the words outside brackets; separators that the brackets leave go with them.

    >>> words_outside(read_back("a cat, [snow:late], asleep"))
    'a cat, asleep'
    """
    outside = [isinstance(piece, str) for piece in prompt.spans]
    return lay_out(prompt.words, outside).text.strip()


def brackets_of(places: Sequence[Place]) -> list[Place]:
    """Return the brackets and network tags among the places of a text."""
    return [place for place in places if place.words is not None]


def set_control(
    text: str, number: int, effect_range: EffectRange | None = None, weight: Weight | None = None
) -> str:
    """Return the text with another range or weight, or both, on one bracket.

    >>> set_control("a cat,  [snow: late]", 0, weight=Weight("1.2"))
    'a cat,  [snow:late:1.2]'
    """
    place = _bracket(text, number)
    if goes_by_turns(text, place):
        raise InputError(f"{text[place.start : place.end]} says a word a step, and has no range or weight")
    before = _span_of(place)
    span = Span(before.text, effect_range or before.effect_range, weight or before.weight)
    start, end = place.words or (0, 0)
    return f"{text[: place.start]}[{text[start:end]}{span.fields}]{text[place.end :]}"


def snap_range(evaluations: Sequence[Evaluation], first: int, stop: int) -> EffectRange:
    """Return the range that acts at the steps `first` to `stop` - 1 of a run, in as few digits as do it.

    Raises InputError for steps the run does not have.

    >>> from dfprompt.prompt.clocks import make_evaluations
    >>> str(snap_range(make_evaluations(10), 3, 7)), str(snap_range(make_evaluations(3), 1, 3))
    ('0.7->0.3', '0.67->0')
    """
    steps = sorted({evaluation.step for evaluation in evaluations})
    if not (steps and steps[0] <= first < stop <= steps[-1] + 1):
        raise InputError(f"the steps {first} to {stop} are none of this run; it has {len(steps)}")
    return EffectRange(_edge(evaluations, first), _edge(evaluations, stop))


def _edge(evaluations: Sequence[Evaluation], step: int) -> Decimal:
    """Return the number that parts a step from those before it."""
    before = [each.time_left for each in evaluations if each.step < step]
    after = [each.time_left for each in evaluations if each.step >= step]
    if not before:
        return Decimal(1)
    if not after:
        return Decimal(0)
    low, high = max(*after, _LEAST), min(before)  # an end of 0 would take a step with no time left along
    for places in range(2, MAX_PLACES + 1):
        edge = _ceiling(low, places)
        if edge < high:
            return edge
    return _ceiling(low, MAX_PLACES)


def _ceiling(number: Fraction, places: int) -> Decimal:
    scaled = number * 10**places
    return Decimal(-(-scaled.numerator // scaled.denominator)).scaleb(-places)


def shift_weight(weight: Weight, by: Decimal) -> Weight:
    """Return a weight, both ends of a ramp, raised or lowered within what a weight may be.

    >>> shift_weight(Weight("0.5", "1.5"), Decimal("-0.1"))
    Weight(0.4, 1.4)
    """
    low, high = Decimal(MIN_WEIGHT), Decimal(MAX_WEIGHT)
    return Weight(*(min(high, max(low, round_places(end + by))) for end in (weight.first, weight.last)))


def remove(text: str, number: int) -> str:
    """Return the text without a bracket; a separator left over goes with it.

    >>> remove("a cat, [snow:late], sharp", 0)
    'a cat, sharp'
    """
    places = places_of(text)
    gone = _bracket(text, number)
    written = [text[place.start : place.end] for place in places]
    return lay_out(written, [place != gone for place in places]).text


def reorder(text: str, number: int, to: int) -> str:
    """Return the text with a bracket in another one's place; those between move up, words stay.

    >>> reorder("[a:late], [b:early], [c:full]", 0, 2)
    '[b:early], [c:full], [a:late]'
    """
    places = places_of(text)
    _bracket(text, number), _bracket(text, to)
    written = [text[place.start : place.end] for place in brackets_of(places)]
    written.insert(to, written.pop(number))
    moved = iter(written)
    return "".join(text[p.start : p.end] if p.words is None else next(moved) for p in places)


def append(text: str, span: Span) -> str:
    """Return the text with one more span behind a separator.

    >>> append("a cat", Span("snow", "late"))
    'a cat, [snow:late]'
    """
    return f"{text}{DFPrompt(piece for place in places_of(text) for piece in place.pieces).separator}{span}"


def bracket_at(text: str, start: int, end: int) -> int | None:
    """Return the number of the bracket in which a selection lies; None where it lies in none."""
    for number, place in enumerate(brackets_of(places_of(text))):
        if place.start < end <= place.end or place.start <= start < place.end:
            return number if place.start <= start and end <= place.end else None
    return None


def wrap(text: str, start: int, end: int) -> tuple[str, int]:
    """Return the text with brackets around plain words, and the number of the new bracket.

    An empty selection takes the word it stands in. Raises InputError where no words are selected, or not
    plain words alone.

    >>> wrap("a red cat, asleep", 3, 3)
    ('a [red:full] cat, asleep', 0)
    """
    if start == end:
        while start > 0 and text[start - 1] not in _EDGES + "[]":
            start -= 1
        while end < len(text) and text[end] not in _EDGES + "[]":
            end += 1
    while start < end and text[start] in _EDGES:
        start += 1
    while end > start and text[end - 1] in _EDGES:
        end -= 1
    start -= _follows_a_backslash(text, start)  # escapes stay whole; a bare one would escape the bracket
    end += _follows_a_backslash(text, end) and text[end : end + 1] in tuple("[]:\\")
    places = places_of(text)
    inside = any(place.words is None and place.start <= start and end <= place.end for place in places)
    if start == end or not inside:
        raise InputError("select plain words, without a bracket among them, to give them a range or a weight")
    span = Span(read_back(text[start:end]).plain_text, FULL, UNIT)
    number = sum(place.end <= start for place in brackets_of(places))
    return f"{text[:start]}{span}{text[end:]}", number


def _follows_a_backslash(text: str, at: int) -> bool:
    """Whether the backslash before a place, if there is one, does not belong to another before it."""
    written = text[:at]
    return (len(written) - len(written.rstrip("\\"))) % 2 == 1


def _bracket(text: str, number: int) -> Place:
    found = brackets_of(places_of(text))
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(found):
        raise InputError(f"there is no bracket {number}: this prompt has {len(found)}")
    return found[number]


def _span_of(place: Place) -> Span:
    return next(piece for piece in place.pieces if isinstance(piece, Span))
