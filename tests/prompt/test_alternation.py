"""`[a|b]` at known steps: one text per step by turns, as spans, and never more of them than allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ParseError, PromptValueError
from dfprompt.prompt import DFPrompt, format_prompt, make_plan, parse_prompt
from dfprompt.prompt.dialects import convert_prompt

pytestmark = pytest.mark.filterwarnings("ignore::dfprompt.errors.DFPromptWarning")


@given(st.lists(st.text("abc 猫", max_size=4), min_size=2, max_size=5), st.integers(1, 60))
def test_step_i_says_entry_i_modulo_their_number(entries: list[str], steps: int) -> None:
    text = f"x[{'|'.join(entries)}]y"
    shown = [
        entries[step % len(entries)] if entries[step % len(entries)].strip() else "" for step in range(steps)
    ]
    if not any(shown):
        with pytest.raises(ParseError, match="holds no words"):
            parse_prompt(text, num_inference_steps=steps)
        return
    prompt = parse_prompt(text, num_inference_steps=steps)
    assert [step.text for step in make_plan(prompt, steps).steps] == [f"x{words}y" for words in shown]
    assert parse_prompt(format_prompt(prompt)) == prompt


def test_escapes_and_tags_stay_what_they_are() -> None:
    prompt = parse_prompt(r"[a\:b|<lora:x|y:0.5>|c\]]", num_inference_steps=3)
    assert [span.text for span in prompt.controls] == ["a:b", "<lora:x|y:0.5>", "c]"]
    assert [span.tag is not None for span in prompt.controls] == [False, True, False]


def test_a_range_makes_the_bar_a_word() -> None:
    assert parse_prompt("[a|b:late]", num_inference_steps=4) == parse_prompt("[a|b:late]")


def test_without_steps_it_is_refused_with_what_is_missing() -> None:
    with pytest.raises(ParseError, match=r"--steps 20"):
        parse_prompt("[a|b]")


@pytest.mark.parametrize("steps", [0, -1, 10_001, True, 2.5])
def test_a_number_of_steps_that_no_run_has_is_refused(steps: object) -> None:
    with pytest.raises(PromptValueError, match="number of steps"):
        parse_prompt("[a|b]", num_inference_steps=steps)  # type: ignore[arg-type]


@pytest.mark.nightly
def test_there_is_a_limit_to_the_turns_of_one_prompt() -> None:
    assert len(parse_prompt("[a|b]" * 2, num_inference_steps=10_000).controls) == 20_000
    with pytest.raises(ParseError, match="more than 20,000 turns"):
        parse_prompt("[a|b]" * 3, num_inference_steps=10_000)


def test_it_is_written_for_another_tool_step_by_step() -> None:
    written = convert_prompt("a [cat|dog]", "native", "a1111", 4)
    read = convert_prompt(written.text, "a1111", "native", 4).prompt
    ours = parse_prompt("a [cat|dog]", num_inference_steps=4)
    assert isinstance(read, DFPrompt)
    # A1111 cannot switch after one step, and that is said.
    assert "after one step" in "".join(written.lost)
    assert make_plan(read, 4).steps[2].text == make_plan(ours, 4).steps[2].text == "a cat"
