"""Small evaluations: a tiny pipeline, cheap rewards, methods that misbehave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from dfprompt.evaluation.methods import Method, Plain
from dfprompt.evaluation.run import Outcome, Plan, run_evaluation
from dfprompt.measurement.prompts import PlainPrompt, as_prompts
from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt, Span
from dfprompt.requests.render import RenderSettings
from runs import SIZE

SETTINGS = RenderSettings(num_inference_steps=2, height=SIZE, width=SIZE)
PROMPTS = as_prompts(["a red house", "the blue cat in snow", "a dog"])


def brightness(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
    """Mean level: what a user's reward may look like."""
    return images.mean((1, 2, 3))


def redness(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
    """Red against the rest."""
    return images[:, 0].mean((1, 2)) - images[:, 1:].mean((1, 2, 3))


class Styled:
    """Appends one span."""

    pictures = 1

    def __init__(self, name: str = "styled", text: str = "anime style", weight: float = 1.5) -> None:
        self.name, self.definition, self.span = name, f"{text} x{weight}", Span(text, "late", weight)

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> list[DFPrompt | None]:
        return [DFPrompt.from_plain(prompt.text).append(self.span) for prompt in prompts]


class Broken(Plain):
    """Crashes, as foreign code does."""

    def __init__(self) -> None:
        super().__init__("broken", "crashes")

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> list[DFPrompt | None]:
        raise ZeroDivisionError("division by zero")


def evaluate(
    pipeline: ImagePipeline,
    folder: Path,
    methods: Sequence[Method],
    *,
    prompts: Sequence[PlainPrompt] = PROMPTS,
    seeds: Sequence[int] = (0, 1),
    scoreboard: Scoreboard | None = None,
    settings: RenderSettings = SETTINGS,
    **options: Any,
) -> Outcome:
    """Run a plan with the tiny settings."""
    board = scoreboard or Scoreboard({"brightness": brightness}, {"redness": redness})
    plan = Plan(prompts, methods, seeds, board, settings)
    return run_evaluation(pipeline, plan, folder, **{"pictures_at_once": 6, **options})


def by_key(rows: Sequence[Row]) -> dict[tuple[str, str, int], Row]:
    """Rows by method, prompt and seed."""
    return {row.key: row for row in rows}
