"""A plan on a terminal: its axis names both ends, however narrow the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dfprompt.cli.timeline import print_plan
from dfprompt.prompt import make_plan, parse_prompt

LONG = (
    "a cat on a very long hill of green grass, [film grain and soft light:late:1.25], [oil painting:1->0.85]"
)


@pytest.mark.parametrize("steps", [1, 6, 7, 20, 50])
@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_both_ends_of_the_axis_are_named(width: int, steps: int) -> None:
    written = io.StringIO()
    print_plan(Console(file=written, width=width), make_plan(parse_prompt(LONG), steps), unicode=True)
    axis, *bars = written.getvalue().splitlines()
    assert axis.split() == ["noise", "image"]
    assert any("film grain" in line and "x1.25" in line for line in bars)
