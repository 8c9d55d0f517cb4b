"""The suffix that people append to everything: the baseline that knows nothing about the model."""

from __future__ import annotations

SUFFIX = "highly detailed, sharp focus, 8k"
