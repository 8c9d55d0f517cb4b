"""The heads of the two further populations: trained as the shipped one is, on its CLIP, beside its world.

Pictures are generated of every modifier in every scene and of users' words with controls; each population
rates them all. What is written: weights/tastes/NAME (a head), NAME.toml (the composite with it), and
frozen-tastes.json. `python -m worlds.mini.populations WORK` builds, in some minutes; with --freeze it also
writes the digests.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import CLIPModel

from dfprompt.api.world import mini_folder
from dfprompt.mini import logs
from dfprompt.mini.captions import canonical
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.populations import POPULATIONS, population_taste
from dfprompt.mini.world import COLOURS, SCENES, SUBJECTS
from dfprompt.prompt import DFPrompt
from dfprompt.rewards.aesthetic import AestheticHead, save_aesthetic_head
from dfprompt.storage import write_text
from worlds.mini import taste
from worlds.mini.build import digest
from worlds.mini.dataset import save_array
from worlds.mini.freeze import digest_modules
from worlds.mini.generation import generate_pictures, open_pipeline
from worlds.mini.loop import Trainer
from worlds.mini.recipe import MiniRecipe

FROZEN = "frozen-tastes.json"
CAPTIONS, LOGGED = 4, 384
_MODELS = '\n[models]\nclip = "mini"\naesthetic = "{name}"\npreference = "mini"\n'


def build_populations(work: Path, weights: Path, recipe: MiniRecipe) -> None:
    """Train a head per population on the world in `weights`; pictures that stand in `work` are kept."""
    work.mkdir(parents=True, exist_ok=True)
    pictures, scenes = rated_pictures(work, weights, recipe)
    clip = CLIPModel.from_pretrained(weights / "clip", trust_remote_code=False).float()
    features = taste.image_features(clip, pictures)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    for name in POPULATIONS:
        rated = population_taste(name, images, scenes)
        head = train_head(features, rated, work / name, recipe)
        save_aesthetic_head(head, weights / "tastes" / name, tower="../../clip")
        write_text(weights / "tastes" / f"{name}.toml", taste.REWARD + _MODELS.format(name=name))


def train_head(features: Tensor, rated: Tensor, work: Path, recipe: MiniRecipe) -> AestheticHead:
    """The shipped head's training, on other raters' means."""
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    head = AestheticHead(taste.HEAD_WIDTHS, "gelu")
    with torch.no_grad():
        head.linears[-1].bias.fill_(float(rated.mean()))
    loss = taste.aesthetic_loss(features, rated, recipe.head.batch)
    Trainer("head", head, recipe.head, work, seed=recipe.seed).run(loss)
    return head


def rated_pictures(work: Path, weights: Path, recipe: MiniRecipe) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Generated pictures with their scenes: each modifier in each scene, and users' words with controls."""
    grid, scenes, noises = every_modifier()
    # Users' experience would decide which words the logs hold; here every word is wanted.
    unskilled = {scene: np.zeros(len(MODIFIERS)) for scene in SCENES}
    rows = list(logs.iter_logs(LOGGED, seed=recipe.seed, learnt=unskilled))
    logged = logs.with_controls(rows, seed=recipe.seed)
    parts = (("grid", grid, noises), ("logged", logged, list(range(LOGGED))))
    for name, prompts, seeds in parts:
        path = work / f"{name}.npy"
        if not path.exists():
            drawn = generate_pictures(
                open_pipeline(weights / "pipeline"),
                prompts,
                seeds=seeds,
                steps=recipe.sampling_steps,
                guidance_scale=recipe.guidance_scale,
            )
            save_array(path, drawn)
    pictures = [np.load(work / f"{name}.npy", allow_pickle=False) for name, _, _ in parts]
    return np.concatenate(pictures), scenes + [row.scene for row in rows]


def every_modifier() -> tuple[list[DFPrompt], list[str], list[int]]:
    """Prompts, scenes and noises: a few captions a scene, plain and with each modifier on one noise."""
    rng = np.random.default_rng(77)
    prompts, scenes, noises = [], [], []
    for scene in SCENES:
        for _ in range(CAPTIONS):
            subject, colour = str(rng.choice(list(SUBJECTS))), str(rng.choice(list(COLOURS)))
            noise, plain = int(rng.integers(2**31)), canonical(subject, colour, scene)
            texts = [plain, *(f"{plain}, {modifier}" for modifier in MODIFIERS)]
            prompts += [DFPrompt.from_plain(text) for text in texts]
            scenes += [scene] * len(texts)
            noises += [noise] * len(texts)
    return prompts, scenes, noises


def population_digests(weights: Path) -> dict[str, str]:
    """What decides the results of tastes: the formulas' code, and the heads learnt from their ratings."""
    return {"populations": digest_modules(("populations",)), "heads": digest(weights / "tastes")}


def read_frozen_tastes() -> dict[str, str]:
    """The committed digests."""
    found: dict[str, str] = json.loads(Path(__file__).with_name(FROZEN).read_text(encoding="utf-8"))[
        "digests"
    ]
    return found


def freeze_tastes(weights: Path) -> None:
    """Write the digests down, before any policy is trained on these tastes."""
    frozen = {
        "frozen": datetime.date.today().isoformat(),
        "before": "the first training of a policy on these tastes",
        "digests": population_digests(weights),
    }
    write_text(Path(__file__).with_name(FROZEN), json.dumps(frozen, indent=1) + "\n")


def main() -> None:
    arguments = [each for each in sys.argv[1:] if each != "--freeze"]
    build_populations(Path(arguments[0]), mini_folder(), MiniRecipe())
    if "--freeze" in sys.argv:
        freeze_tastes(mini_folder())


if __name__ == "__main__":
    main()
