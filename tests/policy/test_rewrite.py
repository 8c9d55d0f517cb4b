"""From modifiers to a DF-Prompt: hand-written forms, and the user's text at the front of every step."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import DFPromptWarning
from dfprompt.policy.rewrite import Rewrite, append_modifiers
from dfprompt.prompt import DFPrompt, Span, format_prompt, make_plan, parse_prompt

GRAIN = Span("film grain", "late", "1.25")
BOKEH = Span("bokeh", "early")
SHARP = Span("sharp")


@pytest.mark.parametrize(
    ("text", "modifiers", "written"),
    [
        ("a cat", [GRAIN], "a cat, [film grain:late:1.25]"),
        ("a cat", [SHARP, GRAIN], "a cat, sharp, [film grain:late:1.25]"),
        ("a cat", [], "a cat"),
        ("a cat,", [SHARP], "a cat, sharp"),
        ("a cat, ", [SHARP], "a cat, sharp"),
        ("a cat,", [GRAIN], "a cat, [film grain:late:1.25]"),
        ("a cat, ", [GRAIN, BOKEH], "a cat, [film grain:late:1.25], [bokeh:early]"),
        ("猫。", [BOKEH], "猫。, [bokeh:early]"),
        ("猫、", [BOKEH], "猫、 [bokeh:early]"),
        ("A cat sits.", [SHARP, BOKEH], "A cat sits. sharp, [bokeh:early]"),
        ("A cat sits.", [BOKEH], "A cat sits., [bokeh:early]"),  # late, the comma goes and the stop stays
        ("a cat ", [SHARP], "a cat , sharp"),
        ("", [SHARP, BOKEH], "sharp, [bokeh:early]"),
        ("[sic]", [BOKEH], r"\[sic\], [bokeh:early]"),
    ],
)
def test_the_written_form(text: str, modifiers: list[Span], written: str) -> None:
    assert str(append_modifiers(DFPrompt.from_plain(text), modifiers)) == written


def test_spans_already_written_stay() -> None:
    base = parse_prompt("a cat, [snow:early]")
    assert str(append_modifiers(base, [GRAIN])) == "a cat, [snow:early], [film grain:late:1.25]"


WORDS = st.text(alphabet="abc d-é'/:[]\\", min_size=1, max_size=8).map(lambda text: text.strip(" ,.;"))
SPANS = st.builds(
    Span, WORDS.filter(bool), st.sampled_from(["early", "late", "full"]), st.sampled_from(["0.5", "1", "1.5"])
)
TEXTS = st.one_of(st.text(max_size=12), st.text(alphabet="a ,.;[]:\\\n\u200b", max_size=10))


@given(TEXTS, st.lists(SPANS, max_size=4), st.integers(1, 12))
def test_every_step_begins_with_the_users_words(text: str, modifiers: list[Span], steps: int) -> None:
    prompt = append_modifiers(DFPrompt.from_plain(text), modifiers)
    said = text.rstrip()
    if said.endswith((",", ";", "，", "、", "；")):
        said = said[:-1].rstrip()  # where no modifier follows, the comma goes as anywhere
    for planned in make_plan(prompt, steps).steps:
        assert planned.text.startswith(said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)
        assert parse_prompt(format_prompt(prompt)) == prompt


def test_json_names_everything() -> None:
    prompt = append_modifiers(DFPrompt.from_plain("a cat"), [GRAIN])
    rewrite = Rewrite("a cat", prompt, (GRAIN,), -3.0, 6, seed=7, dropped=(("gore", "banned: gore"),))
    assert rewrite.to_json() == {
        "plain": "a cat",
        "text": "a cat, [film grain:late:1.25]",
        "spans": ["a cat, ", {"text": "film grain", "range": [0.5, 0], "weight": 1.25}],
        "unchanged": None,
        "modifiers": [{"text": "film grain", "range": [0.5, 0], "weight": 1.25}],
        "logprob": -3.0,
        "score": -0.5,
        "seed": 7,
        "candidate": 0,
        "end": "end",
        "dropped": [{"text": "gore", "reason": "banned: gore"}],
    }
    assert rewrite.changed
    assert Rewrite("a", DFPrompt.from_plain("a"), (), 0.0, 0, seed=1).score == 0
