"""Encodings of every distinct conditioning of a batch: collect, encode once, weight, line up.

A conditioning is what the denoiser hears at one step of one row. Shapes: E conditionings, T tokens,
D width, P pooled width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from dfprompt.conditioning import weighting as rules
from dfprompt.conditioning.cache import Encoding, EncodingCache
from dfprompt.conditioning.capabilities import Weighting
from dfprompt.conditioning.encoders import TextEncoder, Unit
from dfprompt.conditioning.tokens import Interval, Window, assign_weights, find_covered


class Conditioning(NamedTuple):
    """A text with its weights and hidden stretches (character intervals), as one step of a plan has it.

    `silent` stands for no text at all: zeros instead of an encoding, SDXL's missing negative prompt.
    """

    text: str
    weights: tuple[tuple[int, int, float], ...] = ()
    hidden: tuple[Interval, ...] = ()
    clip_skip: int | None = None
    silent: bool = False


@dataclass(frozen=True)
class _Layout:
    """The units one encoder needs for one conditioning, window by window."""

    windows: list[Window]
    units: list[Unit]
    weights: list[list[float]]
    hidden: list[list[bool]]
    masked: list[list[Unit]]  # one list per down-weighted span, under compel
    down_weights: list[float]


class Encoded:
    """The encodings of a set of conditionings by one encoder, ready to be weighted and joined.

    `forwards` is how often the encoder ran, `encoded` how many windows it read, `lost` the end of
    each text that it did not see.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        conditionings: Sequence[Conditioning],
        rule: Weighting,
        *,
        chunks: bool,
        cache: EncodingCache,
        batch_size: int,
    ) -> None:
        self.encoder = encoder
        self.rule = rule
        heard = dict.fromkeys(each for each in conditionings if not each.silent)
        texts = dict.fromkeys([*(each.text for each in heard), ""])
        readings = {text: encoder.read(text, chunks=chunks) for text in texts}
        self.lost = {text: reading.lost for text, reading in readings.items() if reading.lost}
        self.layouts = {
            # A pooled vector is weighted by nobody, so it needs no masked encodings either.
            each: _lay_out(each, readings[each.text].windows, rule if encoder.sequence else "scale")
            for each in heard
        }
        skips = {each.clip_skip for each in self.layouts} or {None}
        self._empty = {skip: Unit(readings[""].windows[0].ids, None, skip) for skip in skips}
        self.forwards = self.encoded = 0
        self._known = self._encode(self._needed(), cache, batch_size)

    def count(self, conditioning: Conditioning) -> int:
        """Return how many windows a conditioning fills; a silent one fits into any number."""
        return len(self.layouts[conditioning].units) if conditioning in self.layouts else 1

    def part(self, conditioning: Conditioning, windows: int) -> Encoding:
        """Return the weighted encoding of a conditioning, padded with empty windows to this number."""
        layout = self.layouts[conditioning]
        pooled = self._known[layout.units[0]].pooled
        if not self.encoder.sequence:
            return Encoding(pooled[:0], pooled)
        weighted = self._weight(layout, conditioning.clip_skip)
        missing = windows - len(layout.units) if self.encoder.chunks else 0
        if not missing:
            return Encoding(weighted, pooled)
        empty = self._known[self._empty[conditioning.clip_skip]].sequence
        return Encoding(torch.cat([weighted, *[empty] * missing]), pooled)

    def _needed(self) -> list[Unit]:
        needed = [unit for layout in self.layouts.values() for unit in layout.units]
        needed += [unit for layout in self.layouts.values() for row in layout.masked for unit in row]
        # Texts of one batch are padded to one number of windows with the empty prompt's.
        counts = {len(layout.units) for layout in self.layouts.values()}
        hides = any(any(row) for layout in self.layouts.values() for row in layout.hidden)
        # The interpolating rules read the empty prompt: encoded at once even where no weight asks for
        # it yet, so that a later change of weights encodes nothing.
        if self.encoder.sequence and (len(counts) > 1 or hides or self.rule in ("comfy", "compel")):
            needed += self._empty.values()
        return list(dict.fromkeys(needed))

    def _encode(self, units: Sequence[Unit], cache: EncodingCache, batch_size: int) -> dict[Unit, Encoding]:
        state: Hashable = self.encoder.state()
        known = {unit: cache.get((state, unit)) for unit in units}
        missing = [unit for unit, encoding in known.items() if encoding is None]
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            self.forwards += 1
            self.encoded += len(batch)
            for unit, encoding in zip(batch, self.encoder.forward(batch), strict=True):
                known[unit] = encoding
                cache.put((state, unit), encoding)
        return {unit: encoding for unit, encoding in known.items() if encoding is not None}

    def _weight(self, layout: _Layout, clip_skip: int | None) -> Tensor:
        """Return the sequence (T,D) of a conditioning under the rule, hidden tokens emptied."""
        encoding = self._join(layout.units)
        weights = list(chain.from_iterable(layout.weights))
        hides = any(map(any, layout.hidden))
        if not hides and all(weight == 1 for weight in weights):
            return encoding
        empty = encoding
        if hides or self.rule in ("comfy", "compel"):
            empty = self._known[self._empty[clip_skip]].sequence.repeat(len(layout.units), 1)
        if hides:
            hidden = torch.tensor(list(chain.from_iterable(layout.hidden)), device=encoding.device)
            encoding = torch.where(hidden[:, None], empty, encoding)
        factors = torch.tensor(weights, device=encoding.device)
        return self._apply(layout, encoding[None], factors[None], empty[None])[0]

    def _apply(self, layout: _Layout, encoding: Tensor, weights: Tensor, empty: Tensor) -> Tensor:
        if self.rule == "scale":
            return rules.weight_scale(encoding, weights)
        if self.rule == "mean":
            return rules.weight_mean(encoding, weights)
        if self.rule == "comfy" or not layout.masked:
            return rules.weight_comfy(encoding, weights, empty)
        masked = torch.stack([self._join(row) for row in layout.masked])[None]
        return rules.weight_compel(encoding, weights, empty, masked, layout.down_weights)

    def _join(self, units: Sequence[Unit]) -> Tensor:
        return torch.cat([self._known[unit].sequence for unit in units])


def _lay_out(conditioning: Conditioning, windows: list[Window], rule: Weighting) -> _Layout:
    text, stretches, hidden_text, skip, _ = conditioning
    weights = [assign_weights(text, window.places, stretches) for window in windows]
    hidden = [find_covered(text, window.places, hidden_text) for window in windows]
    down = [each for each in stretches if each[2] < 1] if rule == "compel" else []
    masked, down_weights = [], []
    for stretch in down:
        touched = [assign_weights(text, window.places, [stretch]) for window in windows]
        gone = [
            [away or weight < 1 for away, weight in zip(row, touched_row, strict=True)]
            for row, touched_row in zip(hidden, touched, strict=True)
        ]
        if gone != hidden:
            masked.append(_units(windows, gone, skip))
            down_weights.append(stretch[2])
    return _Layout(windows, _units(windows, hidden, skip), weights, hidden, masked, down_weights)


def _units(windows: Sequence[Window], hidden: Sequence[Sequence[bool]], skip: int | None) -> list[Unit]:
    return [
        Unit(window.ids, tuple(not away for away in row) if any(row) else None, skip)
        for window, row in zip(windows, hidden, strict=True)
    ]
