"""A reward recipe made into a reward: models loaded, code imported with permission, judges kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dfprompt.config import nearest
from dfprompt.endpoint import is_url
from dfprompt.errors import ConfigError
from dfprompt.rewards.composite import CompositeReward
from dfprompt.rewards.loading import KINDS, PARTS, ScoreLoader
from dfprompt.rewards.remote import RemoteScore
from dfprompt.rewards.scores import Score
from dfprompt.rewards.settings import (
    ExtraSettings,
    JudgeSettings,
    ModelSettings,
    RemoteSettings,
    RewardSettings,
)
from dfprompt.rewards.user import load_user_score


def make_reward(
    settings: RewardSettings, shelf: ScoreLoader, *, base: Path = Path(), allow_code: bool = False
) -> CompositeReward:
    """The composite of a recipe, loading only models whose weight is not 0; relative paths start at `base`.

    Raises LoadError for missing weights, ConfigError for code without permission or a judge that is trained.
    """
    constants, models = settings.composite, settings.models
    _refuse_trained_judges(settings, base)
    loader = _Loader(shelf, settings.remote, base, allow_code)
    extra = {entry.name: (loader.entry(entry), entry.weight) for entry in settings.extra}
    judges = {entry.name: loader.entry(entry) for entry in settings.judges}
    return CompositeReward(
        constants,
        aesthetic=loader.aesthetic(models) if constants.a else None,
        clip=loader.part(models.clip, "clip") if constants.c else None,
        preference=loader.part(models.preference, "pickscore") if constants.d else None,
        extra=extra,
        judges=judges,
    )


def split_kind(source: str) -> tuple[str, str | None]:
    """A score's kind and source: "clip", or "clip:FOLDER"; raises ConfigError for an unknown kind.

    >>> split_kind("hps:weights/hps"), split_kind("clip")
    (('hps', 'weights/hps'), ('clip', None))
    """
    kind, _, place = source.partition(":")
    if kind not in KINDS:
        raise ConfigError(f"{source!r} names no score; {nearest(kind, KINDS)}")
    return kind, place or None


@dataclass(frozen=True)
class _Loader:
    """Loads what a recipe names; relative paths start at `base`."""

    shelf: ScoreLoader
    remote: RemoteSettings
    base: Path
    allow_code: bool

    def part(self, source: str, kind: str) -> Score:
        """One of the three scores; a plain source takes the kind of its place in equation 4."""
        if is_url(source):
            return RemoteScore(source, self.remote, base=self.base)
        if source.partition(":")[0] in KINDS:
            named, place = split_kind(source)
            if PARTS.get(named) != PARTS[kind]:
                raise ConfigError(f"models: {source!r} cannot stand in the place of a {kind} score")
            return self.shelf.load_score(named, place, base=self.base)
        return self.shelf.load_score(kind, source, base=self.base)

    def aesthetic(self, models: ModelSettings) -> Score:
        """The aesthetic score on the tower that is named for it."""
        if is_url(models.aesthetic):
            return RemoteScore(models.aesthetic, self.remote, base=self.base)
        source: str | None = models.aesthetic.removeprefix("aesthetic:")
        if source == "aesthetic":
            source = None
        place = (models.aesthetic_tower or models.clip).removeprefix("clip:")
        tower = None if place == "clip" else place
        return self.shelf.load_score("aesthetic", source, base=self.base, tower=tower)

    def entry(self, entry: ExtraSettings | JudgeSettings) -> Score:
        """A further reward or a judge: a function, an address, or a kind of score."""
        if entry.function is not None:
            return load_user_score(entry.name, entry.function, allow_code=self.allow_code, base=self.base)
        source = entry.score or ""
        if is_url(source):
            return RemoteScore(source, self.remote, base=self.base)
        kind, place = split_kind(source)
        return self.shelf.load_score(kind, place, base=self.base)


def _refuse_trained_judges(settings: RewardSettings, base: Path) -> None:
    """A judge that is also trained on judges nothing, however both are written."""
    constants, models = settings.composite, settings.models
    parts = (
        (models.clip, "clip", constants.c),
        (models.aesthetic, "aesthetic", constants.a),
        (models.preference, "pickscore", constants.d),
    )
    trained = {_identity(source, kind, base) for source, kind, weight in parts if weight}
    trained |= {_identity(entry.score, "", base) for entry in settings.extra if entry.weight and entry.score}
    functions = {entry.function for entry in settings.extra if entry.weight}
    for judge in settings.judges:
        scored = judge.score is not None and _identity(judge.score, "", base) in trained
        if scored or (judge.function is not None and judge.function in functions):
            raise ConfigError(
                f"judge {judge.name!r} is part of the reward ({judge.score or judge.function}); "
                "a judge is a score that is never trained on"
            )


def _identity(source: str, kind: str, base: Path) -> tuple[str, str]:
    """Kind and place of a score; a plain source has the kind of its place in equation 4."""
    if is_url(source):
        return "http", source.rstrip("/")
    head, _, place = source.partition(":")
    named, place = (head, place) if head in KINDS else (kind, source)
    path = base / place
    return named, str(path.resolve()) if place and path.exists() else place
