"""What `dfprompt studio` is asked: what draws and scores, where the history lies, where it listens."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from dfprompt.requests.base import Flag, Folder, FolderRequest, SeedRequest
from dfprompt.requests.render import RenderRequest
from dfprompt.requests.score import ScoreRequest


class StudioRequest(SeedRequest, FolderRequest, ScoreRequest, RenderRequest):
    """What the studio draws with, and where it is found.

    >>> StudioRequest(pipeline="mini").seeds
    4
    """

    most_seeds: ClassVar[int] = 64

    policy: Annotated[str | None, Flag(metavar="P")] = None
    """What suggests modifiers: a folder, starter, or mini; by default the pipeline's own, or starter."""
    output: Folder = None
    """Where the history lies; default: dfprompt-out/studio."""
    seeds: Annotated[int, Flag(metavar="K")] = 4
    """Pictures per prompt, at first: seeds S to S+K-1."""
    port: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=0, le=65535)
    """Where it listens: by default 8601 or the next that is free; 0 takes any."""
    listen: Annotated[str | None, Flag(metavar="ADDRESS")] = None
    """Answer other machines on this address; whoever has the token can draw and read the history."""
    browser: Annotated[bool, Flag("--no-browser")] = True
    """Open no browser."""


STUDIO_FOLDER = "dfprompt-out/studio"
"""Where the history lies unless told otherwise: the same place each time, so that it is there again."""
