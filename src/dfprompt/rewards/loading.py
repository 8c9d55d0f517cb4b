"""From names and folders to scores: the published models, our own folders, and the towers they share."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from dfprompt.errors import ConfigError, LoadError
from dfprompt.rewards.aesthetic import WEIGHTS_NAME, load_aesthetic_head
from dfprompt.rewards.domain import find_domain
from dfprompt.rewards.openclip import convert_open_clip
from dfprompt.rewards.preprocessing import read_preprocessing
from dfprompt.rewards.scores import AestheticScore, ClipScore, PickScore, Score
from dfprompt.rewards.tensorfiles import read_tensors
from dfprompt.rewards.tower import ClipTower
from dfprompt.rewards.weights import AESTHETIC, CLIP_H, CLIP_L, HPS, PICKSCORE, find_published, find_source

KINDS = ("clip", "aesthetic", "pickscore", "hps")
# A folder that holds a whole set of scores has one folder for each of these parts.
PARTS = {"clip": "clip", "aesthetic": "aesthetic", "pickscore": "preference", "hps": "preference"}

_LOADING_ERRORS = (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError)


class ModelShelf:
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
            case "aesthetic":
                return self._aesthetic(self._find("aesthetic", source, base), tower, base)
        raise ConfigError(f"{kind!r} is not a kind of score; known are {', '.join(KINDS)}")

    def _find(self, kind: str, source: str | None, base: Path) -> Path:
        if source is None:
            published = {"clip": CLIP_L, "pickscore": PICKSCORE, "hps": HPS, "aesthetic": AESTHETIC}[kind]
            return find_published(published, kind)
        place = self.named[source]() if source in self.named else find_source(source, base)
        part = place / PARTS[kind]
        return part if part.is_dir() else place

    def _aesthetic(self, place: Path, tower: str | None, base: Path) -> Score:
        published = place / AESTHETIC.files[0]
        head, own = load_aesthetic_head(published if published.is_file() else place)
        source = own if own and own != CLIP_L.hub_id else tower  # without either: the published ViT-L/14
        return AestheticScore(self._tower(self._find("clip", source, base)), head)

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


def load_tower(
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    fit: Literal["crop", "pad"] = "crop",
    checkpoint: Path | None = None,
) -> ClipTower:
    """Read a CLIPModel folder with tokenizer and preprocessing; `checkpoint` gives open_clip weights instead.

    Raises LoadError naming the folder and what is wrong with it.
    """
    from transformers import CLIPTokenizer

    if not (folder / "config.json").is_file():
        raise LoadError(
            f"{folder}: no config.json; a CLIP model is a folder written by CLIPModel.save_pretrained"
        )
    model = _guarded(folder, _open_clip_model if checkpoint else _clip_model, folder, checkpoint)
    tokenizer = _guarded(folder, CLIPTokenizer.from_pretrained, folder, local_files_only=True)
    if len(tokenizer) < 3:  # nothing but the end tokens: the vocabulary file is missing
        raise LoadError(
            f"{folder}: the tokenizer's files are missing (tokenizer.json, or vocab.json and merges.txt)"
        )
    return ClipTower(
        model.to(device=device, dtype=dtype),
        tokenizer,
        read_preprocessing(folder, fit=fit),
        name=(checkpoint or folder).name,
        domain=find_domain(folder),
    )


def _clip_model(folder: Path, _: Path | None) -> Any:
    from transformers import CLIPModel

    model, info = CLIPModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    if missing := sorted(info["missing_keys"]):
        raise LoadError(
            f"{folder}: {len(missing)} tensors are missing, such as {missing[0]}; not a CLIPModel?"
        )
    return model


def _open_clip_model(folder: Path, checkpoint: Path | None) -> Any:
    from transformers import CLIPConfig, CLIPModel

    assert checkpoint is not None
    config = CLIPConfig.from_pretrained(folder, local_files_only=True)
    state = convert_open_clip(read_tensors(checkpoint))
    with torch.device("meta"):
        model = CLIPModel(config)
    for half in (model.text_model, model.vision_model):  # buffers that no checkpoint holds
        half.embeddings.position_ids = torch.arange(half.embeddings.position_embedding.num_embeddings)[None]
    model.load_state_dict(state, strict=True, assign=True)
    return model


def _guarded(folder: Path, load: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a loader; what it raises for missing or damaged files becomes a LoadError naming the folder."""
    try:
        with _without_progress_bars():
            return load(*arguments, **options)
    except _LOADING_ERRORS as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise LoadError(f"{folder}: cannot be loaded: {reason}") from error


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """A score's weights come from the disk in seconds; three bars for three models are noise."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def pick_device(device: str | torch.device) -> torch.device:
    """The device asked for; "auto" takes CUDA, then Apple's GPU, then the CPU."""
    if device != "auto":
        try:
            return torch.device(device)
        except RuntimeError as error:
            raise ConfigError(
                f"device {device!r} is none that torch knows; use auto, cpu, cuda or mps"
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype asked for; "auto" is float16 on a GPU, where CLIP models were trained in it, else float32."""
    if isinstance(dtype, torch.dtype):
        return dtype
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    if dtype not in known:
        raise ConfigError(f"dtype {dtype!r} is none of auto, {', '.join(known)}")
    return known[dtype]


def guess_kind(folder: Path) -> str | None:
    """What a folder holds: "set" (clip, aesthetic, preference), "aesthetic", "clip", or None."""
    if all((folder / part).is_dir() for part in ("clip", "aesthetic", "preference")):
        return "set"
    if (folder / WEIGHTS_NAME).is_file() or (folder / AESTHETIC.files[0]).is_file():
        return "aesthetic"
    return "clip" if (folder / "config.json").is_file() else None
