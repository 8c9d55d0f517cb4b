"""What `dfprompt start` is asked: a model, words, what to vary, and how much is there to draw with."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from dfprompt.requests.base import Flag, FolderRequest, SeedRequest
from dfprompt.requests.render import RenderRequest
from dfprompt.requests.score import ScoreRequest


class StartRequest(SeedRequest, FolderRequest, ScoreRequest, RenderRequest):
    """What the first pictures are made of; what is not given is asked, or has a default."""

    text: Annotated[str | None, Flag(metavar="[TEXT]", argument=True)] = None
    """Plain words: what the pictures shall show."""
    pipeline: Annotated[Any, Flag(metavar="X", kind=str)] = None
    """What draws: mini, a folder, a .safetensors or .gguf file or a hub id; what lies here is offered."""
    vary: Annotated[str | None, Flag("--vary", "WORDS")] = None
    """The words to try all the time, early, late, and late and gently."""
    seeds: Annotated[Any, Flag(metavar="K", kind=int)] = 2
    """Pictures per row: seeds S to S+K-1."""
    memory: Annotated[float | None, Flag(metavar="GB")] = Field(default=None, ge=0, le=10_000)
    """Memory of the GPU, 0 for none; by default what the driver says."""
    plan: bool = False
    """Say what would be done, downloaded and drawn, and stop."""
    yes: bool = False
    """Ask nothing: take the defaults, fetch what is missing, draw."""
    force: bool = False
    """Overwrite pictures that exist."""
