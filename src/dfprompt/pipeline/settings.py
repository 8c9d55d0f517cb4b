"""How pictures are drawn: the settings shared by every command, recipe and call that draws."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dfprompt.conditioning.capabilities import Weighting
from dfprompt.conditioning.options import LongPrompts
from dfprompt.config import Config
from dfprompt.prompt.clocks import Clock
from dfprompt.prompt.plan import Absence

OFFLOADS = ("none", "model", "sequential")
Offload = Literal["none", "model", "sequential"]
DTYPES = ("float32", "float16", "bfloat16")
DType = Literal["float32", "float16", "bfloat16"]


class RenderSettings(Config):
    """How a pipeline draws; whatever is not set has the loaded pipeline's own default."""

    num_inference_steps: int | None = Field(default=None, ge=1, le=1000)
    """Denoising steps, 1 to the number of timesteps trained (the paper: 10)."""
    guidance_scale: float | None = Field(default=None, ge=0, le=1000)
    """Strength of classifier-free guidance, 1 or less for none (the paper: 7.5); FLUX: the distilled one."""
    true_cfg_scale: float | None = Field(default=None, ge=0, le=1000)
    """Strength of a real negative pass on FLUX and Qwen-Image, with a negative prompt; 1 for none."""
    scheduler: str | None = Field(default=None, min_length=1, max_length=100)
    """The sampler by name (unipc, euler, ddim, dpmpp_2m ...), configured from the model."""
    height: int | None = Field(default=None, ge=8, le=8192)
    """Pixels from top to bottom, a multiple of what the pipeline asks for (8 or 16)."""
    width: int | None = Field(default=None, ge=8, le=8192)
    """Pixels from left to right, a multiple of what the pipeline asks for (8 or 16)."""
    weighting: Weighting | None = None
    """How weights act: mean (the paper), scale, comfy, compel or attention; by default the family's own."""
    clock: Clock = "steps"
    """What ranges count: steps, or timestep (the scheduler's training time)."""
    absence: Absence = "delete"
    """What happens to a span outside its range: delete removes the words, mask hides their tokens."""
    clip_skip: int | None = Field(default=None, ge=0, le=100)
    """How many of the text encoder's last layers are left out, for the families that can."""
    long_prompts: LongPrompts = "chunk"
    """What happens to text beyond the encoder's window: chunk encodes all of it, truncate cuts it."""
    max_sequence_length: int | None = Field(default=None, ge=1, le=4096)
    """Tokens of the long encoder (T5, Qwen), for SD3, FLUX and Qwen-Image."""
    vae_tiling: bool = False
    """Decode large pictures in tiles: less memory, faint differences at the seams."""
    batch_size: int | None = Field(default=None, ge=1, le=4096)
    """Pictures drawn at once; by default what usually fits, and half as many when memory runs out."""
    ignore_controls: bool = False
    """Draw the words alone, every range full and every weight 1: the placebo of an experiment."""
