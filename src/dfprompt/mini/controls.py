"""The fifteen (effect range, weight) pairs the world's experiments try: those of a policy's tables."""

from __future__ import annotations

from dfprompt.prompt import EffectRange
from dfprompt.prompt.effect import EARLY, FULL, LATE

RANGES: dict[str, EffectRange] = {"full": FULL, "early": EARLY, "late": LATE}
WEIGHTS = ("0.5", "0.75", "1", "1.25", "1.5")
PAIRS = tuple((name, weight) for name in RANGES for weight in WEIGHTS)
DEFAULT = PAIRS.index(("full", "1"))
