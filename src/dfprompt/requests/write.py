"""What `dfprompt optimize`, `dfprompt plan` and `dfprompt inspect` are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from dfprompt.errors import InputError
from dfprompt.requests.base import Flag, MaxRisk, Request, Texts, Things, Words
from dfprompt.requests.render import DialectRequest, LoadRequest

Style = Annotated[str | None, Flag(metavar="S")]
Taste = Annotated[str | None, Flag(metavar="NAME[:S]")]


class OptimizeRequest(Request):
    """What `dfprompt optimize` rewrites."""

    texts: Texts
    """Plain words; - reads one prompt per line and answers in JSON lines."""
    policy: Annotated[str, Flag(metavar="P")] = "mini"
    """Who writes: mini, mini-sft, starter, a folder (a run's too), or a hub id."""
    style: Style = None
    """Write by rules for a look: photo, painting, watercolor, anime, cinematic, line-art or render."""
    candidates: Annotated[int, Flag(metavar="C")] = Field(default=1, ge=1)
    """Different rewrites of each prompt."""
    seed: Annotated[int, Flag(metavar="S")] = Field(default=0, ge=0)
    """The same seed gives the same rewrites."""
    temperature: Annotated[float, Flag(metavar="T")] = Field(default=0.7, ge=0, allow_inf_nan=False)
    """0 takes the likeliest words; higher is freer."""
    control_temperature: Annotated[float, Flag(metavar="T")] = Field(default=0.0, ge=0, allow_inf_nan=False)
    """The same of ranges and weights: 0, the likeliest."""
    restraint: Annotated[float, Flag(metavar="R")] = Field(default=0.0, ge=0, le=1)
    """Share of the policy's gain to give up to append less, 0 to 1."""
    taste: Taste = None
    """Whom the policy writes for: a taste it learnt, with a strength of 0 to 2; several between commas."""
    max_risk: MaxRisk = Field(default=None, gt=0, lt=1)
    """Leave a prompt alone unless its probe picture shows that at most this share loses what was asked."""
    rewards: Annotated[Things, Flag("--reward", "R", kind=str, commas=True)] = ()
    """Rank the candidates by what a picture of each scores, named as for compare; taste:FILE is your own."""
    allow_code: bool = False
    """Let a reward bring Python code, which is run."""
    pipeline: Annotated[Any, Flag(metavar="X", kind=str)] = "mini"
    """What draws for --max-risk and --reward: mini, a folder, a .safetensors or .gguf file or a hub id."""
    judges: Annotated[Things, Flag("--judge", "J", kind=str, commas=True)] = ()
    """What judges the probe, by default the pipeline's own judge."""
    ban: Annotated[Words, Flag(metavar="WORD")] = ()
    """Never append this word or phrase; may be repeated."""
    ban_substring: Annotated[Words, Flag(metavar="TEXT")] = ()
    """Never append a word with this in it."""
    ban_artists: bool = False
    """Append no artists' names."""
    max_modifiers: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=1)
    """Append at most this many."""
    at_least: Annotated[int, Flag(metavar="N")] = Field(default=0, ge=0, le=20)
    """Append this many even where the policy would leave the prompt alone."""
    target: Annotated[Literal["native", "a1111", "comfyui"], Flag("--to", "D")] = "native"
    """Print as native, a1111 or comfyui."""
    steps: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=1, le=10_000)
    """Steps of the run, for dialects that count them."""
    df: bool = False
    """Keep spans already written in TEXT."""
    device: Annotated[str, Flag(metavar="D")] = "auto"
    """Where it runs: auto, cpu, cuda, cuda:1 or mps."""

    @property
    def writer(self) -> str:
        """The policy asked for: the rules of a style where one is named."""
        return self.policy if self.style is None else f"starter:{self.style}"


class PlanRequest(DialectRequest):
    """What `dfprompt plan` shows."""

    text: Annotated[str, Flag(metavar="TEXT", argument=True)]
    """The prompt; - reads one per line and answers in JSON lines."""
    steps: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=1, le=10_000)
    """Denoising steps; by default 10, or one per timestep given."""
    clock: Annotated[str, Flag(metavar="CLOCK")] = "steps"
    """What time left counts: steps or timestep."""
    timesteps: Annotated[str, Flag(metavar="T,...")] = ""
    """The scheduler's timesteps."""
    pipeline: Annotated[str, Flag(metavar="X")] = ""
    """Read the timesteps off this pipeline."""
    second: Annotated[int, Flag("--pass", metavar="N")] = Field(default=1, ge=1, le=2)
    """Dialect a1111: 2 for the second (hires) pass."""
    strength: Annotated[float, Flag(metavar="S")] = 1.0
    """Image-to-image: the share that runs."""
    svg: Annotated[Path | None, Flag(metavar="FILE")] = None
    """Also draw the plan into an SVG file."""
    force: bool = False
    """Overwrite the SVG file if it exists."""

    @model_validator(mode="after")
    def _check_plan(self) -> Self:
        if self.second == 2 and self.dialect != "a1111":
            raise InputError("--pass 2 is the second pass of the dialect a1111; add --dialect a1111")
        if self.svg is not None and self.text == "-":
            raise InputError("--svg draws one prompt, and - reads many; give the prompt itself")
        if self.timesteps and self.pipeline:
            raise InputError("--timesteps and --pipeline both give the timesteps; leave one out")
        return self


class InspectRequest(LoadRequest):
    """What `dfprompt inspect` reads, and perhaps draws again."""

    file: Annotated[Path, Flag(metavar="FILE", argument=True)]
    """A picture drawn by dfprompt."""
    pipeline: Annotated[str | None, Flag(metavar="X")] = None
    """Draw it again with this pipeline, and compare."""
    output: Annotated[Path | None, Flag(metavar="FILE")] = None
    """Where to write the picture that was drawn again."""
    force: bool = False
    """Overwrite the output file if it exists."""

    @model_validator(mode="after")
    def _check_output(self) -> Self:
        if self.output is not None and self.pipeline is None:
            raise InputError("--output is for the picture drawn again; name what draws it with --pipeline")
        return self
