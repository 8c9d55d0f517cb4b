"""The words of the mini world: subjects, colours, scenes, and every way a caption says them."""

from __future__ import annotations

IMAGE_SIZE = 64

SUBJECTS = (
    "ball",
    "star",
    "heart",
    "house",
    "tree",
    "mushroom",
    "fish",
    "boat",
    "flower",
    "moon",
    "cat",
    "cup",
)

# Body colours in linear 0..1 RGB, far enough apart to be named at a glance under any light drawn here.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.14, 0.16),
    "orange": (0.97, 0.52, 0.08),
    "yellow": (0.99, 0.87, 0.18),
    "green": (0.18, 0.66, 0.26),
    "blue": (0.15, 0.36, 0.90),
    "purple": (0.53, 0.22, 0.74),
    "pink": (1.00, 0.56, 0.76),
    "white": (0.97, 0.96, 0.95),
}

# scene -> the phrases that name it in captions; the first is the canonical one.
SCENES: dict[str, tuple[str, ...]] = {
    "hill": ("on a hill", "on a green hill"),
    "night": ("at night", "under the stars"),
    "desert": ("in the desert", "among the dunes"),
    "sea": ("under the sea", "underwater"),
    "snow": ("in the snow", "on a winter day"),
    "forest": ("in a forest", "in the woods"),
}

# Subject-scene pairs that no training ever sees: every subject and every scene still appears in others.
HELD_OUT_PAIRS = frozenset(
    {
        ("ball", "snow"),
        ("star", "desert"),
        ("heart", "forest"),
        ("house", "night"),
        ("tree", "sea"),
        ("mushroom", "desert"),
        ("fish", "hill"),
        ("boat", "forest"),
        ("flower", "snow"),
        ("moon", "sea"),
        ("cat", "night"),
        ("cup", "hill"),
    }
)
