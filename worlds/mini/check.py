"""The command `check`: how good the built world is, measured against what it must reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from dfprompt.mini.captions import canonical, caption, sample_modifiers
from dfprompt.mini.judge import CLASSES, Judge
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.pieces import open_piece
from dfprompt.mini.raters import RATER_NOISE, taste
from dfprompt.mini.renderer import Scene, make_scene, render, sample_scene
from dfprompt.mini.world import COLOURS, HELD_OUT_PAIRS, SCENES, SUBJECTS
from dfprompt.pipeline.load import load_pipeline_from
from dfprompt.requests.render import RenderSettings
from dfprompt.rewards.aesthetic import load_aesthetic_head
from worlds.mini.autoencoder import psnr, to_tensor
from worlds.mini.commitment import measure_commitment
from worlds.mini.contrast import embed_images, embed_texts, to_pixels
from worlds.mini.generation import generate_pictures, open_pipeline
from worlds.mini.taste import image_features
from worlds.mini.text import tokenize

_Z = 1.959964  # of a 95 % interval
_NOISY_TEXTURES = ("film grain", "rule of thirds", "watercolor", "detailed texture")


@dataclass(frozen=True)
class Check:
    """One measured quality: its value, what it must reach, and how it was measured.

    `of` is the number of pictures or modifiers a share (%) was counted on, 0 where the value is none.
    """

    name: str
    value: float
    target: float
    unit: str
    measured_on: str
    smaller_is_better: bool = False
    of: int = 0
    at_most: float | None = None  # above it is too much of a good thing

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of a share (Wilson 1927), in percent; None where the value is none.

        >>> [round(each) for each in Check("kept", 50.0, 90.0, "%", "pictures", of=4).interval]
        [15, 85]
        """
        if not self.of:
            return None
        share, trials = self.value / 100, self.of
        middle = (share + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
        half = _Z * (share * (1 - share) / trials + (_Z / (2 * trials)) ** 2) ** 0.5 / (1 + _Z**2 / trials)
        return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)

    @property
    def measured(self) -> str:
        """Value and unit, and a share's interval."""
        if self.interval is None:
            return f"{self.value:.3g} {self.unit}"
        return f"{self.value:.3g} {self.unit} ({self.interval[0]:.0f} to {self.interval[1]:.0f})"

    @property
    def goal(self) -> str:
        """What it must reach, in words.

        >>> Check("kept", 50.0, 70.0, "%", "pictures", at_most=95.0).goal
        '70 to 95 %'
        """
        if self.at_most is not None:
            return f"{self.target:g} to {self.at_most:g} {self.unit}"
        return f"{'<=' if self.smaller_is_better else '>='} {self.target:g} {self.unit}"

    @property
    def reached(self) -> bool:
        if self.smaller_is_better:
            return self.value <= self.target
        return self.target <= self.value <= (float("inf") if self.at_most is None else self.at_most)


def check_world(
    weights: Path, *, images: int = 192, steps: int = 10, guidance_scale: float = 3.0
) -> list[Check]:
    """Measure every quality of the built world; `images` bounds how many pictures each is measured on."""
    torch.manual_seed(0)
    _open_all(weights)
    parts: list[Callable[[], list[Check]]] = [
        lambda: _fidelity(weights, images, steps, guidance_scale),
        lambda: _commitment(weights, images, steps, guidance_scale),
        lambda: _reconstruction(weights, images),
        lambda: _retrieval(weights, images),
        lambda: _tastes(weights, images),
        lambda: _judge_per_modifier(weights, max(12, images // 4)),
        lambda: _placebo(weights, steps),
        lambda: _speed(weights, steps, guidance_scale),
    ]
    return [row for part in parts for row in part()]


def _open_all(weights: Path) -> None:
    """Raise LoadError now for a piece that cannot be opened, not after minutes of measuring the others."""
    Judge.load(weights / "judge")
    open_pipeline(weights / "pipeline")
    for name, stage in (("clip", "clip"), ("preference", "taste")):
        open_piece(CLIPModel.from_pretrained, weights / name, stage)
        open_piece(CLIPTokenizer.from_pretrained, weights / name, stage)
    load_aesthetic_head(weights / "aesthetic")


def all_scenes(*, held_out: bool) -> list[Scene]:
    """Every subject x colour x scene, in a fixed mixed order; held-out pairs only, or all the others."""
    rows = [
        make_scene(subject, colour, scene, seed=50_000 + n)
        for n, (subject, colour, scene) in enumerate(
            (s, c, p)
            for s in SUBJECTS
            for c in COLOURS
            for p in SCENES
            if ((s, p) in HELD_OUT_PAIRS) == held_out
        )
    ]
    order = np.random.default_rng(9).permutation(len(rows))
    return [rows[i] for i in order]


def _pictures(scenes: list[Scene]) -> npt.NDArray[np.uint8]:
    return np.stack([np.round(render(scene) * 255).astype(np.uint8) for scene in scenes])


def _as_images(pictures: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def _fidelity(weights: Path, images: int, steps: int, guidance_scale: float) -> list[Check]:
    judge, pipe = Judge.load(weights / "judge"), open_pipeline(weights / "pipeline")
    out = []
    for held_out in (False, True):
        scenes = all_scenes(held_out=held_out)[: images if not held_out else images // 2]
        drawn = generate_pictures(
            pipe,
            [canonical(s.subject, s.colour, s.scene) for s in scenes],
            seeds=list(range(len(scenes))),
            steps=steps,
            guidance_scale=guidance_scale,
        )
        correct = judge.correct(_as_images(drawn), scenes)
        where = f"{len(scenes)} generated plain-prompt pictures" + (", held-out pairs" if held_out else "")
        out += [
            Check(
                f"{kind} read from generated pictures",
                100 * float(ok.float().mean()),
                90.0,
                "%",
                where,
                of=len(scenes),
            )
            for kind, ok in correct.items()
        ]
    return out


def _commitment(weights: Path, images: int, steps: int, guidance_scale: float) -> list[Check]:
    judge, pipe = Judge.load(weights / "judge"), open_pipeline(weights / "pipeline")
    found = measure_commitment(
        pipe,
        judge,
        steps=steps,
        guidance_scale=guidance_scale,
        swaps=images // 2,
        pictures_per_modifier=max(4, images // 16),
    )
    seen = len(found.early)
    shared = 100 * len(found.shared_looks) / seen if seen else 0.0
    where = f"{found.pictures} pictures; the second stands in {found.changed:.0f} %"
    return [
        Check(
            "first subject kept when its word is swapped half-way",
            found.kept,
            70.0,
            "%",
            where,
            of=found.pictures,
            at_most=95.0,
        ),
        Check(
            "modifiers of which each half carries 25 to 75 %",
            shared,
            50.0,
            "%",
            f"{seen} with a look to share",
            of=seen,
        ),
    ]


@torch.no_grad()
def _reconstruction(weights: Path, images: int) -> list[Check]:
    vae = open_piece(AutoencoderKL.from_pretrained, weights / "pipeline" / "vae", "vae").float().eval()
    rng = np.random.default_rng(71)
    smooth: list[Scene] = []
    rough: list[Scene] = []
    while len(smooth) < images // 2 or len(rough) < images // 4:
        scene = sample_scene(rng, modifiers=sample_modifiers(rng))
        (rough if set(scene.modifiers) & set(_NOISY_TEXTURES) else smooth).append(scene)
    rows = []
    for name, scenes, target in (("without texture", smooth, 32.0), ("with texture or grain", rough, 28.0)):
        target_pictures = to_tensor(_pictures(scenes[: images // 2]))
        output = vae(target_pictures).sample
        rows.append(
            Check(
                f"reconstruction of renders {name}",
                psnr(output, target_pictures),
                target,
                "dB",
                "held-out renders",
            )
        )
    return rows


@torch.no_grad()
def _retrieval(weights: Path, images: int) -> list[Check]:
    clip = open_piece(CLIPModel.from_pretrained, weights / "clip", "clip").float().eval()
    tokenizer = open_piece(CLIPTokenizer.from_pretrained, weights / "clip", "clip")
    rng = np.random.default_rng(72)
    hits = total = 0
    for _ in range(max(1, images // 64)):
        scenes = [sample_scene(rng, modifiers=sample_modifiers(rng), coupled=False) for _ in range(64)]
        image = embed_images(clip, to_pixels(_pictures(scenes)))
        text = embed_texts(clip, tokenize(tokenizer, [caption(s, rng) for s in scenes]))
        hits += int(((image @ text.T).argmax(1) == torch.arange(64)).sum())
        total += 64
    where = f"{total} held-out renders, captions true"
    return [Check("CLIP finds the caption among 64", 100 * hits / total, 80.0, "%", where, of=total)]


@torch.no_grad()
def _tastes(weights: Path, images: int) -> list[Check]:
    rng = np.random.default_rng(73)
    scenes = [sample_scene(rng, modifiers=sample_modifiers(rng)) for _ in range(2 * images)]
    pictures = _pictures(scenes)
    means = taste(_as_images(pictures), [s.scene for s in scenes])
    noisy = means + RATER_NOISE * torch.randn(len(means), generator=torch.Generator().manual_seed(3))
    clip = open_piece(CLIPModel.from_pretrained, weights / "clip", "clip").float().eval()
    head, _ = load_aesthetic_head(weights / "aesthetic")
    scores = head(image_features(clip, pictures))
    ceiling = spearman(means, noisy)
    return [
        Check(
            "aesthetic head, share of the raters' noise ceiling",
            100 * spearman(scores, noisy) / ceiling,
            90.0,
            "%",
            f"rank correlation with {len(scenes)} held-out ratings, ceiling {ceiling:.2f}",
        ),
        _preference(weights, scenes, pictures, means),
    ]


def _preference(weights: Path, scenes: list[Scene], pictures: npt.NDArray[np.uint8], means: Tensor) -> Check:
    clip = open_piece(CLIPModel.from_pretrained, weights / "preference", "taste").float().eval()
    tokenizer = open_piece(CLIPTokenizer.from_pretrained, weights / "preference", "taste")
    prompts = [canonical(s.asked_subject, s.asked_colour, s.scene) for s in scenes]
    twins = [render(make_scene(s.asked_subject, s.asked_colour, s.scene, seed=s.seed + 1)) for s in scenes]
    other = np.stack([np.round(t * 255).astype(np.uint8) for t in twins])
    tastes = torch.stack([means, taste(_as_images(other), [s.scene for s in scenes])])
    noise = RATER_NOISE * torch.randn(tastes.shape, generator=torch.Generator().manual_seed(4))
    chosen = (tastes + noise).argmax(0)
    text = embed_texts(clip, tokenize(tokenizer, prompts))
    pixels = torch.stack([embed_images(clip, to_pixels(p)) for p in (pictures, other)])
    predicted = (pixels * text).sum(-1).argmax(0)
    ceiling = float((tastes.argmax(0) == chosen).float().mean())
    value = float((predicted == chosen).float().mean())
    return Check(
        "preference model, share of the raters' noise ceiling",
        100 * value / ceiling,
        90.0,
        "%",
        f"{len(scenes)} held-out pairs of one prompt, accuracy {value:.2f}, ceiling {ceiling:.2f}",
    )


def judge_accuracy(weights: Path, modifier: str, images: int, *, seed: int = 74) -> dict[str, float]:
    """How often (%) the judge reads each fact from real renders with one modifier, nothing falsified."""
    rng = np.random.default_rng(seed)
    mods = (modifier,) if modifier else ()
    scenes = [sample_scene(rng, modifiers=mods, coupled=False) for _ in range(images)]
    correct = Judge.load(weights / "judge").correct(_as_images(_pictures(scenes)), scenes)
    return {kind: 100 * float(ok.float().mean()) for kind, ok in correct.items()}


def judge_every_modifier(weights: Path, images: int) -> dict[str, dict[str, float]]:
    """What the judge reads (%) from real renders without ("") and with each modifier."""
    return {name: judge_accuracy(weights, name, images) for name in ("", *MODIFIERS)}


def _judge_per_modifier(weights: Path, images: int) -> list[Check]:
    """The worst of all modifiers, found on some renders and measured on others.

    The lowest of 27 shares lies below what it is a share of: measured where it was found, a judge that reads
    98 % everywhere would be said to miss 97 %.
    """
    rows = judge_every_modifier(weights, images)
    fresh, out = 2 * images, []
    for kind in CLASSES:
        worst = min(rows, key=lambda name: rows[name][kind])
        value = judge_accuracy(weights, worst, fresh, seed=75)[kind]
        where = f"{fresh} renders; {worst or 'no modifier'!r} was the worst on {images} others"
        out.append(Check(f"judge reads the {kind}, worst modifier", value, 97.0, "%", where, of=fresh))
    return out


def _placebo(weights: Path, steps: int) -> list[Check]:
    """How far pictures that ignore ranges and weights are from those of the same words without any."""
    pipeline = load_pipeline_from(weights / "pipeline", device="cpu")
    scenes = [canonical(s.subject, s.colour, s.scene) for s in all_scenes(held_out=False)[:8]]
    controlled = [f"{each}, [golden hour:late:1.5]" for each in scenes]
    words = [f"{each}, golden hour" for each in scenes]
    settings = RenderSettings(num_inference_steps=steps)
    blind = settings.model_copy(update={"ignore_controls": True})
    seeds = list(range(len(scenes)))
    drawn = [
        pipeline.draw(prompts, seeds, how).images
        for prompts, how in ((controlled, blind), (words, settings), (controlled, settings))
    ]
    off, acts = (255 * float((each - drawn[1]).abs().max()) for each in (drawn[0], drawn[2]))
    where = f"{len(seeds)} pictures, levels of 255 in the worst pixel; {acts:.0f} where controls act"
    return [Check("placebo's pictures from those without controls", off, 0.0, "levels", where, True)]


def _speed(weights: Path, steps: int, guidance_scale: float) -> list[Check]:
    prompts, pipe = ["a red cat on a hill"] * 8, open_pipeline(weights / "pipeline")
    times = []
    for _ in range(4):  # the first warms up
        started = time.perf_counter()
        generate_pictures(pipe, prompts, seeds=list(range(8)), steps=steps, guidance_scale=guidance_scale)
        times.append(time.perf_counter() - started)
    where = f"{steps} steps, guided, batch of 8, {torch.get_num_threads()} threads"
    return [Check("seconds per picture", min(times) / 8, 0.1, "s", where, smaller_is_better=True)]


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two samples (M,); ties are broken by position, fine for continuous scores."""
    ranks = torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double()
    return float(torch.corrcoef(ranks)[0, 1])
