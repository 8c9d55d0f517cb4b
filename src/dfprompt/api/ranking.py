"""Candidates ranked by what one picture of each scores: a reward, or somebody's own taste."""

from __future__ import annotations

from collections.abc import Sequence

from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.scoring import load_scoreboard
from dfprompt.errors import RewardError
from dfprompt.excerpt import quote
from dfprompt.measurement.measure import Measurement
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN
from dfprompt.measurement.shots import HowToDraw, Shot
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import Rewrite
from dfprompt.prompt import DFPrompt
from dfprompt.requests.write import OptimizeRequest

Ranked = list[tuple[Rewrite, float]]


class Ranker:
    """Draws each candidate of `optimize` once, on one noise; pipeline and scores are loaded once."""

    def __init__(self, request: OptimizeRequest, pipeline: ImagePipeline | None = None) -> None:
        self.board = load_scoreboard(request.rewards, device=request.device, allow_code=request.allow_code)
        self.seed = request.seed
        self.pipeline = pipeline or load_pipeline(request.pipeline, device=request.device)

    def rank(self, bases: Sequence[DFPrompt], found: Sequence[Sequence[Rewrite]]) -> list[Ranked]:
        """Return each base's rewrites with what they score in the first reward, the best first.

        Raises RewardError for a picture that cannot be scored, and what drawing raises.
        """
        measurement = Measurement(self.pipeline, self.board, how=HowToDraw())
        return [self._rank(measurement, *each) for each in zip(bases, found, strict=True)]

    def _rank(self, measurement: Measurement, base: DFPrompt, rewrites: Sequence[Rewrite]) -> Ranked:
        prompt, reward = PlainPrompt(base.plain_text), self.board.chooser
        words = {PLAIN: base} | {f"rewrite {number}": each.prompt for number, each in enumerate(rewrites)}
        shots = [Shot(name, prompt, each, self.seed, (self.seed,)) for name, each in words.items()]
        _, *rows = measurement.measure(shots)
        for row in rows:
            if reward not in row.scores:
                reasons = "; ".join(row.failed.values())
                raise RewardError(f"{quote(row.df_prompt or '')} cannot be ranked by {reward}: {reasons}")
        scores = [row.scores[reward] for row in rows]
        return sorted(zip(rewrites, scores, strict=True), key=lambda each: -each[1])
