"""How the mini world is built: the sizes and lengths of every stage, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from worlds.mini.loop import StageConfig

STAGES = ("render", "vae", "decoder", "text", "unet", "clip", "judge", "taste", "lm")
BUDGET_MINUTES = 150.0  # what the default recipe takes on two idle CPU cores, about


@dataclass(frozen=True)
class MiniRecipe:
    """One build, from one seed."""

    seed: int = 1
    renders: int = 40_000
    held_out: int = 1_000  # renders at the end of the set that no stage trains on
    prompts: int = 20_000  # prompt log lines
    rated: int = 6_000  # generated pictures shown to the raters beside the renders
    sampling_steps: int = 10
    guidance_scale: float = 3.0
    vae_channels: tuple[int, ...] = (16, 32, 64, 96)
    unet_channels: tuple[int, int] = (64, 128)
    lm_width: int = 160
    lm_layers: int = 4
    vae: StageConfig = field(default_factory=lambda: StageConfig(10_000, 32, 2e-3))
    text: StageConfig = field(default_factory=lambda: StageConfig(400, 96, 2e-3, ema=0.98))
    unet: StageConfig = field(
        default_factory=lambda: StageConfig(
            6_000, 96, 1.5e-3, warmup=200, ema=0.9993, muon=True, bfloat16=True
        )
    )
    decoder: StageConfig = field(default_factory=lambda: StageConfig(3_000, 16, 1e-3))
    clip: StageConfig = field(
        default_factory=lambda: StageConfig(900, 160, 1.5e-3, weight_decay=0.02, ema=0.995)
    )
    judge: StageConfig = field(
        default_factory=lambda: StageConfig(1_500, 128, 2e-3, weight_decay=1e-3, ema=0.995)
    )
    head: StageConfig = field(
        default_factory=lambda: StageConfig(3_000, 256, 2e-3, weight_decay=1e-3, ema=0.99)
    )
    preference: StageConfig = field(
        default_factory=lambda: StageConfig(900, 64, 4e-4, weight_decay=0.02, ema=0.99)
    )
    lm: StageConfig = field(default_factory=lambda: StageConfig(1_500, 64, 2e-3, weight_decay=0.01, ema=0.99))

    def within(self, minutes: float) -> MiniRecipe:
        """The same recipe, every stage shortened or lengthened to fit a budget in minutes of two CPU cores.

        >>> MiniRecipe().within(75).unet.steps
        3000
        """
        share = minutes / BUDGET_MINUTES
        names = ("vae", "unet", "decoder", "clip", "judge", "head", "preference", "lm")
        return replace(
            self,
            **{
                name: replace(c, steps=max(1, round(c.steps * share)))
                for name in names
                if (c := getattr(self, name))
            },
        )


def miniature() -> MiniRecipe:
    """A miniature of the miniature: every stage in seconds, results worth nothing; what the tests build."""
    tiny = {"warmup": 1, "checkpoint_every": 2, "ema": 0.5}
    return MiniRecipe(
        renders=24,
        held_out=8,
        prompts=40,
        rated=8,
        sampling_steps=2,
        vae_channels=(4, 4, 4, 4),
        unet_channels=(16, 16),
        lm_width=16,
        lm_layers=1,
        vae=StageConfig(4, 4, 1e-3, **tiny),  # type: ignore[arg-type]
        text=StageConfig(4, 8, 1e-3, **tiny),  # type: ignore[arg-type]
        unet=StageConfig(4, 8, 1e-3, muon=True, bfloat16=True, **tiny),  # type: ignore[arg-type]
        decoder=StageConfig(4, 4, 1e-3, **tiny),  # type: ignore[arg-type]
        clip=StageConfig(4, 8, 1e-3, **tiny),  # type: ignore[arg-type]
        judge=StageConfig(4, 8, 1e-3, **tiny),  # type: ignore[arg-type]
        head=StageConfig(4, 8, 1e-3, **tiny),  # type: ignore[arg-type]
        preference=StageConfig(4, 4, 1e-3, **tiny),  # type: ignore[arg-type]
        lm=StageConfig(4, 8, 1e-3, **tiny),  # type: ignore[arg-type]
    )
