"""Pictures the raters are shown: half of them as people with ranges and weights at hand would draw them."""

from __future__ import annotations

from collections import Counter

from dfprompt.mini.controls import PAIRS, RANGES, WEIGHTS
from dfprompt.mini.logs import LoggedPrompt, with_controls
from dfprompt.prompt import Weight

ROWS = [
    LoggedPrompt("a red cat, mist, bokeh", "a red cat", ("mist", "bokeh"), "cat", "red", "hill"),
    LoggedPrompt("a red cat", "a red cat", (), "cat", "red", "hill"),
]


def test_every_pair_is_tried_about_as_often_and_no_word_is_lost() -> None:
    rows = [ROWS[0]] * 6_000
    drawn = with_controls(rows, seed=3)
    assert {prompt.plain_text for prompt in drawn} == {"a red cat, mist, bokeh"}
    assert all(not prompt.controls for prompt in drawn[::2])
    spans = [span for prompt in drawn[1::2] for span in prompt.controls]
    counts = Counter((span.effect_range, span.weight) for span in spans)
    default = 6_000 - len(spans)  # full range and weight 1 may be written without brackets
    table = {(RANGES[name], Weight(weight)) for name, weight in PAIRS}
    assert counts.keys() <= table
    assert len(counts) >= len(RANGES) * len(WEIGHTS) - 1
    expected = 6_000 / len(PAIRS)
    assert all(abs(count - expected) < 6 * expected**0.5 for count in counts.values())
    assert default < expected + 6 * expected**0.5


def test_prompts_without_modifiers_stay_plain_and_the_seed_decides() -> None:
    assert [str(prompt) for prompt in with_controls([ROWS[1]] * 4, seed=1)] == ["a red cat"] * 4
    rows = [ROWS[0]] * 40
    assert with_controls(rows, seed=1) == with_controls(rows, seed=1) != with_controls(rows, seed=2)
