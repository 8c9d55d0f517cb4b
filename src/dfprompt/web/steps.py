"""What one picture looked like after every step, side by side in one file."""

from __future__ import annotations

from pathlib import Path

import torch

from dfprompt.images.saving import Entry, save_pictures
from dfprompt.images.tensors import to_pil
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.pipeline.progress import Report
from dfprompt.pipeline.step_pictures import draw_each_step
from dfprompt.prompt import DFPrompt
from dfprompt.requests.render import RenderSettings


def draw_strip(
    pipeline: ImagePipeline,
    prompt: DFPrompt,
    seed: int,
    settings: RenderSettings,
    negative: str | None,
    report: Report,
    place: Path,
) -> None:
    """Draw one picture and write its steps into one file, noise at the left and the picture at the right."""
    request = pipeline.read(prompt, seed, settings, negative_prompt=negative)
    steps = draw_each_step(pipeline, request, report)
    (strip,) = to_pil(torch.cat(list(steps), dim=2)[None])
    save_pictures([Entry(place, strip, is_grid=True)], force=True)
