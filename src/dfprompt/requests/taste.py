"""What `dfprompt taste` asks a person, and where the answers go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from dfprompt.errors import InputError
from dfprompt.requests.base import Flag, ListedThings, SeedRequest, Things, Words
from dfprompt.requests.render import RenderRequest
from dfprompt.requests.score import ScoreRequest


class TasteRequest(SeedRequest, ScoreRequest, RenderRequest):
    """What `dfprompt taste` learns from: choices made before, or choices it asks for."""

    goes_on: ClassVar[bool] = True

    output: Annotated[str | Path, Flag(metavar="DIR", kind=Path)]
    """Where the taste lies, with its choices; the same folder again goes on."""
    choices: Annotated[ListedThings, Flag("--choices", "FILE", kind=Words)] = ()
    """Choices made before, JSON lines {"prompt", "a", "b", "choice": a, b or tie}; repeatable."""
    pictures: Annotated[ListedThings, Flag("--from", "DIR", kind=Words)] = ()
    """Ask about the pictures of these folders of evaluate, compare or tune; repeatable."""
    prompts: Annotated[Any, Flag("--prompts", "FILE", kind=str)] = None
    """Draw pictures of these prompts to ask about: one per line, or mini."""
    methods: Annotated[Things, Flag("--methods", "A,B,C", kind=str, commas=True)] = (
        "plain",
        "random",
        "starter",
    )
    """What draws them, named as for evaluate."""
    seeds: Annotated[Any, Flag(metavar="K", kind=int)] = 2
    """Pictures per prompt and method: seeds S to S+K-1; in Python also the seeds themselves."""
    count: Annotated[int, Flag(metavar="N")] = Field(default=30, ge=1, le=1000)
    """How many choices there shall be; 20 to 50 are usual."""

    @model_validator(mode="after")
    def _check_something_to_choose(self) -> Self:
        if not (self.choices or self.pictures or self.prompts):
            raise InputError(
                "nothing to choose between: name folders with pictures (--from), prompts to draw (--prompts) "
                "or a file of choices (--choices)"
            )
        return self
