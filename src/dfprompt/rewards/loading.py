"""From names and folders to scores: the published models, our own folders, and the towers they share."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from dfprompt.errors import ConfigError, LoadError
from dfprompt.published import AESTHETIC, CLIP_H, CLIP_L, HP, HPS, ICT, PICKSCORE, find_published
from dfprompt.rewards.aesthetic import WEIGHTS_NAME, load_aesthetic_head
from dfprompt.rewards.checkpoints import load_tower
from dfprompt.rewards.scores import AestheticScore, ClipScore, HpScore, PickScore, Score
from dfprompt.rewards.tower import ClipTower
from dfprompt.rewards.weights import find_source
from dfprompt.sources import pick_device, pick_dtype

KINDS = ("clip", "aesthetic", "pickscore", "hps", "ict", "hp")
# A folder that holds a whole set of scores has one folder for each of these parts.
PARTS = {"clip": "clip", "aesthetic": "aesthetic", "pickscore": "preference", "hps": "preference"}
_PUBLISHED = {
    "clip": CLIP_L,
    "aesthetic": AESTHETIC,
    "pickscore": PICKSCORE,
    "hps": HPS,
    "ict": ICT,
    "hp": HP,
}


class ScoreLoader:
    """Loads models for one device and dtype; what is loaded once is shared by every score that needs it.

    `named` maps names such as "mini" to folders. Models that no score holds any more are let go.
    """

    def __init__(
        self,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        named: dict[str, Callable[[], Path]] | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype, self.device)
        self.named = named or {}
        self.batch_size = batch_size
        self._towers: weakref.WeakValueDictionary[tuple[Path, str, int], ClipTower]
        self._towers = weakref.WeakValueDictionary()

    def load_score(
        self, kind: str, source: str | None = None, *, base: Path = Path(), tower: str | None = None
    ) -> Score:
        """A score of one kind, from its published weights or from a folder, file, name or hub id.

        `tower` names the CLIP model an aesthetic head reads where its own folder does not say so.
        Raises LoadError for missing or damaged weights.
        """
        match kind:
            case "clip":
                return ClipScore(self._tower(self._find("clip", source, base)))
            case "pickscore":
                return PickScore(self._tower(self._find("pickscore", source, base)))
            case "hps":
                return ClipScore(self._hps_tower(self._find("hps", source, base)), name="hps")
            case "ict":
                place = self._find("ict", source, base)
                return ClipScore(self._fine_tuned(place, "pytorch_model.bin"), name="ict")
            case "hp":
                place = self._find("hp", source, base)
                head, _ = load_aesthetic_head(place / HP.files[1])
                return HpScore(self._fine_tuned(place, HP.files[0]), head)
            case "aesthetic":
                return self._aesthetic(self._find("aesthetic", source, base), tower, base)
        raise ConfigError(f"{kind!r} is not a kind of score; known are {', '.join(KINDS)}")

    def _find(self, kind: str, source: str | None, base: Path) -> Path:
        if source is None:
            return find_published(_PUBLISHED[kind], kind)
        place = self.named[source]() if source in self.named else find_source(source, base)
        part = place / PARTS.get(kind, "")
        return part if part.is_dir() else place

    def _aesthetic(self, place: Path, tower: str | None, base: Path) -> Score:
        published = place / AESTHETIC.files[0]
        head, own = load_aesthetic_head(published if published.is_file() else place)
        source = own if own and own != CLIP_L.hub_id else tower  # without either: the published ViT-L/14
        return AestheticScore(self._tower(self._find("clip", source, base)), head)

    def _fine_tuned(self, place: Path, name: str) -> ClipTower:
        """CLIP-H with the weights of a file; a folder of one's own may hold the configuration too."""
        checkpoint = place / name
        if not checkpoint.is_file():
            raise LoadError(f"{place}: there is no {name} here")
        configs = place if (place / "config.json").is_file() else find_published(CLIP_H, "ict and hp")
        return self._tower(configs, checkpoint=checkpoint)

    def _hps_tower(self, place: Path) -> ClipTower:
        if (place / "model.safetensors").is_file():
            return self._tower(place, fit="pad")
        checkpoint = place if place.is_file() else place / HPS.files[0]
        if not checkpoint.is_file():
            raise LoadError(f"{place}: neither model.safetensors nor {HPS.files[0]} is here")
        around = checkpoint.parent  # a folder of one's own may hold CLIP-H's configuration too
        configs = around if (around / "config.json").is_file() else find_published(CLIP_H, "hps")
        return self._tower(configs, fit="pad", checkpoint=checkpoint)

    def _tower(
        self, folder: Path, *, fit: Literal["crop", "pad"] = "crop", checkpoint: Path | None = None
    ) -> ClipTower:
        weights = checkpoint or folder / "model.safetensors"
        changed = weights.stat().st_mtime_ns if weights.is_file() else 0
        key = ((checkpoint or folder).resolve(), fit, changed)
        tower = self._towers.get(key)
        if tower is None:
            tower = load_tower(folder, fit=fit, checkpoint=checkpoint, device=self.device, dtype=self.dtype)
            tower.batch_size = self.batch_size
            self._towers[key] = tower
        return tower


def guess_kind(folder: Path) -> str | None:
    """What a folder holds: "set" (clip, aesthetic, preference), "aesthetic", "clip", or None."""
    if all((folder / part).is_dir() for part in ("clip", "aesthetic", "preference")):
        return "set"
    if (folder / WEIGHTS_NAME).is_file() or (folder / AESTHETIC.files[0]).is_file():
        return "aesthetic"
    return "clip" if (folder / "config.json").is_file() else None
