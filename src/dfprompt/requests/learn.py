"""What `dfprompt curate`, `train` and `calibrate` are asked: data, a recipe, a folder to write into."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dfprompt.requests.base import Flag, Request, SeedRequest, Things, Words
from dfprompt.requests.render import DeviceRequest, RenderRequest
from dfprompt.requests.scale import CostRequest, ScaleRequest, ShardRequest
from dfprompt.requests.score import ScoreRequest

Recipe = Annotated[str | Path | None, Flag(metavar="R.toml", kind=Path)]


class RunRequest(Request):
    """A run by recipe, in a folder of its own."""

    recipe: Recipe = None
    """What is done and how: a TOML file, or one that comes along, as mini-sft; see the page Settings."""
    assignments: Annotated[Words, Flag("--set", "KEY=VALUE")] = ()
    """Change a setting, as optimizer.steps=200; repeatable."""
    output: Annotated[str | Path | None, Flag(metavar="DIR", kind=Path)] = None
    """The run's folder; default: dfprompt-out/<date>-<name>."""
    resume: bool = False
    """Go on with what the folder in --output holds."""
    force: bool = False
    """Begin anew where --output holds a run."""


class CurateRequest(RunRequest, ShardRequest, CostRequest, ScaleRequest, DeviceRequest):
    """What `dfprompt curate` cleans and filters."""

    source: Annotated[str | Path, Flag(metavar="SOURCE", argument=True, kind=str)]
    """A .jsonl, .csv, .tsv, .parquet, .txt or .npy file, a folder of pictures, a hub id, or mini."""
    pipeline: Annotated[str | None, Flag(metavar="X")] = None
    """What draws pictures that rows do not bring; needed for all sources but mini."""
    images: Annotated[bool, Flag("--no-images")] = True
    """Clean the text only: nothing is drawn or scored, every clean row is kept."""
    allow_code: bool = False
    """Let a recipe or FILE.py:FUNCTION bring Python code, which is run."""

    @property
    def changes(self) -> tuple[str, ...]:
        """The recipe's settings to change, with those that have an option of their own."""
        own = [] if self.pipeline is None else [f"confidence.pipeline={self.pipeline}"]
        text_only = [] if self.images else ["confidence.enabled=false"]
        return (*self.assignments, *own, *text_only, *self.scale_changes)


class TrainRequest(RunRequest):
    """What `dfprompt train` runs."""


class ReinforceRequest(TrainRequest, CostRequest, ScaleRequest):
    """What `dfprompt train ppo` and `train grpo` run."""

    allow_code: bool = False
    """Let a reward recipe or FILE.py:FUNCTION bring Python code, which is run."""

    @property
    def changes(self) -> tuple[str, ...]:
        """The recipe's settings to change, with those that have an option of their own."""
        return (*self.assignments, *self.scale_changes)


class CalibrateRequest(SeedRequest, RenderRequest):
    """What `dfprompt calibrate` sets thresholds from."""

    prompts: Annotated[Any, Flag(metavar="FILE", kind=str)]
    """Plain prompts: one per line, or JSON lines with "prompt"."""
    output: Annotated[str | Path, Flag(metavar="R.toml", kind=Path)]
    """The reward recipe to write."""
    reward: Annotated[str | None, Flag(metavar="R")] = None
    """The composite to calibrate; by default the pipeline's own, else paper."""
    quantile: Annotated[float, Flag(metavar="Q")] = Field(default=0.5, gt=0, lt=1)
    """Share of plain pictures that each gate shall punish."""
    seeds: Annotated[Any, Flag(metavar="K", kind=int)] = 2
    """Pictures per prompt: seeds S to S+K-1; in Python also the seeds themselves."""
    allow_code: bool = False
    """Let a recipe or FILE.py:FUNCTION bring Python code, which is run."""
    force: bool = False
    """Overwrite the recipe if it exists."""


class PlotRequest(Request):
    """What `dfprompt plot` draws."""

    run: Annotated[str | Path, Flag(metavar="RUN", argument=True, kind=Path)]
    """The folder of a training."""
    output: Annotated[str | Path | None, Flag(metavar="DIR", kind=Path)] = None
    """Where to write curves.png and curves.html; default: into the run's folder."""
    force: bool = False
    """Write over curves that stand in --output."""


class RestrainRequest(SeedRequest, ScoreRequest, RenderRequest):
    """What `dfprompt restrain` measures of a policy."""

    goes_on: ClassVar[bool] = True

    policy: Annotated[str | Path, Flag(metavar="FOLDER", argument=True, kind=Path)]
    """The policy; its policy.json gets the curve."""
    output: Annotated[str | Path, Flag(metavar="DIR", kind=Path)]
    """Where the pictures go; the same folder again goes on."""
    risk: bool = False
    """Measure instead what --max-risk needs: how a probe picture tells rewrites that lose something."""
    prompts: Annotated[Any, Flag(metavar="FILE", kind=str)] = "mini"
    """Prompts of validation: one per line or JSON lines, or mini."""
    count: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=6)
    """How many prompts --prompts mini makes; default: 64, with --risk 300."""
    seeds: Annotated[Any, Flag(metavar="K", kind=int)] = 2
    """Pictures per prompt: seeds S to S+K-1; in Python also the seeds themselves."""


class LearnRequest(Request):
    """What `dfprompt learn` learns from."""

    folders: Annotated[Things, Flag(metavar="FOLDER...", argument=True, kind=str)]
    """Folders of `dfprompt tune` and `dfprompt evaluate`, or folders above them."""
    output: Annotated[str | Path, Flag(metavar="DIR", kind=Path)]
    """The policy's folder; a policy there that was learnt so is replaced."""
    reward: Annotated[str | None, Flag(metavar="R")] = None
    """The score learnt from, as the tables name it; default: the first reward of the first folder."""
