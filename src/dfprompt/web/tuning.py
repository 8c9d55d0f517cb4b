"""A search for one prompt, as `dfprompt tune` searches, told round by round."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfprompt.api.tuning import tune_prompt
from dfprompt.measurement.log import ROWS, read_rows
from dfprompt.measurement.rows import PLAIN
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.requests.base import make_request
from dfprompt.requests.compare import TuneRequest
from dfprompt.requests.render import RenderSettings
from dfprompt.requests.studio import StudioRequest
from dfprompt.web.jobs import Job

MOST_PICTURES = 2000
_SHOWN = 5  # candidates a round shows


def make_tuning(
    prompt: DFPrompt, values: Mapping[str, Any], asked: StudioRequest, settings: RenderSettings
) -> TuneRequest:
    """Return the search a page asks for: the budget in `images`, the rest as the studio was started."""
    shared = {name: getattr(asked, name) for name in TuneRequest.model_fields if hasattr(asked, name)}
    drawing = {name: getattr(settings, name) for name in RenderSettings.model_fields}
    images = values.get("images", TuneRequest.model_fields["images"].default)
    images = min(images, MOST_PICTURES) if isinstance(images, int) else images
    own = {
        "text": str(prompt),
        "df": True,
        "images": images,
        "negative_prompt": values.get("negative") or None,
        "keep": values.get("keep", ()),
    }
    return make_request(TuneRequest, {**shared, **drawing, "policy": None, **own})


def tune(request: TuneRequest, pipeline: ImagePipeline, folder: Path, job: Job) -> dict[str, Any]:
    """Search in a folder of its own; every round tells the page the best so far."""
    place = folder / datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")
    last = ""

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last
        job.report(done, max(total, 1))
        if stage != last or done == total:
            last = stage
            job.result = {"stage": stage, "best": _best(place / ROWS)}
            job.tell()

    run = tune_prompt(request.model_copy(update={"pipeline": pipeline, "output": place}), progress=report)
    found = run.to_json()
    kept = {name: found[name] for name in ("df_prompt", "finalist", "answer", "reward", "images")}
    return {**kept, "sentence": run.sentence(), "best": _best(place / ROWS)}


def _best(log: Path) -> list[dict[str, Any]]:
    """Return the candidates with the highest mean first score so far, plain among them."""
    scores: dict[str, list[float]] = {}
    for row in read_rows(log):
        if row.scores and row.df_prompt is not None:
            label = "plain" if row.method == PLAIN else row.df_prompt
            scores.setdefault(label, []).append(next(iter(row.scores.values())))
    ranked = sorted(scores, key=lambda text: -sum(scores[text]) / len(scores[text]))
    shown = [text for text in ranked if text == "plain" or ranked.index(text) < _SHOWN]
    return [
        {"text": text, "mean": sum(scores[text]) / len(scores[text]), "pictures": len(scores[text])}
        for text in shown
    ]
