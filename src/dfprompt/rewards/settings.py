"""What a reward recipe can set: the constants of equation 4, the models, further rewards, judges."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import Field, model_validator

from dfprompt.config import Config


class CompositeSettings(Config):
    """The constants of equation 4: a*(aes - b*aes_plain) + c*min(clip - zeta, 0) + d*min(pick - kappa, 0).

    A threshold that is relative counts from the plain image of the same seed; it is 0 unless given.
    """

    a: float = 1.0
    """Weight of the aesthetic score (the paper's alpha, best value 1)."""
    b: float = 0.0
    """Share of the plain image's aesthetic score that is subtracted (the paper's beta, best value 0)."""
    c: float = 20.0
    """Weight of the CLIP gate (published code: 20); the cosine is some 20 times smaller than the others."""
    d: float = 1.0
    """Weight of the preference gate (published code: 1)."""
    zeta: float = 0.28
    """CLIP score (cosine, -1..1) below which a picture is punished (published code: 0.28)."""
    kappa: float = 18.0
    """Preference score below which a picture is punished (paper: 18, which hardly ever binds)."""
    zeta_relative: bool = False
    """Count zeta from the CLIP score of the plain image of the same seed."""
    kappa_relative: bool = False
    """Count kappa from the preference score of the plain image of the same seed."""

    @model_validator(mode="before")
    @classmethod
    def _relative_thresholds_start_at_zero(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        starts = {name: 0.0 for name in ("zeta", "kappa") if values.get(f"{name}_relative") is True}
        return {**starts, **values}


class ModelSettings(Config):
    """Where the three scores come from: a kind's name for the published weights, a folder, file or hub id."""

    clip: str = "clip"
    """CLIP model of the CLIP gate: "clip" (ViT-L/14), "mini", a folder, or a hub id."""
    aesthetic: str = "aesthetic"
    """Aesthetic head: "aesthetic" (sac+logos+ava1 on ViT-L/14), "mini", a folder, or a .pth file."""
    preference: str = "pickscore"
    """Preference model: "pickscore", "hps", "mini", a folder or hub id; "hps:FOLDER" for HPSv2.1 weights."""
    aesthetic_tower: str | None = None
    """CLIP model the aesthetic head reads, where its folder does not say; by default the clip model."""


class RemoteSettings(Config):
    """How patient to be with rewards behind an address (http://...)."""

    timeout: float = Field(default=120.0, gt=0, le=3600)
    """Seconds for the answer to one batch."""
    retries: int = Field(default=3, ge=0, le=20)
    """How often a batch is asked again after no answer, a broken one, or a busy server."""
    backoff: float = Field(default=1.0, ge=0, le=60)
    """Seconds before the first repetition, doubled each time."""
    batch: int = Field(default=8, ge=1, le=256)
    """Most pictures in one request; the server may want fewer."""
    on_failure: Literal["stop", "row"] = "stop"
    """What a failure does: "stop" the work, keeping what is done, or leave the "row" without this score."""
    token_file: str | None = None
    """File with the server's token; without one the variable DFPROMPT_TOKEN is read."""


class ExtraSettings(Config):
    """A further reward, added to equation 4; give a score or a function."""

    name: str
    """Its name in tables."""
    score: str | None = None
    """A kind of score, "ict" or "clip:FOLDER" for instance, or the address of a server, http://..."""
    function: str | None = None
    """Import path, package.module:function or file.py:function, called (images, prompts, records) -> (B,)."""
    weight: float = 1.0
    """What its score is multiplied by in the sum."""

    @model_validator(mode="after")
    def _one_of_both(self) -> ExtraSettings:
        return _check_one(self, "reward")


class JudgeSettings(Config):
    """A score that is only ever watched, never trained on; give a score or a function."""

    name: str
    """Its name in tables."""
    score: str | None = None
    """A kind of score, "hps" or "clip:FOLDER" for instance, or the address of a server, http://..."""
    function: str | None = None
    """Import path of a judge of the user's own."""

    @model_validator(mode="after")
    def _one_of_both(self) -> JudgeSettings:
        return _check_one(self, "judge")


EntryT = TypeVar("EntryT", ExtraSettings, JudgeSettings)


def _check_one(entry: EntryT, kind: str) -> EntryT:
    if (entry.score is None) == (entry.function is None):
        raise ValueError(f"{kind} {entry.name!r} needs either score or function")
    return entry


class RewardSettings(Config):
    """A reward recipe; empty, it is the paper's reward with the published code's constants."""

    composite: CompositeSettings = CompositeSettings()
    """The constants of equation 4."""
    models: ModelSettings = ModelSettings()
    """The models behind its three scores."""
    extra: tuple[ExtraSettings, ...] = ()
    """Further rewards, added with their weights."""
    judges: tuple[JudgeSettings, ...] = ()
    """Scores shown beside the reward and never part of it."""
    remote: RemoteSettings = RemoteSettings()
    """How patient to be with scores behind an address."""
