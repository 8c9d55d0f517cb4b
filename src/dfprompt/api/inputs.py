"""Digests of what a run reads: rows, policies, pipelines, rewards. What goes on, goes on with the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from dfprompt.api.companions import MINI
from dfprompt.api.world import mini_folder, mini_taste
from dfprompt.config import load_config
from dfprompt.data.settings import ConfidenceSettings
from dfprompt.pipeline.identity import hash_weights
from dfprompt.policy.folders import weights_digest
from dfprompt.rewards import KINDS, RewardSettings
from dfprompt.rewards.taste import TASTE, TASTE_FILE, read_taste
from dfprompt.storage import iter_bytes

TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"
_READ = (".safetensors", ".pth", ".json", ".toml", ".txt")
_PREFIXES = (*KINDS, TASTE, "atomic")


def digest_inputs(data: str, base: Path, **others: str) -> dict[str, str]:
    """Digests of what a run was begun with: its rows, the policy it starts from, and `others`."""
    rows = hashlib.sha256()
    for name in (TRAIN, VALIDATION):
        path = Path(data) / name
        for piece in iter_bytes(path) if path.is_file() else ():
            rows.update(piece)
    return {"data": rows.hexdigest()[:16], "base": weights_digest(base), **others}


def digest_instruments(settings: ConfidenceSettings) -> dict[str, str]:
    """Digests of what draws and scores for confidence; none where nothing is drawn."""
    if not settings.enabled:
        return {}
    pipeline = settings.pipeline or MINI
    return {
        "pipeline": digest_source(str(mini_folder("pipeline")) if pipeline == MINI else pipeline),
        "aesthetic": digest_source(settings.aesthetic or MINI),
        "clip": digest_source(settings.clip or MINI),
        **{f"judge {name}": digest_source(name) for name in settings.judges},
    }


def digest_source(source: str, base: Path = Path()) -> str:
    """A digest of the files a reward's name stands for, those that its recipe or taste names among them; of
    the name itself where it stands for no file. Relative paths start at `base`.
    """
    head, _, rest = source.partition(":")
    named = rest if head in _PREFIXES else source
    if ".py:" in named:
        named = named.rpartition(":")[0]
    place = mini_folder() if source == MINI else mini_taste(source) or base / named
    if place.suffix == ".toml" and place.with_suffix("").is_dir():  # a mini taste, its head beside it
        place = place.with_suffix("")
    if head == TASTE and place.is_dir():
        place /= TASTE_FILE
    if place.is_dir() and named:
        files = [path for path in place.rglob("*") if path.suffix in _READ and path.is_file()]
        return hash_weights(files, place)
    if place.is_file() and place.suffix == ".toml":
        return _digest("".join((hash_weights([place]), *_named_in(place, taste=head == TASTE))))
    if place.is_file():
        return hash_weights([place])
    return _digest(source)


def _named_in(recipe: Path, *, taste: bool) -> Iterator[str]:
    """Digests of the scores that a recipe of a reward sums up, or that a taste counts."""
    if taste:
        base, named = Path(), read_taste(recipe).rewards
    else:
        settings, base = load_config(RewardSettings, recipe), recipe.parent
        models = (settings.models.clip, settings.models.aesthetic, settings.models.preference)
        extra = (each.score or each.function or "" for each in settings.extra)
        named = (*models, *(each for each in extra if each and not each.endswith(".toml")))
    yield from (digest_source(each, base) for each in named)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:10]
