"""The tree: pieces merge, values are checked, equal prompts are equal, edits are small."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import PromptValueError
from dfprompt.prompt import DFPrompt, EffectRange, Span, Weight
from prompt_strategies import prompts, spans, texts, words


def test_plain_pieces_merge_and_empty_ones_vanish() -> None:
    grain = Span("grain", "late")
    assert DFPrompt(["a", "", " cat", grain, "", grain, "x", "y"]).spans == ("a cat", grain, grain, "xy")
    assert DFPrompt(["", ""]) == DFPrompt()
    assert DFPrompt([]).spans == ()


def test_a_neutral_span_stays_a_span_and_is_no_control() -> None:
    prompt = DFPrompt(["a ", Span("cat")])
    assert prompt.spans == ("a ", Span("cat"))
    assert prompt != DFPrompt(["a cat"])
    assert prompt.is_plain
    assert not DFPrompt([Span("cat", "full", 2)]).is_plain
    assert not DFPrompt([Span("cat", "late")]).is_plain


@given(prompts)
def test_equal_prompts_hash_alike_and_survive_copies(prompt: DFPrompt) -> None:
    for twin in (pickle.loads(pickle.dumps(prompt)), copy.deepcopy(prompt), DFPrompt(prompt.spans)):
        assert twin == prompt
        assert hash(twin) == hash(prompt)


@given(prompts)
def test_repr_evaluates_to_an_equal_prompt(prompt: DFPrompt) -> None:
    names = {"DFPrompt": DFPrompt, "Span": Span, "EffectRange": EffectRange, "Weight": Weight}
    assert eval(repr(prompt), names) == prompt


def test_nothing_can_be_changed_in_place() -> None:
    span = Span("cat")
    with pytest.raises(AttributeError):
        span.text = "dog"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        DFPrompt().spans = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Span(""), "must hold words"),
        (lambda: Span(" \n"), "must hold words"),
        (lambda: Span(3), "must be a string"),
        (lambda: Span("x", "soon"), "early, late, full"),
        (lambda: Span("x", None), "early, late, full"),
        (lambda: Span("x", "full", 11), "between -10 and 10"),
        (lambda: DFPrompt([3]), "holds str and Span"),
        (lambda: DFPrompt.from_json("{"), "not JSON"),
        (lambda: DFPrompt.from_json("[" * 100_000), "not JSON"),
        (lambda: DFPrompt.from_json('{"dfprompt": 1, "spans": [NaN]}'), "not JSON"),
        (lambda: DFPrompt.from_json({"dfprompt": 2, "spans": []}), "another version"),
        (lambda: DFPrompt.from_json({"spans": []}), 'lacks "dfprompt"'),
        (lambda: DFPrompt.from_json({"dfprompt": 1, "spans": [], "seed": 1}), 'unknown "seed"'),
        (lambda: DFPrompt.from_json({"dfprompt": 1, "spans": "x"}), "must be a list"),
        (lambda: DFPrompt.from_json({"dfprompt": 1, "spans": [[]]}), "must be a JSON object"),
        (lambda: DFPrompt.from_json({"dfprompt": 1, "spans": [{"text": "x", "range": [1]}]}), "2 numbers"),
        (
            lambda: DFPrompt.from_json({"dfprompt": 1, "spans": [{"text": "x", "weight": [1, 2, 3]}]}),
            "1 or 2",
        ),
        (
            lambda: DFPrompt.from_json({"dfprompt": 1, "spans": [{"text": "x", "weight": True}]}),
            "must be a number",
        ),
        (lambda: DFPrompt.from_json({"dfprompt": 1, "spans": [{"text": "x", "weight": 1e-7}]}), "6 decimal"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: object, problem: str) -> None:
    with pytest.raises(PromptValueError, match=problem):
        make()  # type: ignore[operator]


@given(prompts)
def test_json_round_trip_as_object_and_as_text(prompt: DFPrompt) -> None:
    import json

    assert DFPrompt.from_json(prompt.to_json()) == prompt
    assert DFPrompt.from_json(json.dumps(prompt.to_json())) == prompt


def test_json_form_is_the_documented_one() -> None:
    prompt = DFPrompt(["a cat, ", Span("neon", EffectRange("0.7", "0.3"), Weight("0.5", "1.5"))])
    assert prompt.to_json() == {
        "dfprompt": 1,
        "spans": ["a cat, ", {"text": "neon", "range": [0.7, 0.3], "weight": [0.5, 1.5]}],
    }
    assert DFPrompt.from_json({"dfprompt": 1, "spans": [{"text": "cat"}]}).spans == (Span("cat"),)


@given(texts())
def test_from_plain_takes_every_character_as_a_word(text: str) -> None:
    assert DFPrompt.from_plain(text).plain_text == text
    assert DFPrompt.from_plain(text).is_plain


@given(prompts, spans)
def test_edits_change_one_span_and_leave_the_words(prompt: DFPrompt, other: Span) -> None:
    for index, span in enumerate(prompt.controls):
        heavier = prompt.with_weight(index, other.weight)
        moved = prompt.with_range(index, other.effect_range)
        assert heavier.plain_text == moved.plain_text == prompt.plain_text
        assert heavier.controls[index] == Span(span.text, span.effect_range, other.weight)
        assert moved.controls[index] == Span(span.text, other.effect_range, span.weight)
        assert heavier.with_weight(index, span.weight) == prompt


def test_without_takes_one_separator_along() -> None:
    prompt = DFPrompt(["a cat, ", Span("snow"), ", ", Span("grain", "late"), ", sharp"])
    assert str(prompt.without(0)) == "a cat, [grain:late], sharp"
    assert str(prompt.without(1)) == "a cat, [snow:full], sharp"
    assert str(prompt.without(-1)) == str(prompt.without(1))
    assert str(prompt.without(0).without(0)) == "a cat, sharp"
    assert DFPrompt([Span("x")]).without(0) == DFPrompt()
    assert DFPrompt([Span("a,"), Span("x"), ", b"]).without(1) == DFPrompt([Span("a,"), " b"])


@pytest.mark.parametrize("index", [2, -3, True, "0"])
def test_editing_a_span_that_is_not_there(index: object) -> None:
    prompt = DFPrompt([Span("x"), Span("y")])
    with pytest.raises(PromptValueError, match="2 spans"):
        prompt.without(index)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a cat", "a cat, grain"),
        ("a cat.", "a cat. grain"),
        ("a cat, ", "a cat, grain"),
        ("", "grain"),
        ("  ", "  grain"),
    ],
)
def test_append_adds_the_separator_that_is_missing(before: str, after: str) -> None:
    assert DFPrompt.from_plain(before).append("grain").plain_text == after
    assert DFPrompt.from_plain(before).append(Span("grain", "late")).plain_text == after


@given(prompts, words, st.data())
def test_append_then_without_gives_the_prompt_back(prompt: DFPrompt, text: str, data: st.DataObject) -> None:
    if not prompt.plain_text.strip() or prompt.plain_text.rstrip()[-1] in ",;.":
        return
    longer = prompt.append(Span(text, "late"))
    assert longer.plain_text.startswith(prompt.plain_text)
    shorter = longer.without(-1)
    assert shorter.plain_text == prompt.plain_text.rstrip()
