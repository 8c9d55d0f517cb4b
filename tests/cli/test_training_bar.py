"""The bar of a training on a narrow terminal: bar, count and time left stay, figures give way."""

from __future__ import annotations

import io

import pytest
import rich.console

from dfprompt.cli.training_bar import TrainingBar

FIGURES = {"reward": "reward", "kl": "kl", "validation": "validation", "entropy": "range entropy"}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_bar_and_time_left_are_kept(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    plain = rich.console.Console

    def console(**_: object) -> rich.console.Console:
        return plain(file=written, width=width, force_terminal=True, color_system=None)

    monkeypatch.setattr(rich.console, "Console", console)
    with TrainingBar("grpo", FIGURES) as bar:
        for step in (1, 32):
            bar.show(
                {"step": step, "steps": 64, "reward": 4.542, "kl": 0.19, "validation": 3.2, "entropy": 1.0}
            )
    last = written.getvalue().replace("\r", "\n").split("\n")[-2]
    assert "━━━" in last
    assert "32/64" in last
    assert "left" in last
    assert "..." not in last
    assert ("range entropy" in last) is (width == 120)


def test_figures_stand_in_the_order_asked_for_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    plain = rich.console.Console
    monkeypatch.setattr(
        rich.console,
        "Console",
        lambda **_: plain(file=written, width=80, force_terminal=True, color_system=None),
    )
    with TrainingBar("sft", {"loss": "loss", "checked": "validation", "speed": "rows/s"}) as bar:
        bar.show({"step": 1, "steps": 6, "loss": 4.0, "speed": 536.31})
        bar.show({"step": 6, "steps": 6, "loss": 4.0, "speed": 536.31, "checked": 4.1234})
    last = written.getvalue().replace("\r", "\n").split("\n")[-2]
    assert last.rstrip().endswith("left  loss 4  validation 4.123")  # and no half of "rows/s"
