"""What a page shows of a text is the text, the plan is the planner's, and every change parses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dfprompt.errors import InputError, ParseError
from dfprompt.prompt import DFPrompt, Plan, make_plan
from dfprompt.prompt.parser import read_back
from dfprompt.web.document import MOST_CHARACTERS, edit_text, make_document, plain_words, read_text
from prompt_strategies import prompts, texts
from property_profiles import examples

written = st.one_of(prompts.map(str), texts(80))
CLOCKS = st.one_of(
    st.builds(lambda n: {"num_inference_steps": n}, st.integers(1, 40)),
    st.builds(
        lambda times: {
            "num_inference_steps": len(times),
            "clock": "timestep",
            "timesteps": sorted(times, reverse=True),
        },
        st.lists(st.integers(1, 999), min_size=1, max_size=20, unique=True),
    ),
)


def units(text: str) -> int:
    """The length that a browser counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def check(text: str, run: dict[str, Any], data: st.DataObject) -> None:
    def plan_of(prompt: DFPrompt) -> Plan:
        return make_plan(prompt, **run)

    shown = json.loads(json.dumps(make_document(text, plan_of)))
    if "error" in shown:
        with pytest.raises(ParseError):
            read_back(text, run["num_inference_steps"])
        for fix in shown["error"]["fixes"]:
            make_document(fix["text"], plan_of)
        return
    assert "".join(piece["text"] for piece in shown["pieces"]) == text
    parted = [piece for piece in shown["pieces"] if "parts" in piece]
    assert ["".join(piece["parts"]) for piece in parted] == [piece["text"] for piece in parted]
    assert [piece["bar"] for piece in parted] == list(range(len(shown["bars"])))
    plan = plan_of(read_back(text, run["num_inference_steps"]))
    first = {planned.step: planned.text for planned in reversed(plan.steps)}
    assert [shown["texts"][at] for at in shown["step_texts"]] == [
        first[step] for step in range(shown["steps"])
    ]
    if not shown["bars"]:
        return
    number = data.draw(st.integers(0, len(shown["bars"]) - 1))
    start = data.draw(st.integers(0, shown["steps"] - 1))
    stop = data.draw(st.integers(start + 1, shown["steps"]))
    if shown["bars"][number].get("turns"):
        with pytest.raises(InputError, match="no range or weight"):
            edit_text(text, {"do": "range", "bar": number, "first": start, "stop": stop}, plan_of)
        for change in ({"do": "remove"}, {"do": "move", "to": 0}):
            assert "error" not in make_document(edit_text(text, {"bar": number, **change}, plan_of), plan_of)
        return
    moved = edit_text(text, {"do": "range", "bar": number, "first": start, "stop": stop}, plan_of)
    bar = make_document(moved, plan_of)["bars"][number]
    muted = bar["weight"][0] == 0 or bar["weight"][1] == 0
    assert muted or bar["tag"] or (bar["first"], bar["stop"]) == (start, stop)
    weight = data.draw(st.sampled_from([0, 0.35, 1, 1.1, [0.5, 1.5], -1, 10]))
    weighed = make_document(
        edit_text(moved, {"do": "weight", "bar": number, "weight": weight}, plan_of), plan_of
    )
    assert weighed["bars"][number]["weight"] == (weight if isinstance(weight, list) else [weight, weight])
    for change in ({"do": "remove"}, {"do": "move", "to": 0}):
        assert "error" not in make_document(edit_text(moved, {"bar": number, **change}, plan_of), plan_of)


@given(written, CLOCKS, st.data())
def test_text_and_bars_agree(text: str, run: dict[str, Any], data: st.DataObject) -> None:
    check(text, run, data)


TURNS = st.lists(st.sampled_from(["cat", "dog ", "", "<lora:x:1>", "a\\:b", "😀"]), min_size=2, max_size=5)


@given(
    st.lists(st.one_of(TURNS.map(lambda words: f"[{'|'.join(words)}]"), prompts.map(str))), CLOCKS, st.data()
)
def test_words_by_turns_are_bars_too(pieces: list[str], run: dict[str, Any], data: st.DataObject) -> None:
    check(", ".join(pieces), run, data)


def test_words_by_turns_are_shown_and_kept() -> None:
    shown = make_document("a [red|blue] house, [snow:late]", lambda prompt: make_plan(prompt, 4))
    assert [bar["words"] for bar in shown["bars"]] == ["red|blue", "snow"]
    assert (shown["bars"][0]["turns"], shown["bars"][0]["first"], shown["bars"][0]["stop"]) == (True, 0, 4)
    assert [shown["texts"][at] for at in shown["step_texts"]] == [
        "a red house",
        "a blue house",
        "a red house, snow",
        "a blue house, snow",
    ]
    change = {"do": "range", "bar": 1, "first": 0, "stop": 4}
    assert edit_text("[a|b], [snow:late]", change, ten) == "[a|b], [snow:1->0.6]"
    assert edit_text("[a|b], c", {"do": "shift", "start": 7, "end": 8, "by": 0.1}, ten) == "[a|b], [c::1.1]"
    assert plain_words("[cat|dog]") == "cat"


@pytest.mark.nightly
@pytest.mark.timeout(3000)
@settings(max_examples=examples(10_000))
@given(prompts.map(str), CLOCKS, st.data())
def test_text_and_bars_agree_for_ten_thousand_prompts(text: str, run: Any, data: st.DataObject) -> None:
    check(text, run, data)


def ten(prompt: DFPrompt) -> Plan:
    return make_plan(prompt, 10)


@given(written, st.data())
def test_the_weight_of_a_selection_rises(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, units(text)))
    end = data.draw(st.integers(start, units(text)))
    try:
        before = read_back(text)
        new = edit_text(text, {"do": "shift", "start": start, "end": end, "by": 0.1}, ten)
    except InputError:
        assume(False)
    after = read_back(new)
    assert abs(len(after.controls) - len(before.controls)) <= 1


def test_selections_count_as_browsers_do() -> None:
    text = "a 😀 cat, [snow 😀:late]"
    assert (
        edit_text(text, {"do": "shift", "start": 5, "end": 8, "by": 0.1}, ten)
        == "a 😀 [cat::1.1], [snow 😀:late]"
    )
    wrong = make_document("😀 [x:0-1]", ten)["error"]
    assert (wrong["start"], wrong["end"]) == (6, 9)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"do": "burn"},
        {"do": "range", "bar": 0},
        {"do": "range", "bar": 9, "first": 0, "stop": 1},
        {"do": "range", "bar": 0, "first": 3, "stop": 3},
        {"do": "range", "bar": 0, "first": "a", "stop": 3},
        {"do": "weight", "bar": 0, "weight": 11},
        {"do": "weight", "bar": 0, "weight": "much"},
        {"do": "weight", "bar": 0, "weight": []},
        {"do": "weight", "bar": 0, "weight": [1, 2, 3]},
        {"do": "weight", "bar": 0, "weight": float("nan")},
        {"do": "shift", "start": 0, "end": 99, "by": 0.1},
        {"do": "shift", "start": 0, "end": 1, "by": None},
        {"do": "append", "span": "no span"},
        {"do": "append", "span": ""},
        {"do": "append", "span": "[a:late][b:late]"},
        {"do": "move", "bar": 0, "to": 5},
        {"do": "remove", "bar": None},
    ],
)
def test_changes_that_cannot_be_made_are_refused_in_words(change: dict[str, Any]) -> None:
    with pytest.raises(InputError) as told:
        edit_text("a cat, [snow:late]", change, ten)
    assert "Traceback" not in str(told.value)


def test_texts_have_a_limit() -> None:
    with pytest.raises(InputError, match="more than"):
        read_text({"text": "x" * (MOST_CHARACTERS + 1)})
    with pytest.raises(InputError, match="must be text"):
        read_text({"text": 1})


def test_plain_words_are_those_outside_brackets() -> None:
    assert plain_words("a cat, [snow:late], [x:early]") == "a cat"
    assert plain_words("[snow:late], [fog:early]") == "snow, fog"
    assert plain_words("") == ""


def test_notes_name_what_surprises() -> None:
    notes = make_document("(snow:1.2), [x:0.01->0], <lora:fur:1>, [y:late:0]", ten)["notes"]
    assert len(notes) == 3
    assert "emphasis" in notes[0]
    assert "network tag" in notes[1]
    assert "none of the 10 steps" in notes[2]
