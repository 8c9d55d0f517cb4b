"""What went wrong in a bracket, told with the place, the expectation and corrections that parse."""

from __future__ import annotations

from dfprompt.errors import Fix, ParseError
from dfprompt.prompt.effect import EffectRange
from dfprompt.prompt.exact import complement, format_decimal, round_places
from dfprompt.prompt.field_errors import (
    RANGE_EXPECTED,
    WEIGHT_EXPECTED,
    Reading,
    explain_range,
    explain_weight,
)
from dfprompt.prompt.fields import (
    Bracket,
    fields_mean_span,
    read_number,
    read_range,
    read_weight,
    split_arrow,
)

BRACKET_EXPECTED = "[words:RANGE], [words:RANGE:WEIGHT] or [words::WEIGHT]; \\[ for a literal bracket"
_ENDS_OF_A_FIELD = ",;\n"


def stray_close(text: str, at: int) -> ParseError:
    """A `]` outside brackets."""
    return ParseError(
        "nothing is open that this ] could close",
        text=text,
        offset=at,
        expected="[words:RANGE:WEIGHT], or \\] for a literal bracket",
        fixes=(Fix(at, at + 1, "\\]", "a literal bracket"),),
    )


def nested(bracket: Bracket) -> ParseError:
    """A `[` inside a bracket; `bracket.close` is its offset."""
    return ParseError(
        "a bracket inside a bracket",
        text=bracket.text,
        offset=bracket.close,
        expected="] before the next [; spans do not nest",
        fixes=_close_early(bracket),
        suggestion="write one span after the other, or \\[ for a literal bracket; "
        "a prompt from AUTOMATIC1111 is read with the dialect a1111",
    )


def unclosed(bracket: Bracket) -> ParseError:
    """A bracket that reaches the end of the text, `bracket.close`."""
    literal = Fix(bracket.start, bracket.start + 1, "\\[", "a literal bracket")
    return ParseError(
        "this bracket is never closed",
        text=bracket.text,
        offset=bracket.start,
        expected="]",
        fixes=(*_close_early(bracket), literal),
    )


def field_count(bracket: Bracket) -> ParseError:
    """One field, or more than three."""
    fields = bracket.fields
    if len(fields) == 1:
        alternates = "|" in fields[0]
        problem = "this bracket has words but neither a range nor a weight"
        advice = (
            "alternation needs the number of steps (--steps 20, num_inference_steps=20)"
            if alternates
            else None
        )
        fixes = (
            ()
            if alternates or not fields[0].strip()
            else _fixes(bracket, [(f"[{fields[0]}:full]", "a span")])
        )
    else:
        problem = f"this bracket has {len(fields)} fields"
        advice = "the colons of the words are written \\:"
        fixes = _escape_colons(bracket)
        if "," in fields[-1]:
            advice += "; ComfyUI prompt control is read with the dialect comfyui"
    return ParseError(
        problem,
        text=bracket.text,
        offset=bracket.start,
        length=len(bracket.raw),
        expected=BRACKET_EXPECTED,
        fixes=(*fixes, _literal(bracket)),
        suggestion=advice,
    )


def too_many_turns(bracket: Bracket, most: int) -> ParseError:
    """Alternation over more steps than one prompt may take."""
    return ParseError(
        f"the alternations of this prompt take more than {most:,} turns",
        text=bracket.text,
        offset=bracket.start,
        length=len(bracket.raw),
        expected="fewer of them, or fewer steps",
        suggestion="give each word its own range",
    )


def no_words(bracket: Bracket) -> ParseError:
    """A bracket whose first field is empty or blank."""
    fields = bracket.fields
    fixes: tuple[Fix, ...] = ()
    if len(fields) == 3 and fields[1].strip():
        when = read_number(fields[2])
        if when is not None and 0 <= round_places(when) < 1:
            left = EffectRange(complement(round_places(when)), 0)
            fixes = _fixes(bracket, [(f"[{fields[1]}:{left}]", "as AUTOMATIC1111 reads it: from there on")])
    return ParseError(
        "this bracket holds no words",
        text=bracket.text,
        offset=bracket.start,
        length=len(bracket.raw),
        expected="words before the first colon",
        fixes=(*fixes, _literal(bracket)),
    )


def bad_range(bracket: Bracket) -> ParseError:
    """A second field that is no range."""
    reading = explain_range(bracket.fields[1])
    weight = bracket.fields[2:]
    if weight and read_weight(weight[0]) is None:
        weight = ()  # a correction has to be right as a whole
        if read_number(bracket.fields[1]) is not None:  # nor is it AUTOMATIC1111's [x:0.5] any more
            reading = reading._replace(corrections=())
    corrected = _replace(bracket, 1, reading, weight)
    swapped = _swapped(bracket)
    # A single number is more often a weight than AUTOMATIC1111's start; two numbers are a range.
    ordered = [*corrected, *swapped] if split_arrow(bracket.fields[1]) else [*swapped, *corrected]
    brackets = [*_emphasis(bracket), *ordered, *_switch(bracket)]
    return _field_error(bracket, 1, reading, brackets, RANGE_EXPECTED)


def bad_weight(bracket: Bracket) -> ParseError:
    """A third field that is no weight."""
    reading = explain_weight(bracket.fields[2])
    return _field_error(bracket, 2, reading, _replace(bracket, 2, reading, ()), WEIGHT_EXPECTED)


def _field_error(
    bracket: Bracket, index: int, reading: Reading, brackets: list[tuple[str, str]], expected: str
) -> ParseError:
    field = bracket.fields[index]
    stripped = field.strip()
    fixes = _fixes(bracket, brackets)
    return ParseError(
        reading.problem,
        text=bracket.text,
        offset=bracket.colons[index - 1] + 1 + (field.index(stripped) if stripped else 0),
        length=max(1, len(stripped)),
        expected=expected,
        fixes=fixes if reading.corrections else (*fixes, _literal(bracket)),
        suggestion=reading.advice,
    )


def _replace(bracket: Bracket, index: int, reading: Reading, rest: tuple[str, ...]) -> list[tuple[str, str]]:
    """Put each corrected field into the bracket."""
    before = bracket.fields[:index]
    return [(f"[{':'.join((*before, new, *rest))}]", note) for new, note in reading.corrections]


def _swapped(bracket: Bracket) -> list[tuple[str, str]]:
    """A weight in the range's place."""
    words, field, *rest = bracket.fields
    if not field.strip() or read_weight(field) is None:
        return []
    if not rest:
        number = read_number(field)
        # Below 1 it is where other tools begin or end, and nobody's weight.
        return [] if number is not None and 0 < number < 1 else [(f"[{words}::{field}]", "as a weight")]
    swapped = rest[0].strip() and read_range(rest[0]) is not None
    return [(f"[{words}:{rest[0]}:{field}]", "range before weight")] if swapped else []


def _emphasis(bracket: Bracket) -> list[tuple[str, str]]:
    """AUTOMATIC1111's emphasis in a bracket, [(x:1.2):early]."""
    words, field, *rest = bracket.fields
    inside, end = words.strip(), field.strip()
    if not rest or not rest[0].strip() or not inside.startswith("(") or not end.endswith(")"):
        return []
    if not inside[1:].strip() or read_weight(end[:-1]) is None or read_range(rest[0]) is None:
        return []
    return [(f"[{inside[1:]}:{rest[0]}:{end[:-1]}]", "the weight comes last")]


def _switch(bracket: Bracket) -> list[tuple[str, str]]:
    """AUTOMATIC1111's [a:b:when]: a until then, b from there on."""
    if len(bracket.fields) != 3:
        return []
    before, after, field = bracket.fields
    when = read_number(field)
    if when is None or not after.strip() or not 0 < when < 1 or read_weight(after) is not None:
        return []
    switch = complement(round_places(when))
    if not 0 < switch < 1:
        return []
    left = format_decimal(switch)
    return [(f"[{before}:1->{left}][{after}:{left}->0]", "first one, then the other, as in AUTOMATIC1111")]


def _fixes(bracket: Bracket, brackets: list[tuple[str, str]]) -> tuple[Fix, ...]:
    unique = dict(reversed(brackets))  # of equal corrections the first note stays
    kept = [text for text, _ in brackets]
    return tuple(Fix(bracket.start, bracket.close + 1, text, unique[text]) for text in dict.fromkeys(kept))


def _literal(bracket: Bracket) -> Fix:
    inner = bracket.text[bracket.start + 1 : bracket.close]
    return Fix(bracket.start, bracket.close + 1, f"\\[{inner}\\]", "plain words in literal brackets")


def _escape_colons(bracket: Bracket) -> tuple[Fix, ...]:
    """Read the last one or two fields as control, and every colon before them as text."""
    fields = bracket.fields
    for count in (2, 1):
        words, control = "\\:".join(fields[:-count]), fields[-count:]
        if words.strip() and fields_mean_span(control):
            return _fixes(bracket, [(f"[{words}:{':'.join(control)}]", "colons as part of the words")])
    return ()


def _close_early(bracket: Bracket) -> tuple[Fix, ...]:
    """Close a bracket where its last field stops making sense as one."""
    fields = bracket.fields
    if len(fields) not in (2, 3) or not fields[0].strip():
        return ()
    last = fields[-1]
    cut = min((at for at in map(last.find, _ENDS_OF_A_FIELD) if at >= 0), default=len(last))
    head = last[:cut].rstrip()
    if not fields_mean_span((*fields[1:-1], head)):
        return ()
    end = bracket.colons[-1] + 1 + len(head)
    return (Fix(bracket.start, end, bracket.text[bracket.start : end] + "]", "closed here"),)
