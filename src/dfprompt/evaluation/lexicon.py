"""Popular modifiers, for the baselines that know nothing about the model: a suffix, and random words."""

from __future__ import annotations

SUFFIX = "highly detailed, sharp focus, 8k"
LEXICON = (
    "highly detailed",
    "sharp focus",
    "8k",
    "masterpiece",
    "award winning",
    "soft lighting",
    "dramatic lighting",
    "golden hour",
    "backlit",
    "volumetric light",
    "watercolor",
    "oil painting",
    "ink drawing",
    "film grain",
    "bokeh",
    "wide angle",
    "close-up",
    "vivid colors",
    "muted colors",
    "high contrast",
    "symmetrical composition",
    "minimalist",
    "intricate texture",
    "cinematic",
)
