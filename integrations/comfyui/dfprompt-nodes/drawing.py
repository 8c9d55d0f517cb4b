"""A plan as a picture: a row per span, a bar at every step it acts, as high as its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_ROW, _LABEL, _STEP, _MARGIN = 32, 220, 16, 8
_INK, _BAR, _AGAINST = (31, 35, 40), (47, 111, 222), (207, 34, 46)
_WIDEST = 2048
_LONGEST = 30


def draw(tracks: Sequence[tuple[str, Sequence[float]]], steps: int) -> Any:
    """Return an image tensor (1, H, W, 3) in 0..1; bars below 0 are red."""
    import numpy as np
    import torch
    from PIL import Image, ImageDraw

    step = max(1, min(_STEP, (_WIDEST - _LABEL - 2 * _MARGIN) // steps))
    size = (_LABEL + step * steps + 2 * _MARGIN, _ROW * max(1, len(tracks)) + 2 * _MARGIN)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    highest = max((abs(weight) for _, weights in tracks for weight in weights), default=1) or 1
    for row, (words, weights) in enumerate(tracks):
        bottom = _MARGIN + _ROW * (row + 1) - 4
        label = words.strip().encode("ascii", "replace").decode()
        pen.text((_MARGIN, bottom - 18), label[:_LONGEST] + "..." * (len(label) > _LONGEST), _INK)
        for at, weight in enumerate(weights):
            if weight:
                left = _MARGIN + _LABEL + step * at
                top = bottom - max(2, round((_ROW - 8) * abs(weight) / highest))
                pen.rectangle((left, top, left + max(0, step - 2), bottom), _BAR if weight > 0 else _AGAINST)
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255)[None]
