"""The placebo: what is drawn when ranges and weights are ignored."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.requests.render import RenderSettings

CONTROLLED = "a red house, [snow:late:1.5][, fog:early:0.5]"
WORDS = "a red house, snow, fog"


@pytest.mark.parametrize("share", [False, True])
def test_ranges_and_weights_do_nothing(tiny_pipe: Any, share: bool) -> None:
    pipeline = ImagePipeline(tiny_pipe("sd1"))
    settings = {"num_inference_steps": 4, "height": 16, "width": 16}
    placebo = RenderSettings(**settings, ignore_controls=True)
    drawn = pipeline.draw([CONTROLLED, WORDS], [1, 1], placebo, negative_prompt="[dull:late]", share=share)
    plain = pipeline.draw(WORDS, 1, RenderSettings(**settings), negative_prompt="dull", share=share)
    controlled = pipeline.draw(CONTROLLED, 1, RenderSettings(**settings), negative_prompt="dull", share=share)
    torch.testing.assert_close(drawn.images[0], drawn.images[1])
    torch.testing.assert_close(drawn.images[:1], plain.images)
    assert float((controlled.images - plain.images).abs().max()) > 1e-3
    assert str(drawn.request.prompts[0]) == WORDS
