"""What pictures are scored with: rewards, judges, and the settings and code they may bring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dfprompt.requests.base import Flag, Things, Words
from dfprompt.requests.render import DeviceRequest

REWARDS = (
    "A reward: mini, paper (equation 4 on published weights), clip, aesthetic, pickscore or hps (these four "
    "also as KIND:FOLDER or KIND:owner/name), taste:FILE (your own, see dfprompt taste), a recipe FILE.toml, "
    "FILE.py:FUNCTION, a folder, or the address of a server, http://...; repeatable."
)


class ScoreRequest(DeviceRequest):
    """What pictures are scored with."""

    rewards: Annotated[
        Things, Flag("--reward", "R", old=("--rewards",), kind=str, commas=True, help=REWARDS)
    ] = ()
    """Scores, the first one decides: a name, FILE.toml, FILE.py:FUNCTION, folder, http://...; repeatable."""
    judges: Annotated[Things, Flag("--judge", "J", old=("--judges",), kind=str, commas=True)] = ()
    """Scores that nothing was optimised for, only watched; named like a reward; repeatable."""
    assignments: Annotated[Words, Flag("--set", "KEY=VALUE")] = ()
    """Change a setting of the rewards, as composite.zeta=0.25; repeatable."""
    allow_code: bool = False
    """Let a recipe or FILE.py:FUNCTION bring Python code, which is run."""


class ScoreImagesRequest(ScoreRequest):
    """What `dfprompt score` scores."""

    images: Annotated[Words, Flag(metavar="IMAGE...", argument=True)]
    """Picture files, one folder, or - for lines {"image": ..., "prompt": ...}."""
    prompt: Annotated[Words, Flag(metavar="TEXT")] = ()
    """The plain prompt: one for all pictures, or one per picture; by default what each says itself."""
    prompts: Annotated[Path | None, Flag(metavar="FILE")] = None
    """JSON lines {"image": name, "prompt": text, ...}, names relative to the folder."""


class ServeRewardRequest(DeviceRequest):
    """What `dfprompt serve-reward` serves, and to whom."""

    reward: Annotated[Any, Flag(metavar="REWARD", argument=True, kind=str)]
    """The reward, named as for --reward."""
    host: Annotated[str, Flag(metavar="ADDRESS")] = "127.0.0.1"
    """Where to listen."""
    port: Annotated[int, Flag(metavar="N")] = Field(default=8642, ge=0, le=65535)
    """The port; 0 takes a free one."""
    token_file: Annotated[Path | None, Flag(metavar="FILE")] = None
    """File with the token that questions carry, made where it is not there; else DFPROMPT_TOKEN."""
    batch: Annotated[int, Flag(metavar="N")] = Field(default=8, ge=1, le=256)
    """Most pictures in one question."""
    listen: bool = False
    """Let other machines ask: --host may be an address they can reach."""
    allow_host: Annotated[Words, Flag("--allow-host", "NAME")] = ()
    """Another name the server is known by; repeatable."""
    assignments: Annotated[Words, Flag("--set", "KEY=VALUE")] = ()
    """Change a setting of the reward, as composite.zeta=0.25; repeatable."""
    allow_code: bool = False
    """Let a recipe or FILE.py:FUNCTION bring Python code, which is run."""


class JudgeCheckRequest(DeviceRequest):
    """What `dfprompt judge-check` checks."""

    pairs: Annotated[Any, Flag("--pairs", "FILE", kind=Path)]
    """JSON lines {"prompt", "a", "b", "choice": a, b or tie}, pictures relative to the file."""
    judges: Annotated[Things, Flag("--judge", "J", kind=str, commas=True)] = ()
    """The judges, named like a reward; repeatable."""
    output: Annotated[Path | None, Flag(metavar="DIR")] = None
    """Where to write the numbers and a page of the pairs judged otherwise; default: nowhere."""
    force: bool = False
    """Write over a check that stands there."""
    assignments: Annotated[Words, Flag("--set", "KEY=VALUE")] = ()
    """Change how servers are asked, as remote.timeout=30; repeatable."""
    allow_code: bool = False
    """Let FILE.py:FUNCTION bring Python code, which is run."""
