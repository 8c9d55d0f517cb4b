"""What one encoder must read for a conditioning: windows, weights, what is hidden, masked variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from dfprompt.conditioning.capabilities import Weighting
from dfprompt.conditioning.encoders import Unit
from dfprompt.conditioning.tokens import Offsets, Window, assign_weights, find_covered


class Conditioning(NamedTuple):
    """What the denoiser hears at one step of one row: a text, its weights and its hidden stretches.

    `weights` holds (start, end, weight), `hidden` (start, end), in characters of the text. `silent`
    stands for no text at all: zeros instead of an encoding, SDXL's missing negative prompt.
    """

    text: str
    weights: tuple[tuple[int, int, float], ...] = ()
    hidden: tuple[Offsets, ...] = ()
    clip_skip: int | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class EncoderLayout:
    """The units an encoder reads for a conditioning, window by window, and what is done with them.

    `weights` and `hidden` have one entry per vector of all windows. `masked` holds, for each span
    down-weighted under compel's rule, the units with that span hidden, `down_weights` its weight.
    """

    units: tuple[Unit, ...]
    weights: tuple[float, ...]
    hidden: tuple[bool, ...]
    masked: tuple[tuple[Unit, ...], ...] = ()
    down_weights: tuple[float, ...] = ()

    @property
    def hides(self) -> bool:
        """Whether any vector is hidden."""
        return any(self.hidden)

    @property
    def is_plain(self) -> bool:
        """Whether the encoding is used as it comes."""
        return not self.hides and all(weight == 1 for weight in self.weights)


def lay_out_tokens(conditioning: Conditioning, windows: Sequence[Window], rule: Weighting) -> EncoderLayout:
    """Place a conditioning's weights and hidden stretches on the windows of its text."""
    text, stretches, away, skip, _ = conditioning
    weights = [assign_weights(text, window.places, stretches) for window in windows]
    hidden = [find_covered(text, window.places, away) for window in windows]
    masked, down_weights = [], []
    for stretch in stretches if rule == "compel" else ():
        if stretch[2] < 1:
            gone = [_also(row, text, window, stretch) for row, window in zip(hidden, windows, strict=True)]
            if gone != hidden:
                masked.append(_units(windows, gone, skip))
                down_weights.append(stretch[2])
    return EncoderLayout(
        _units(windows, hidden, skip),
        tuple(chain.from_iterable(weights)),
        tuple(chain.from_iterable(hidden)),
        tuple(masked),
        tuple(down_weights),
    )


def _also(hidden: Sequence[bool], text: str, window: Window, stretch: tuple[int, int, float]) -> list[bool]:
    """Return what is hidden once the tokens of one more stretch are."""
    weights = assign_weights(text, window.places, [stretch])
    return [away or weight != 1 for away, weight in zip(hidden, weights, strict=True)]


def _units(windows: Sequence[Window], hidden: Sequence[Sequence[bool]], skip: int | None) -> tuple[Unit, ...]:
    return tuple(
        Unit(window.ids, tuple(not away for away in row) if any(row) else None, skip)
        for window, row in zip(windows, hidden, strict=True)
    )
