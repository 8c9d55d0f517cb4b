"""The published weights that scores are made of: what each is called, weighs, and may be used for.

Importing this module imports no model library, so that what is missing is said before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfprompt.config import nearest
from dfprompt.errors import ConfigError, LoadError
from dfprompt.sources import find_cached

CONFIGS = ("*.json", "*.txt")


@dataclass(frozen=True)
class Published:
    """A published model: its hub id, the files needed of it, their size in GB, licence as its page says."""

    hub_id: str
    files: tuple[str, ...]
    gigabytes: float
    licence: str

    @property
    def size(self) -> str:
        """What it weighs, for people."""
        return f"{self.gigabytes:.1f} GB" if self.gigabytes >= 0.1 else f"{1000 * self.gigabytes:g} MB"

    @property
    def command(self) -> str:
        """The command line that puts the files into the local cache."""
        option = "--include " if any("*" in name for name in self.files) else ""
        return f"hf download {self.hub_id} " + " ".join(f'{option}"{name}"' for name in self.files)

    def find(self) -> Path | None:
        """Return the snapshot in the local cache if every file is there, never asking the network."""
        return find_whole(self.hub_id, self.files)


WHOLE_MODEL = (*CONFIGS, "model.safetensors")
CLIP_L = Published("openai/clip-vit-large-patch14", WHOLE_MODEL, 1.7, "not stated on its page (code: MIT)")
CLIP_H = Published("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", CONFIGS, 0.004, "MIT")
PICKSCORE = Published("yuvalkirstain/PickScore_v1", WHOLE_MODEL, 3.9, "not stated on its page")
HPS = Published("xswu/HPSv2", ("HPS_v2.1_compressed.pt",), 2.0, "Apache-2.0")
_UNSTATED = "not stated on its page (code: MIT)"
ICT = Published("8y/ICT", ("pytorch_model.bin",), 3.9, _UNSTATED)  # the size of CLIP-H in float32
HP = Published("8y/HP", ("hp_backbone/pytorch_model.bin", "hp_scorer/mlp_pytorch_model.bin"), 3.9, _UNSTATED)
AESTHETIC = Published(
    "trl-lib/ddpo-aesthetic-predictor",
    ("aesthetic-model.pth",),
    0.004,
    "Apache-2.0 (its source repository)",
)
# What each score needs, by the name that --reward and --judge take.
NEEDED: dict[str, tuple[Published, ...]] = {
    "clip": (CLIP_L,),
    "aesthetic": (AESTHETIC, CLIP_L),
    "pickscore": (PICKSCORE,),
    "hps": (HPS, CLIP_H),
    "ict": (ICT, CLIP_H),
    "hp": (HP, CLIP_H),
    "paper": (AESTHETIC, CLIP_L, PICKSCORE),
}
# What a real pipeline's pictures are scored with where nothing is named.
USUAL_SCORES = ("clip", "aesthetic")

NO_SCORES = "none"  # what --reward takes where nothing shall be scored
REWARD_NAMES = ("mini", *NEEDED)


def unknown_reward(name: str) -> ConfigError:
    """Return the error of a name that is no reward, with the nearest that is."""
    return ConfigError(
        f"{name!r} is no reward; {nearest(name, REWARD_NAMES)}; a recipe ends in .toml, code is "
        "FILE.py:FUNCTION, a server http://..."
    )


def check_reward_names(names: Sequence[str]) -> None:
    """Refuse a bare word that is the name of no reward, and of no folder here."""
    for name in names:
        known = name in (*REWARD_NAMES, NO_SCORES) or name.startswith("mini-") or Path(name).exists()
        if name.replace("-", "").replace("_", "").isalnum() and not known:
            raise unknown_reward(name)


def missing_weights(names: Sequence[str]) -> list[Published]:
    """Return what the named scores need and this machine has not; other names need nothing published."""
    needed = dict.fromkeys(each for name in names for each in NEEDED.get(name, ()))
    return [each for each in needed if each.find() is None]


def check_weights(names: Sequence[str]) -> None:
    """Raise LoadError that lists, for all named scores together, what is missing and how to fetch it."""
    wanting = [name for name in dict.fromkeys(names) if missing_weights([name])]
    if not wanting:
        return
    missing = missing_weights(wanting)
    listed = ", ".join(f"{each.hub_id} ({each.size}, licence {each.licence})" for each in missing)
    fetch = "\n".join(f"  {each.command}" for each in missing)
    raise LoadError(
        f"the weights of {' and '.join(map(repr, wanting))} are not on this machine: {listed}. Fetch them "
        f"with\n{fetch}\nor name a folder that holds them, such as --reward {wanting[0]}:FOLDER"
    )


def find_published(published: Published, name: str) -> Path:
    """Return the cached snapshot of a published model; raises LoadError with the command that fetches it."""
    folder = published.find()
    if folder is None:
        raise LoadError(
            f"the weights of {name!r} are not on this machine: {published.hub_id}, {published.size}, licence "
            f"{published.licence}. Fetch them with\n  {published.command}\nor name a folder that holds them"
        )
    return folder


def find_whole(hub_id: str, files: Sequence[str]) -> Path | None:
    """Return a cached snapshot that holds every one of the files; configurations are not counted."""
    folder = find_cached(hub_id, files)
    if folder is None:
        return None
    whole = all(any(folder.glob(pattern)) for pattern in files if pattern not in CONFIGS)
    return folder if whole else None
