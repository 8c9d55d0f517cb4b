"""Edits of a prompt's text: what is not edited stays to the character, and every result parses."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dfprompt.errors import InputError, ParseError
from dfprompt.prompt import DFPrompt, Span, make_plan
from dfprompt.prompt.ast import Weight
from dfprompt.prompt.clocks import make_evaluations
from dfprompt.prompt.editing import (
    append,
    bracket_at,
    brackets_of,
    remove,
    reorder,
    set_control,
    shift_weight,
    snap_range,
    wrap,
)
from dfprompt.prompt.parser import locate_pieces, read_back
from prompt_strategies import prompts, texts, words
from property_profiles import examples

written = st.one_of(prompts.map(str), texts(60))


def located(text: str):
    try:
        return locate_pieces(text)
    except ParseError:
        assume(False)
        raise


@given(written)
def test_places_tile_the_text_and_mean_what_the_parser_reads(text: str) -> None:
    places = located(text)
    assert "".join(text[place.start : place.end] for place in places) == text
    assert [place.start for place in places[1:]] == [place.end for place in places[:-1]]
    assert DFPrompt(piece for place in places for piece in place.pieces) == read_back(text)


@given(written, st.data())
def test_a_drag_changes_one_bracket_and_lands_on_its_steps(text: str, data: st.DataObject) -> None:
    places = located(text)
    count = len(brackets_of(places))
    assume(count)
    number = data.draw(st.integers(0, count - 1))
    steps = data.draw(st.integers(1, 60))
    first = data.draw(st.integers(0, steps - 1))
    stop = data.draw(st.integers(first + 1, steps))
    weight = Weight(Decimal(data.draw(st.integers(1, 1000))).scaleb(-2))
    new = set_control(text, number, snap_range(make_evaluations(steps), first, stop), weight)
    after = locate_pieces(new)
    assert len(brackets_of(after)) == count
    for at, (old, now) in enumerate(zip(brackets_of(places), brackets_of(after), strict=True)):
        if at != number:
            assert text[old.start : old.end] == new[now.start : now.end]
    spans = [piece for piece in brackets_of(after)[number].pieces if isinstance(piece, Span)]
    before = [piece for piece in brackets_of(places)[number].pieces if isinstance(piece, Span)]
    assert [span.text for span in spans] == [span.text for span in before]
    plan = make_plan(DFPrompt(spans), steps)
    for track in plan.tracks:
        assert plan.steps_of(track) == tuple(range(first, stop))
        assert track.span.weight == weight


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=30, unique=True), st.data())
def test_ranges_snap_on_any_falling_clock(times: list[float], data: st.DataObject) -> None:
    evaluations = make_evaluations(len(times), clock="timestep", timesteps=sorted(times, reverse=True))
    left = [each.time_left for each in evaluations]
    assume(all(one - other > Fraction(1, 10**6) for one, other in itertools.pairwise(left)))
    first = data.draw(st.integers(0, len(times) - 1))
    stop = data.draw(st.integers(first + 1, len(times)))
    chosen = snap_range(evaluations, first, stop)
    acting = [each.step for each in evaluations if chosen.contains(each.time_left)]
    assert acting == list(range(first, stop))


@given(written, st.data())
def test_reordering_and_removing_leave_the_other_brackets(text: str, data: st.DataObject) -> None:
    brackets = brackets_of(located(text))
    assume(brackets)
    number, to = (data.draw(st.integers(0, len(brackets) - 1)) for _ in range(2))
    shown = [text[place.start : place.end] for place in brackets]
    moved = reorder(text, number, to)
    if number == to:
        assert moved == text
    expected = [*shown]
    expected.insert(to, expected.pop(number))
    assert [moved[place.start : place.end] for place in brackets_of(locate_pieces(moved))] == expected
    left = remove(text, number)
    del shown[number]
    assert [left[place.start : place.end] for place in brackets_of(locate_pieces(left))] == shown


@given(words, st.data())
def test_words_that_are_wrapped_stay_the_words_of_the_prompt(plain: str, data: st.DataObject) -> None:
    text = str(DFPrompt.from_plain(plain))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    try:
        new, number = wrap(text, start, end)
    except InputError:
        return
    assert number == 0
    assert read_back(new).plain_text == plain


@pytest.mark.parametrize(("start", "end"), [(3, 7), (2, 6), (3, 6)])
def test_a_selection_takes_escapes_whole(start: int, end: int) -> None:
    assert wrap(r"a \[b\] c", start, end) == (r"a [\[b\]:full] c", 0)
    assert read_back(wrap(r"a\\, b", 0, 2)[0]).plain_text == "a\\, b"


@given(prompts, st.builds(Span, words))
def test_a_modifier_is_appended_as_the_tree_appends_it(prompt: DFPrompt, span: Span) -> None:
    assert read_back(append(str(prompt), span)) == prompt.append(span)


def test_a_bracket_keeps_its_words_as_they_were_written() -> None:
    text = "a cat,  [ 12\\:30 : 0.5→0 :1.10] ; [<lora:fur:0.8> soft::2]"
    assert (
        set_control(text, 0, weight=Weight("1.2"))
        == "a cat,  [ 12\\:30 :late:1.2] ; [<lora:fur:0.8> soft::2]"
    )
    assert set_control("a <lora:fur:0.8>", 0, weight=Weight("0.5")) == "a [<lora:fur:0.8>::0.5]"


@pytest.mark.parametrize(
    ("text", "start", "end", "new"),
    [
        ("a red cat", 2, 5, "a [red:full] cat"),
        ("a red cat", 4, 4, "a [red:full] cat"),
        ("a red cat, asleep", 2, 11, "a [red cat:full], asleep"),
        ("at 12:30, [x:late]", 3, 8, "at [12\\:30:full], [x:late]"),
    ],
)
def test_selections_become_brackets(text: str, start: int, end: int, new: str) -> None:
    assert wrap(text, start, end)[0] == new


@pytest.mark.parametrize(("text", "start", "end"), [("a [red:late] cat", 0, 9), (", ,", 0, 3), ("", 0, 0)])
def test_selections_that_are_no_words_are_refused(text: str, start: int, end: int) -> None:
    with pytest.raises(InputError, match="select plain words"):
        wrap(text, start, end)


def test_a_selection_finds_its_bracket() -> None:
    text = "a [red:late] cat, [x:early]"
    assert [bracket_at(text, at, at) for at in (1, 2, 5, 11, 14, 20)] == [None, 0, 0, 0, None, 1]
    assert bracket_at(text, 3, 20) is None


def test_weights_stop_at_their_ends() -> None:
    assert shift_weight(Weight("9.95"), Decimal("0.1")) == Weight(10)
    assert shift_weight(Weight(-10, 1), Decimal("-0.1")) == Weight(-10, "0.9")


@pytest.mark.parametrize("number", [-1, 1, True, 0.5])
def test_a_bracket_that_is_not_there_is_named(number: object) -> None:
    with pytest.raises(InputError, match="no bracket"):
        set_control("[x:late]", number)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="steps"):
        snap_range(make_evaluations(4), 2, 2)


@pytest.mark.nightly
@pytest.mark.timeout(3000)
@settings(max_examples=examples(10_000))
@given(prompts.map(str), st.data())
def test_ten_thousand_prompts(text: str, data: st.DataObject) -> None:
    places = locate_pieces(text)
    assert "".join(text[place.start : place.end] for place in places) == text
    if brackets_of(places):
        test_a_drag_changes_one_bracket_and_lands_on_its_steps.hypothesis.inner_test(text, data)
