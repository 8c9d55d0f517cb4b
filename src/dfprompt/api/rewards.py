"""Rewards by name: what `--reward` and `load_reward` take, and scoring pictures however they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from dfprompt.api.pictures import ImageLike, check_origins, read_pictures
from dfprompt.api.world import mini_folder, mini_taste
from dfprompt.config import load_config
from dfprompt.config.keywords import names_keywords
from dfprompt.endpoint import is_url
from dfprompt.errors import ConfigError, ImageFileError, LoadError
from dfprompt.excerpt import quote
from dfprompt.images.reading import Picture, raise_together
from dfprompt.published import unknown_reward
from dfprompt.rewards import (
    KINDS,
    ImageBatch,
    Records,
    RemoteScore,
    Reward,
    RewardSettings,
    Score,
    ScoreLoader,
    as_score,
    guess_kind,
    load_user_score,
    make_reward,
    split_kind,
)
from dfprompt.rewards.atomic import AtomicScore
from dfprompt.rewards.taste import TASTE, TasteScore, TasteTerms, read_taste

RewardLike: TypeAlias = str | Path | Reward
_AT_ONCE = 8  # pictures read together: 100 MB of 1024 x 1024 pixels
PAPER = "paper"  # equation 4 with the published code's constants and published weights

# One shelf per device and dtype: scores loaded one after another share the models they have in common.
_shelves: dict[tuple[str, str, int | None], ScoreLoader] = {}


@names_keywords
def load_reward(
    source: RewardLike = "mini",
    *,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    allow_code: bool = False,
    assignments: Iterable[str] = (),
) -> Score:
    """Load a reward or judge by name, folder or recipe.

    `source`: "mini" (the built-in world's composite), "mini-painted" or "mini-graphic" (the same with another
    population's taste), "paper" (the paper's composite on published
    weights), "clip", "aesthetic", "pickscore" or "hps" (published weights, from the local Hub cache),
    any of these four with ":FOLDER", ":FILE" or ":owner/name" behind it, a recipe FILE.toml, a function
    FILE.py:FUNCTION, a folder (a set of scores, an aesthetic head or a CLIP model), "hub:owner/name"
    that `push_to_hub` shared, an address http://... of a server that speaks the reward protocol,
    "atomic:FILE.py:FUNCTION" (fidelity by atoms, answered by a function), "taste:FILE" (what
    `dfprompt taste` learnt, or its folder), or a callable.
    `assignments` are `section.key=value` on top of a recipe or set; `allow_code` lets code be run.
    Raises LoadError for missing weights (naming the command that fetches them), ConfigError for the rest.

    >>> load_reward(lambda images, prompts, records=None: images.mean((1, 2, 3))).name
    '<lambda>'
    """
    if not isinstance(source, str | Path):
        return as_score(source)
    text = str(mini_taste(str(source)) or source)
    assignments = tuple(assignments)
    if text.startswith("hub:"):
        return _load_shared(text, device=device, dtype=dtype, batch_size=batch_size, allow_code=allow_code)
    if text.startswith("atomic:"):
        _refuse_assignments(text, assignments)
        named = text.removeprefix("atomic:")
        answers = load_user_score(named.rpartition(":")[2], named, allow_code=allow_code).function
        return AtomicScore(answers)
    if text.startswith(f"{TASTE}:"):
        taste = read_taste(text.partition(":")[2])
        inner: dict[str, Any] = {"device": device, "dtype": dtype, "batch_size": batch_size}
        inner |= {"allow_code": allow_code, "assignments": assignments}
        terms = TasteTerms([load_reward(each, **inner) for each in taste.rewards])
        return TasteScore(terms, {term.name: term.weight for term in taste.terms})
    if text.rpartition(":")[0].endswith(".py"):
        _refuse_assignments(text, assignments)
        return load_user_score(text.rpartition(":")[2], text, allow_code=allow_code)
    if is_url(text):
        settings = load_config(RewardSettings, None, about_servers(assignments))
        return RemoteScore(text, settings.remote)
    shelf = reward_shelf(device, dtype, batch_size)
    if text.partition(":")[0] in KINDS:
        _refuse_assignments(text, assignments)
        return shelf.load_score(*split_kind(text))
    by_name = text == PAPER or text in shelf.named or text.endswith(".toml")
    folder = None if by_name else Path(source)
    kind = guess_kind(folder) if folder else None
    if folder and kind in KINDS:
        _refuse_assignments(text, assignments)
        return shelf.load_score(kind, str(folder.resolve()))
    settings, base = read_reward_settings(text, shelf, assignments)
    return make_reward(settings, shelf, base=base, allow_code=allow_code)


def _load_shared(text: str, **options: Any) -> Score:
    """A reward that somebody shared: its folder, or its recipe, which may not send pictures to a server."""
    from dfprompt.api.hub import find_shared

    folder = find_shared(text)
    recipe = folder / "reward.toml"
    if recipe.is_file():
        settings = load_config(RewardSettings, recipe)
        named = [*(each.score for each in settings.extra), *(each.score for each in settings.judges)]
        servers = [each for each in named if each is not None and is_url(each)]
        if servers:
            raise ConfigError(
                f"{text}: its recipe sends pictures to {quote(servers[0])}; "
                "name that address yourself if you mean it"
            )
    alone = recipe.is_file() and not any(
        (folder / part).is_dir() for part in ("clip", "aesthetic", "preference")
    )
    return load_reward(str(recipe if alone else folder), **options)


def read_reward_settings(
    source: str, shelf: ScoreLoader, assignments: Iterable[str] = ()
) -> tuple[RewardSettings, Path]:
    """The settings of a composite, a recipe or a folder with a set of scores, and where its paths start."""
    if source.endswith(".toml"):
        return load_config(RewardSettings, source, assignments), Path(source).parent
    if source == PAPER:
        return load_config(RewardSettings, None, assignments), Path()
    folder = shelf.named[source]() if source in shelf.named else Path(source)
    if not folder.is_dir():
        raise _unknown(source)
    if guess_kind(folder) != "set":
        raise LoadError(
            f"{folder}: neither a set of scores (folders clip, aesthetic, preference), an aesthetic head, "
            "nor a CLIP model"
        )
    recipe = folder / "reward.toml"
    settings = load_config(RewardSettings, recipe if recipe.is_file() else None, assignments)
    place = source if source in shelf.named else str(folder.resolve())
    models = settings.models.model_copy(update=dict.fromkeys(("clip", "aesthetic", "preference"), place))
    return settings.model_copy(update={"models": models}), folder


@names_keywords
def score_images(
    images: Tensor | Sequence[ImageLike],
    prompts: str | Sequence[str],
    reward: RewardLike | Sequence[RewardLike] = "mini",
    *,
    records: Records | None = None,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    allow_code: bool = False,
    seen: Callable[[Picture], None] | None = None,
) -> dict[str, Tensor]:
    """Score pictures against their plain prompts: a column (B,) per score, and per term of a composite.

    `images`: a tensor (B, 3, H, W) in [0, 1], or files, PIL images and tensors (3, H, W) of any sizes.
    `prompts`: one text per picture, or one for all. Several rewards share the image towers they have in
    common. Files are converted to RGB as `read_image` says, and read a few at a time: `seen` is called with
    each, without its pixels. Raises one ImageFileError that names all that cannot be read, ConfigError for
    other counts of texts than of pictures, and what loading and asking the rewards raise.

    >>> brightness = lambda images, prompts, records=None: images.mean((1, 2, 3))
    >>> score_images(torch.ones(2, 3, 4, 4), "a cat", brightness)
    {'<lambda>': tensor([1., 1.])}
    """
    several = [reward] if isinstance(reward, str | Path) or callable(reward) else list(reward)
    options: dict[str, Any] = {"device": device, "dtype": dtype, "batch_size": batch_size}
    loaded = [load_reward(one, allow_code=allow_code, **options) for one in several]
    texts = [prompts] * len(images) if isinstance(prompts, str) else list(prompts)
    for name, rows in (("prompts", texts), ("records", records)):
        if rows is not None and len(rows) != len(images):
            raise ConfigError(f"{len(images)} images need {len(images)} {name}, got {len(rows)}")
    if isinstance(images, Tensor):
        return _columns(loaded, ImageBatch(images), texts, records)
    return _score_in_parts(loaded, images, texts, records, seen)


def _score_in_parts(
    loaded: Sequence[Score],
    images: Sequence[ImageLike],
    prompts: Sequence[str],
    records: Records | None,
    seen: Callable[[Picture], None] | None,
) -> dict[str, Tensor]:
    """Read and score a few pictures at a time: of thousands, only their names and notes are kept."""
    kept: list[Picture] = []
    parts: list[dict[str, Tensor]] = []
    problems: list[ImageFileError] = []
    for start in range(0, len(images), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        pictures = []
        for image in images[part]:
            try:
                pictures += read_pictures([image])
            except ImageFileError as error:
                problems.append(error)
        if problems:
            continue  # the others are still looked at, so that one message names all
        inner = None if records is None else records[part]
        parts.append(_score_by_size(loaded, pictures, prompts[part], inner))
        kept += [replace(each, pixels=each.pixels[:, :0, :0].clone()) for each in pictures]
    raise_together(problems)
    check_origins(loaded, kept)
    if seen is not None:
        for picture in kept:
            seen(picture)
    return {name: torch.cat([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def _score_by_size(
    loaded: Sequence[Score], pictures: Sequence[Picture], prompts: Sequence[str], records: Records | None
) -> dict[str, Tensor]:
    """Pictures of one size make one batch; the scores return to their rows."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, picture in enumerate(pictures):
        groups.setdefault(tuple(picture.pixels.shape), []).append(row)
    columns: dict[str, Tensor] = {}
    for rows in groups.values():
        batch = ImageBatch(torch.stack([pictures[row].pixels for row in rows]))
        inner = [records[row] for row in rows] if records is not None else None
        for name, scores in _columns(loaded, batch, [prompts[row] for row in rows], inner).items():
            columns.setdefault(name, torch.empty(len(pictures)))[rows] = scores.cpu()
    return columns


def _columns(
    loaded: Sequence[Score], batch: ImageBatch, prompts: Sequence[str], records: Records | None
) -> dict[str, Tensor]:
    columns: dict[str, Tensor] = {}
    for score in loaded:
        for name, values in score.columns(batch, prompts, records).items():
            if name in columns and not torch.equal(columns[name], values):
                raise ConfigError(f"two of the rewards have a column {name!r}; score them in two calls")
            columns[name] = values
    return columns


def reward_shelf(device: str, dtype: str, batch_size: int | None) -> ScoreLoader:
    """The shelf of models for a device and dtype; one for the whole process."""
    key = (str(device), str(dtype), batch_size)
    if key not in _shelves:
        named: dict[str, Callable[[], Path]] = {"mini": mini_folder}
        _shelves[key] = ScoreLoader(device=device, dtype=dtype, named=named, batch_size=batch_size)
    return _shelves[key]


def about_servers(assignments: Iterable[str]) -> tuple[str, ...]:
    """Return the settings that are meant for every score behind an address."""
    return tuple(each for each in assignments if each.startswith("remote."))


def _refuse_assignments(source: str, assignments: Sequence[str]) -> None:
    if other := [each for each in assignments if each not in about_servers(assignments)]:
        raise ConfigError(f"{source} has no settings for --set {other[0]}; recipes and sets have")


def _unknown(text: str) -> ConfigError:
    if "/" in text and not text.startswith((".", "/")):
        return ConfigError(f"{text}: no such folder; for a hub id say what it is, such as clip:{text}")
    return unknown_reward(text)
