"""What `dfprompt serve` is asked, and what its clients ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dfprompt.requests.base import Flag
from dfprompt.requests.render import RenderRequest, RenderSettings

MOST_PICTURES = 16  # of one request


class ServeRequest(RenderRequest):
    """What pictures are drawn with unless a client says otherwise, and where the server is found.

    >>> ServeRequest().rewrite
    False
    """

    policy: Annotated[str | None, Flag(metavar="P")] = None
    """What rewrites prompts: a folder, starter, or mini; by default the pipeline's own, or starter."""
    rewrite: bool = False
    """Rewrite every prompt whose client does not say "rewrite": false."""
    port: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=0, le=65535)
    """Where it listens: by default 8601 or the next that is free; 0 takes any."""
    listen: Annotated[str | None, Flag(metavar="ADDRESS")] = None
    """Answer other machines on this address; whoever has the token can draw."""
    token_file: Annotated[Path | None, Flag(metavar="FILE")] = None
    """File with the token of clients, made where it is not there; else DFPROMPT_TOKEN, or a new one."""


class ImagesRequest(RenderSettings):
    """What a client asks of `POST /v1/images/generations`: the common fields, and ours beside them.

    >>> ImagesRequest(prompt="a cat").n
    1
    """

    prompt: str = Field(min_length=1, max_length=20_000)
    """The words, or a DF-Prompt."""
    n: int = Field(default=1, ge=1, le=MOST_PICTURES)
    """Pictures: of the seeds S to S+n-1."""
    size: str | None = None
    """Pixels, width x height, such as 512x512, or auto for the pipeline's own."""
    response_format: Literal["b64_json", "url"] = "b64_json"
    """Whether pictures stand in the answer, or are asked for by an address that needs the token too."""
    output_format: Literal["png"] = "png"
    """What files are; a PNG carries how it was drawn."""
    stream: Literal[False] | None = None
    """Answers in parts are not given."""
    seed: int | None = Field(default=None, ge=0, lt=2**53)
    """The noise of the first picture; by default another one each time."""
    negative_prompt: str | None = Field(default=None, max_length=20_000)
    """What pictures should not show; a DF-Prompt too."""
    rewrite: bool | None = None
    """Whether the policy may add words; by default as the server was started."""
