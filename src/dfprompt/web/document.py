"""A prompt's text as a page shows it: its stretches, one bar per bracket, the text of each step.

Everything is read by the language's own parser and planner here; the page only moves numbers. Offsets that
come from a page count UTF-16 units, as browsers do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from dfprompt.errors import InputError, ParseError
from dfprompt.excerpt import quote
from dfprompt.prompt import DFPrompt, EffectRange, Plan, Span, Weight, editing
from dfprompt.prompt.bars import Bar, make_bars
from dfprompt.prompt.exact import format_decimal, to_json_number
from dfprompt.prompt.foreign_syntax import foreign_syntax_remarks
from dfprompt.prompt.formatter import explain_silence
from dfprompt.prompt.parser import Place, locate_pieces
from dfprompt.prompt.tags import explain_tag
from dfprompt.web.server import describe_error

PlanOf = Callable[[DFPrompt], Plan]
MOST_CHARACTERS = 20_000
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def read_text(values: Mapping[str, Any], key: str = "text") -> str:
    """Return a prompt's text from a request; raises InputError for none, or one beyond any encoder."""
    text = values.get(key)
    if not isinstance(text, str):
        raise InputError(f'"{key}" must be text, not {quote(text)}')
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the prompt has {len(text):,} characters, more than {MOST_CHARACTERS:,}")
    return text


def make_document(text: str, plan_of: PlanOf) -> dict[str, Any]:
    """Return what a page shows of a text; with an error of the parser, that and its corrections alone.

    `pieces` are the stretches of the text in order: joined they are the text. A bracket has three parts
    and the number of its bar. `bars` say when and how strongly, by step; `texts` and `step_texts` what is
    encoded at each step.
    """
    try:
        places = editing.places_of(text)
        if any(editing.goes_by_turns(text, place) for place in places):
            places = locate_pieces(text, plan_of(DFPrompt()).num_inference_steps)
    except ParseError as error:
        return {"text": text, "error": {**describe_error(error), **_marked(error)}}
    prompt = DFPrompt(piece for place in places for piece in place.pieces)
    plan = plan_of(prompt)
    brackets = editing.brackets_of(places)
    texts = list(dict.fromkeys(step.text for step in plan.steps))
    steps: dict[int, int] = {}
    for planned in plan.steps:
        steps.setdefault(planned.step, texts.index(planned.text))
    bars = _bars(text, brackets, plan)
    return {
        "text": text,
        "pieces": _pieces(text, places),
        "bars": bars,
        "plain": plain_words(text),
        "steps": plan.num_inference_steps,
        "first": plan.steps[0].step,
        "texts": texts,
        "step_texts": [steps.get(step) for step in range(plan.num_inference_steps)],
        "notes": _notes(text, prompt, plan),
    }


def plain_words(text: str) -> str:
    """Return the words outside brackets; those of a prompt that is brackets alone, all of its words.

    >>> plain_words("a cat, [snow:late]"), plain_words("[cat|dog]")
    ('a cat', 'cat')
    """
    prompt = DFPrompt(piece for place in editing.places_of(text) for piece in place.pieces)
    return editing.words_outside(prompt) or prompt.plain_text.strip()


def _marked(error: ParseError) -> dict[str, int]:
    """Where the error lies, in UTF-16 units."""
    start = _units(error.text[: error.offset])
    return {"start": start, "end": start + _units(error.text[error.offset : error.offset + error.length])}


def _units(text: str) -> int:
    return len(text) + len(_ASTRAL.findall(text))


def _pieces(text: str, places: tuple[Place, ...]) -> list[dict[str, Any]]:
    pieces: list[dict[str, Any]] = []
    bar = 0
    for place in places:
        if place.words is None:
            pieces.append({"text": text[place.start : place.end]})
            continue
        start, end = place.words
        parts = [text[place.start : start], text[start:end], text[end : place.end]]
        pieces.append({"text": "".join(parts), "parts": parts, "bar": bar})
        bar += 1
    return pieces


def _bars(text: str, brackets: list[Place], plan: Plan) -> list[dict[str, Any]]:
    """One bar per bracket, from the track of its first span; of words by turns from all of them."""
    shown = [bar for bar in make_bars(plan) if not bar.is_plain]
    bars, at = [], 0
    for place in brackets:
        spans = [piece for piece in place.pieces if isinstance(piece, Span)]
        tracks = plan.tracks[at : at + len(spans)]
        if editing.goes_by_turns(text, place):
            bars.append(_by_turns(text, place, [plan.steps_of(track) for track in tracks]))
        else:
            words = "".join(piece.text if isinstance(piece, Span) else piece for piece in place.pieces)
            bars.append(_bar(words.strip(), spans[0], shown[at], plan.steps_of(tracks[0])))
        at += len(spans)
    return bars


def _bar(words: str, span: Span, bar: Bar, acting: tuple[int, ...]) -> dict[str, Any]:
    levels = [None if level is None else float(level) for level in bar.levels] if span.weight.is_ramp else []
    return {
        "words": words,
        "range": str(span.effect_range),
        "weight": [to_json_number(span.weight.first), to_json_number(span.weight.last)],
        "when": bar.when,
        "first": acting[0] if acting else None,
        "stop": acting[-1] + 1 if acting else None,
        "tag": span.tag is not None,
        "levels": levels,
    }


def _by_turns(text: str, place: Place, turns: list[tuple[int, ...]]) -> dict[str, Any]:
    """The bar of an alternation: a word a step, at weight 1, with nothing to drag."""
    start, end = place.words or (0, 0)
    acting = sorted({step for steps in turns for step in steps})
    return {
        "words": text[start:end].strip(),
        "range": "full",
        "weight": [1, 1],
        "when": "a word a step, by turns",
        "levels": [],
        "first": acting[0] if acting else None,
        "stop": acting[-1] + 1 if acting else None,
        "tag": False,
        "turns": True,
    }


def _notes(text: str, prompt: DFPrompt, plan: Plan) -> list[str]:
    tags = [tag for span in prompt.tags if (tag := span.tag) is not None]
    silent = [span for span in plan.never_active if span.weight.first or span.weight.last]  # muted is meant
    return [
        *foreign_syntax_remarks(text, words_alone=not prompt.controls),
        *dict.fromkeys(explain_tag(tag) for tag in tags),
        *(explain_silence(plan, span) for span in silent),
    ]


def edit_text(text: str, change: Mapping[str, Any], plan_of: PlanOf) -> str:
    """Return a text with one change that a page asks for; raises InputError for what cannot be made.

    `do` is one of: range (bar, first, stop), weight (bar, weight: one or two), shift (start, end, by), wrap
    (start, end), remove (bar), move (bar, to), append (span).

    >>> from dfprompt.prompt import make_plan
    >>> edit_text("a [cat:full]", {"do": "range", "bar": 0, "first": 5, "stop": 10},
    ...           lambda prompt: make_plan(prompt, 10))
    'a [cat:late]'
    """
    if not isinstance(change, Mapping):
        raise InputError(f"a change is an object, not {quote(change)}")
    edit = _EDITS.get(str(change.get("do")))
    if edit is None:
        raise InputError(f"there is no change {quote(change.get('do'))}; use {', '.join(_EDITS)}")
    try:
        return edit(text, change, plan_of)
    except (KeyError, TypeError) as error:
        raise InputError(f"the change {quote(change.get('do'))} lacks {quote(str(error))}") from error


def _set_range(text: str, change: Mapping[str, Any], plan_of: PlanOf) -> str:
    steps = plan_of(DFPrompt()).steps  # every prompt has the steps of the run
    return editing.set_control(text, change["bar"], _snapped(steps, change))


def _snapped(steps: Any, change: Mapping[str, Any]) -> EffectRange:
    first, stop = change["first"], change["stop"]
    if not (isinstance(first, int) and isinstance(stop, int)):
        raise InputError(f"steps are whole numbers, not {quote(first)} and {quote(stop)}")
    return editing.snap_range(steps, first, stop)


def _set_weight(text: str, change: Mapping[str, Any], plan_of: PlanOf) -> str:
    ends = change["weight"]
    weight = Weight(*(_number(end) for end in ends)) if isinstance(ends, list) else Weight(_number(ends))
    return editing.set_control(text, change["bar"], weight=weight)


def _number(value: Any) -> Decimal | Any:
    """Return a number as a page has it, to a hundredth: bars are dragged by pixels."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1000:
        return value
    return Decimal(format_decimal(round(Decimal(repr(value)), 2)))


def _shift(text: str, change: Mapping[str, Any], plan_of: PlanOf) -> str:
    start, end = _selection(text, change)
    number = editing.bracket_at(text, start, end)
    if number is None:
        text, number = editing.wrap(text, start, end)
    place = editing.brackets_of(editing.places_of(text))[number]
    weight = next(piece for piece in place.pieces if isinstance(piece, Span)).weight
    return editing.set_control(text, number, weight=editing.shift_weight(weight, _number(change["by"])))


def _wrap(text: str, change: Mapping[str, Any], plan_of: PlanOf) -> str:
    return editing.wrap(text, *_selection(text, change))[0]


def _append(text: str, change: Mapping[str, Any], plan_of: PlanOf) -> str:
    places = editing.places_of(read_text(change, "span"))
    span = places[0].pieces[0] if len(places) == 1 and len(places[0].pieces) == 1 else None
    if not isinstance(span, Span):
        raise InputError(f"{quote(change['span'])} is no span; write [words:RANGE:WEIGHT]")
    return editing.append(text, span)


def _selection(text: str, change: Mapping[str, Any]) -> tuple[int, int]:
    """Return a selection as offsets of characters."""
    start, end = change["start"], change["end"]
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= _units(text)):
        raise InputError(f"a selection lies within the text, not at {quote(start)} to {quote(end)}")
    units = text.encode("utf-16-le", "surrogatepass")
    before, inside = units[: 2 * start], units[2 * start : 2 * end]
    first = len(before.decode("utf-16-le", "surrogatepass"))
    return first, first + len(inside.decode("utf-16-le", "surrogatepass"))


_EDITS: dict[str, Callable[[str, Mapping[str, Any], PlanOf], str]] = {
    "range": _set_range,
    "weight": _set_weight,
    "shift": _shift,
    "wrap": _wrap,
    "remove": lambda text, change, plan_of: editing.remove(text, change["bar"]),
    "move": lambda text, change, plan_of: editing.reorder(text, change["bar"], change["to"]),
    "append": _append,
}
