"""The recipes of stage 2: reinforcement learning of words, ranges and weights, by PPO or by GRPO."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from dfprompt.config import Config
from dfprompt.requests.render import RenderRequest
from dfprompt.requests.scale import ScaleSection
from dfprompt.training.settings import (
    CheckpointSettings,
    LoggingSettings,
    ModelSettings,
    OptimizerSettings,
    PolicySettings,
)
from dfprompt.training.watchdogs import WatchdogSettings


class RlDataSettings(Config):
    """Which prompts are rewritten."""

    folder: str = ""
    """The folder `dfprompt curate` wrote; stage 2 reads the short prompts alone."""


class RolloutSettings(Config):
    """What is drawn and rewarded before each round of updates."""

    rows: int = Field(default=32, ge=1)
    """Rewrites per step, over all processes (the paper: 32)."""
    max_new_tokens: int = Field(default=60, ge=1)
    """Most tokens a rewrite may append."""
    max_modifiers: int = Field(default=0, ge=0)
    """Most modifiers a rewrite may append, in training and ever after; 0 leaves that to the tokens."""
    control_draws: int = Field(default=1, ge=1)
    """Rows per rewrite, on one noise with controls drawn anew each; above 1 controls are compared."""
    batch_size: int = Field(default=32, ge=1)
    """Rewrites handed to the reward at a time, such as pictures per batch."""


class PictureSettings(RenderRequest):
    """What draws the rewrites, and how; with `ignore_controls` the run is a placebo."""

    pipeline: str = "mini"
    """What draws: "mini", a folder, a .safetensors file, a hub id."""
    share: bool = True
    """Compute once what rewrites of one prompt on one noise have in common."""

    @model_validator(mode="before")
    @classmethod
    def _read_old_name(cls, values: Any) -> Any:
        """Read recipes written when the pipeline was called the source."""
        if isinstance(values, dict) and "source" in values and "pipeline" not in values:
            return {"pipeline": values["source"], **{k: v for k, v in values.items() if k != "source"}}
        return values


class RewardChoice(Config):
    """What the pictures earn."""

    source: str = "mini"
    """A reward as `dfprompt score --reward` names it: "mini", a kind of score, FILE.toml, a folder."""
    changes: tuple[str, ...] = ()
    """Settings of it to change, as composite.c=0."""
    judges: tuple[str, ...] = ()
    """Scores that are logged beside it and never rewarded; "mini" is the mini world's judge."""
    meaning: str = ""
    """A score held against the plain picture's at validations, a CLIP usually; "clip:mini" is mini's."""


class RlOptimizerSettings(OptimizerSettings):
    """AdamW, its schedule and its batches; the schedule counts steps, a step being one rollout."""

    steps: int = Field(default=3000, ge=1)
    """Rollouts in all; each is followed by the updates it is worth (the paper's best: about 3,000)."""
    batch_size: int = Field(default=32, ge=1)
    """Rows per update; a rollout of more rows is cut into as many minibatches."""
    micro_batch_size: int = Field(default=32, ge=1)
    """Rows per pass; smaller ones need less memory and give the same update."""
    centre_heads: bool = False
    """Let both heads read states less their mean on the first rollout; saved policies are as ever."""
    heads_rate: float = Field(default=1.0, gt=0)
    """Learning rate of the heads for ranges and weights, in that of the trunk: they begin from nothing."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls after the warm-up."""


class SurrogateSettings(Config):
    """How far the policy moves on one rollout."""

    clip: float = Field(default=0.2, gt=0, lt=1)
    """How far the probability of a draw may change, as a share (the paper: 0.2)."""
    epochs: int = Field(default=2, ge=1)
    """Rounds over the rows of a rollout; with a single one of one minibatch the clip never acts."""
    stop_kl: float = Field(default=0.1, gt=0)
    """Updates on a rollout end when the policy has moved so far from the one that drew, in nats per draw."""
    text: float = Field(default=1.0, ge=0)
    """Weight of the words' surrogate (the paper: 1)."""
    range: float = Field(default=1.0, ge=0)
    """Weight of the effect ranges' surrogate (the paper: 1)."""
    weight: float = Field(default=1.0, ge=0)
    """Weight of the weights' surrogate (the paper: 1)."""
    text_entropy: float = Field(default=0.0, ge=0)
    """Bonus per nat of entropy of the words, estimated from those drawn: variety for reward."""
    range_entropy: float = Field(default=0.0, ge=0)
    """Bonus per nat of entropy of the range head."""
    weight_entropy: float = Field(default=0.0, ge=0)
    """Bonus per nat of entropy of the weight head."""


class KlSettings(Config):
    """What keeps the policy near stage 1: coefficients of KL(policy || stage 1), per draw."""

    text: float = Field(default=0.02, ge=0)
    """Coefficient for words (the published code: 0.02)."""
    range: float = Field(default=0.02, ge=0)
    """Coefficient for effect ranges (the published code: 0.02)."""
    weight: float = Field(default=0.02, ge=0)
    """Coefficient for weights (the published code: 0.02)."""
    target: float = Field(default=0.0, ge=0)
    """KL of the words, in nats per draw, that a common scale of the coefficients steers to; 0: fixed ones."""
    rate: float = Field(default=0.1, gt=0, le=1)
    """How fast that scale moves per step (Ziegler et al. 2019: 0.1)."""


class CriticSettings(Config):
    """What predicts the worth of every control of every phrase, from all pictures drawn so far."""

    use: bool = False
    """Teach ranges and weights by the critic, and credit words with the controls it knows to be better."""
    warmup: int = Field(default=6, ge=0)
    """Rollouts at first in which words stay and controls are drawn evenly, so that it sees all of them."""
    explore: float = Field(default=0.2, ge=0, le=1)
    """Share of the controls that are drawn evenly afterwards."""
    credit_words: bool = True
    """Off: words are blamed for the controls they were drawn with, the critic teaches the heads alone."""
    sharpness: float = Field(default=0.05, gt=0)
    """Units of reward by which a control must be better to be counted on as e times likelier."""
    caution: float = Field(default=0.0, ge=0)
    """Reward that a unit of lost meaning costs, as foreseen; plain pictures are then drawn too. 0: off."""
    gate: str = "clip"
    """The score of the reward by which meaning is measured, against the plain picture's of the same noise."""
    slack: float = Field(default=0.0, ge=0)
    """How far that score may fall below the plain picture's before meaning counts as lost."""
    noise: float = Field(default=0.4, gt=0)
    """Variance of a row's reward that words and controls do not explain, in that of a phrase's worth."""
    memory: float = Field(default=24.0, gt=0)
    """Rollouts after which a picture's noise counts twice: what stands beside a phrase changes."""
    window: int = Field(default=8000, ge=1)
    """Rows it learns from at most, the latest; time grows with their cube, memory with their square."""
    words_scale: float = Field(default=0.5, gt=0)
    """How far apart phrases' mean embeddings may be and still mean much the same, in their spread."""
    state_scale: float = Field(default=0.7, gt=0)
    """The same of stage 1's states behind phrases."""
    company_scale: float = Field(default=0.7, gt=0)
    """The same of the sum of the other phrases' mean embeddings."""
    weight_scale: float = Field(default=0.35, gt=0)
    """The same of weights."""


class TastesSettings(Config):
    """Tastes that one policy learns side by side, each from a reward of its own."""

    rewards: dict[str, str] = Field(default_factory=dict)
    """The reward of each taste by the taste's name; what `reward.changes` changes is changed in them too."""
    changes: tuple[str, ...] = ()
    """Settings of the tastes' rewards alone to change: composite.d=0 takes the crowd's preferences out."""
    dropout: float = Field(default=0.25, ge=0, le=1)
    """Share of groups without a taste, rewarded by `reward.source`: the crowd's."""


class RlValidationSettings(Config):
    """What is measured while training."""

    interval: int = Field(default=50, ge=1)
    """Steps between validations; one is also done at the end."""
    rows: int = Field(default=32, ge=1)
    """Most validation prompts rewritten and rewarded each time, always with the same seeds."""
    samples: int = Field(default=4, ge=0)
    """How many of them are kept in samples.jsonl."""


class SharedNoiseSettings(Config):
    """Groups of rewrites of one prompt on one noise."""

    size: int = Field(default=1, ge=1)
    """Rewrites per prompt, on one noise; rollout.rows must be a multiple, and a critic needs 2 or more."""


class RlSettings(Config):
    """What PPO and GRPO have in common."""

    seed: int = Field(default=0, ge=0)
    """The one seed: order of prompts, draws, noise of the pictures, minibatches."""
    device: Literal["auto", "cpu"] = "auto"
    """auto takes the GPU if there is one; several processes come from torchrun or accelerate launch."""
    export: Literal["best", "last"] = "best"
    """Which weights become the policy: those of the highest validation reward, or the last ones."""
    train: Literal["all", "heads", "words"] = "all"
    """Train everything; both heads on the words of stage 1; or words alone, every control the default."""
    model: ModelSettings = ModelSettings()
    """Where training starts: the policy of stage 1."""
    data: RlDataSettings = RlDataSettings()
    """What is rewritten."""
    pictures: PictureSettings = PictureSettings()
    """What draws them."""
    reward: RewardChoice = RewardChoice()
    """What they earn."""
    rollout: RolloutSettings = RolloutSettings()
    """What is drawn per step."""
    optimizer: RlOptimizerSettings = RlOptimizerSettings()
    """How the policy is updated."""
    surrogate: SurrogateSettings = SurrogateSettings()
    """How far it moves on one rollout."""
    critic: CriticSettings = CriticSettings()
    """What knows the worth of controls."""
    kl: KlSettings = KlSettings()
    """What keeps it near stage 1."""
    group: SharedNoiseSettings = SharedNoiseSettings()
    """Rewrites of one prompt on one noise."""
    tastes: TastesSettings = TastesSettings()
    """Whose tastes it learns beside the crowd's."""
    validation: RlValidationSettings = RlValidationSettings()
    """What is measured meanwhile."""
    watchdogs: WatchdogSettings = WatchdogSettings()
    """What ends it, or is told, when it goes wrong."""
    checkpoints: CheckpointSettings = CheckpointSettings()
    """When it is saved."""
    logging: LoggingSettings = LoggingSettings(interval=1)
    """What is written down."""
    policy: PolicySettings = PolicySettings()
    """What comes out."""

    @property
    def rows_per_prompt(self) -> int:
        """How many rows of a rollout rewrite one prompt on one noise."""
        return self.group.size * self.rollout.control_draws

    scale: ScaleSection = ScaleSection()
    """Who draws and scores."""

    @property
    def draws_plain(self) -> bool:
        """Whether rollouts draw the plain prompts too."""
        return self.critic.use and self.critic.caution > 0

    @model_validator(mode="after")
    def _check(self) -> RlSettings:
        draws, rows, apart = self.rollout.control_draws, self.rollout.rows, self.rows_per_prompt
        if draws > 1 and self.train == "words":
            raise ValueError(
                "rollout.control_draws above 1 compares controls, and train=words has none; set "
                "rollout.control_draws=1"
            )
        if self.critic.use and self.train == "words":
            raise ValueError("critic.use teaches ranges and weights, and train=words has none")
        if self.critic.use and apart < 2:
            raise ValueError(
                "critic.use compares rows of one prompt on one noise: set group.size or "
                "rollout.control_draws to 2 or more"
            )
        if rows % apart:
            raise ValueError(
                f"rollout.rows {rows} is no multiple of {apart}, the rows per prompt: rollout.control_draws "
                "times group.size"
            )
        return self


class ValueSettings(Config):
    """The value model: a copy of the stage 1 trunk that predicts the reward."""

    learning_rate: float = Field(default=5e-5, gt=0)
    """Its peak learning rate; the schedule is the policy's."""
    clip: float = Field(default=0.4, ge=0)
    """How far a value may move on one rollout, in units of reward (the paper: 0.4); 0: as far as it likes."""
    discount: float = Field(default=1.0, gt=0, le=1)
    """Gamma of the advantages; 1, because a rewrite is rewarded as a whole, at its end."""
    decay: float = Field(default=1.0, ge=0, le=1)
    """Lambda of the advantages; below 1 early phrases' controls count less, for no value can see them."""


class PpoSettings(RlSettings):
    """Everything a stage 2 run by PPO depends on."""

    value: ValueSettings = ValueSettings()
    """The value model."""


class GroupSettings(SharedNoiseSettings):
    """Groups of rewrites of one prompt on one noise, compared with each other."""

    size: int = Field(default=8, ge=2)
    """Rewrites per prompt; rollout.rows must be a multiple."""
    keep_plain: bool = False
    """Also draw the plain prompt: its reward enters the group's mean and spread, not the loss."""
    scale: Literal["group", "batch", "none"] = "group"
    """What deviations are divided by: their group's spread, the batch's, or nothing."""


class GrpoSettings(RlSettings):
    """Everything a stage 2 run by GRPO depends on."""

    group: GroupSettings = GroupSettings()
    """The groups."""

    @property
    def draws_plain(self) -> bool:
        """Whether rollouts draw the plain prompts too."""
        return self.group.keep_plain or super().draws_plain
