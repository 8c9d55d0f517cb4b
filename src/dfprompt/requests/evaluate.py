"""What `dfprompt evaluate` and `dfprompt ablate` are asked: many prompts, drawn by methods or arms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dfprompt.requests.base import Flag, ListedThings, Request, SeedRequest, Things, Words
from dfprompt.requests.compare import Keep, Policy
from dfprompt.requests.render import RenderRequest
from dfprompt.requests.scale import CostRequest, ScaleRequest, ShardRequest
from dfprompt.requests.score import ScoreRequest
from dfprompt.requests.write import Taste

METHOD_NAMES: tuple[str, ...] = ("plain", "suffix", "suffix-controls", "random", "starter", "human", "sft")
METHOD_NAMES += ("policy", "stripped", "shuffled", "constant", "best-of-N", "vendor", "llm")
METHODS = (
    f"What to compare: {', '.join(METHOD_NAMES)}, NAME=FILE.jsonl, NAME=POLICY_FOLDER; stripped:NAME and "
    "best-of-N:NAME take another method's words."
)
Prompts = Annotated[Any, Flag("--prompts", "FILE", kind=str)]


class MeasureRequest(Request):
    """Where rows are kept; the same folder again goes on with them."""

    goes_on: ClassVar[bool] = True

    output: Annotated[str | Path, Flag(metavar="DIR", kind=Path)]
    """Where to write; the same folder again goes on."""
    resume: bool = False
    """Go on with the rows in --output, and with nothing else: refused where there are none."""
    retry_failed: bool = False
    """Make rows again in which something failed."""


class EvaluateRequest(
    MeasureRequest, SeedRequest, ShardRequest, CostRequest, ScaleRequest, ScoreRequest, RenderRequest
):
    """What `dfprompt evaluate` compares."""

    prompts: Prompts
    """Plain prompts, one per line or JSON lines, or mini."""
    methods: Annotated[Things, Flag(metavar="A,B,C", kind=str, commas=True, help=METHODS)] = ("plain",)
    """What to compare: names of methods, NAME=FILE.jsonl or NAME=POLICY_FOLDER."""
    policy: Policy = None
    """The method policy: a folder; by default the pipeline's own policy, if it has one."""
    taste: Taste = None
    """Whom policies with tastes write for: a taste, with a strength of 0 to 2; several between commas."""
    seeds: Annotated[Any, Flag(metavar="K", kind=int)] = 4
    """Pictures per prompt: seeds S to S+K-1; in Python also the seeds themselves."""
    count: Annotated[int, Flag(metavar="N")] = Field(default=100, ge=1)
    """How many prompts --prompts mini makes."""
    suffix: Annotated[str | None, Flag(metavar="DFPROMPT")] = None
    """The fixed suffix of the method suffix, instead of the one found."""
    modifiers: Annotated[
        ListedThings, Flag("--modifiers", "A,B|FILE", old=("--lexicon",), kind=Words, commas=True)
    ] = ()
    """What random and suffix choose from: words between commas, or a file with one per line."""
    constant: Annotated[str | None, Flag(metavar="RANGE:WEIGHT")] = None
    """The one control of the method constant, as late:1.25."""
    validation: Annotated[Any, Flag(metavar="FILE", kind=Path)] = None
    """Prompts to find suffix and constant on; by default the pipeline's own, if it has some."""
    validation_images: Annotated[int, Flag(metavar="N")] = Field(default=360, ge=0)
    """Pictures of each such search; 0: none."""
    reference: Annotated[str | Path | None, Flag(metavar="DIR", kind=Path)] = None
    """Pictures to measure each method's distance (CMMD) to."""
    embedder: Annotated[Any, Flag(metavar="DIR", kind=str)] = None
    """The CLIP model of CMMD: a folder; by default the pipeline's own, if it has one."""
    llm: Annotated[str | None, Flag(metavar="COMMAND|URL")] = None
    """Who rewrites for the method llm: a command, or the address of an OpenAI-compatible chat endpoint."""
    llm_model: Annotated[str, Flag(metavar="NAME")] = ""
    """The model that the chat endpoint is asked for."""
    keep: Keep = ()
    """Words that no rewrite may drop, move or weight, where a prompt has them; repeatable."""
    checks: Annotated[ListedThings, Flag("--checks", "FILE", kind=Words, commas=True)] = ()
    """Files that `dfprompt judge-check` wrote: their accuracies stand under the judges; repeatable."""


class AblateRequest(MeasureRequest, SeedRequest, ScoreRequest, RenderRequest):
    """What every ablation is asked."""

    seeds: Annotated[Any, Flag(metavar="K", kind=int)] = 2
    """Pictures per prompt and arm: seeds S to S+K-1; in Python also the seeds themselves."""


class AblateModifiersRequest(AblateRequest):
    """What `dfprompt ablate range` and `dfprompt ablate weight` try."""

    prompts: Prompts
    """Plain prompts, one per line or JSON lines, or mini."""
    modifiers: Annotated[ListedThings, Flag("--modifiers", "A,B|FILE", kind=Words, commas=True)] = ()
    """Words to append, one at a time, or a file with one per line; default: one of every kind."""
    count: Annotated[int, Flag(metavar="N")] = Field(default=24, ge=1)
    """How many prompts --prompts mini makes."""


class AttributionRequest(AblateRequest):
    """What `dfprompt ablate attribution` takes apart; the first reward prunes."""

    df_prompt: Annotated[Any, Flag(metavar="DFPROMPT", argument=True, kind=str)]
    """The prompt with its modifiers in brackets; only spans are looked at."""
    dialect: str = "native"
    """How DFPROMPT is written: native, a1111, comfyui, compel, pae."""
    strict: bool = False
    """Make warnings about other tools' control errors."""
    seeds: Annotated[Any, Flag(metavar="K", kind=int)] = 8
    """Pictures per variant: seeds S to S+K-1; in Python also the seeds themselves."""
