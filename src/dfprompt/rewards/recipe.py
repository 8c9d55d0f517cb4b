"""A reward recipe made into a reward: models loaded, code imported with permission, judges kept apart."""

from __future__ import annotations

from pathlib import Path

from dfprompt.config import nearest
from dfprompt.errors import ConfigError
from dfprompt.rewards.composite import CompositeReward
from dfprompt.rewards.loading import KINDS, PARTS, ScoreLoader
from dfprompt.rewards.scores import Score
from dfprompt.rewards.settings import JudgeSettings, ModelSettings, RewardSettings
from dfprompt.rewards.user import load_user_score


def make_reward(
    settings: RewardSettings, shelf: ScoreLoader, *, base: Path = Path(), allow_code: bool = False
) -> CompositeReward:
    """The composite of a recipe, loading only models whose weight is not 0; relative paths start at `base`.

    Raises LoadError for missing weights, ConfigError for code without permission or a judge that is trained.
    """
    constants, models = settings.composite, settings.models
    extra = {
        entry.name: (
            load_user_score(entry.name, entry.function, allow_code=allow_code, base=base),
            entry.weight,
        )
        for entry in settings.extra
    }
    _refuse_trained_judges(settings, base)
    judges = {entry.name: _judge(entry, shelf, base, allow_code) for entry in settings.judges}
    return CompositeReward(
        constants,
        aesthetic=_aesthetic(models, shelf, base) if constants.a else None,
        clip=_part(models.clip, "clip", shelf, base) if constants.c else None,
        preference=_part(models.preference, "pickscore", shelf, base) if constants.d else None,
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


def _part(source: str, kind: str, shelf: ScoreLoader, base: Path) -> Score:
    """One of the three scores; a plain source takes the kind of its place in equation 4."""
    if source.partition(":")[0] in KINDS:
        named, place = split_kind(source)
        if PARTS[named] != PARTS[kind]:
            raise ConfigError(f"models: {source!r} cannot stand in the place of a {kind} score")
        return shelf.load_score(named, place, base=base)
    return shelf.load_score(kind, source, base=base)


def _aesthetic(models: ModelSettings, shelf: ScoreLoader, base: Path) -> Score:
    source: str | None = models.aesthetic.removeprefix("aesthetic:")
    tower = models.aesthetic_tower or models.clip
    if source == "aesthetic":
        source = None
    place = tower.removeprefix("clip:")
    return shelf.load_score("aesthetic", source, base=base, tower=None if place == "clip" else place)


def _judge(entry: JudgeSettings, shelf: ScoreLoader, base: Path, allow_code: bool) -> Score:
    if entry.function is not None:
        return load_user_score(entry.name, entry.function, allow_code=allow_code, base=base)
    kind, place = split_kind(entry.score or "")
    return shelf.load_score(kind, place, base=base)


def _refuse_trained_judges(settings: RewardSettings, base: Path) -> None:
    """A judge that is also trained on judges nothing, however both are written."""
    constants, models = settings.composite, settings.models
    parts = (
        (models.clip, "clip", constants.c),
        (models.aesthetic, "aesthetic", constants.a),
        (models.preference, "pickscore", constants.d),
    )
    trained = {_identity(source, kind, base) for source, kind, weight in parts if weight}
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
    head, _, place = source.partition(":")
    named, place = (head, place) if head in KINDS else (kind, source)
    path = base / place
    return named, str(path.resolve()) if place and path.exists() else place
