"""One encoder's share of a batch: collect what it must read, read it once, weight it, line it up.

Shapes: T tokens, D width, P pooled width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from dfprompt.conditioning import weighting as rules
from dfprompt.conditioning.cache import Encoding, EncodingCache
from dfprompt.conditioning.capabilities import Weighting
from dfprompt.conditioning.encoder_layout import Conditioning, EncoderLayout, lay_out_tokens
from dfprompt.conditioning.encoders import TextEncoder, Unit


class Encoded:
    """The encodings of a set of conditionings by one encoder, weighted when they are asked for.

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
        heard = list(dict.fromkeys(each for each in conditionings if not each.silent))
        texts = list(dict.fromkeys([*(each.text for each in heard), ""]))
        self._readings = readings = dict(zip(texts, encoder.read(texts, chunks=chunks), strict=True))
        self.lost = {text: reading.lost for text, reading in readings.items() if reading.lost}
        # A pooled vector is weighted by nobody, so it needs no masked encodings either.
        applied = rule if encoder.sequence else "scale"
        self._layouts = {each: lay_out_tokens(each, readings[each.text].windows, applied) for each in heard}
        self._empty = {
            each.clip_skip: Unit(readings[""].windows[0].ids, None, each.clip_skip) for each in heard
        }
        self.forwards = self.encoded = 0
        self._known = self._encode(self._needed(), cache, batch_size)

    def layout(self, conditioning: Conditioning) -> EncoderLayout | None:
        """Return what the encoder reads for a conditioning; equal layouts sound the same, None is silence."""
        return self._layouts.get(conditioning)

    def count(self, conditioning: Conditioning) -> int:
        """Return how many windows a conditioning fills; a silent one fits into any number."""
        return len(self._layouts[conditioning].units) if conditioning in self._layouts else 1

    def part(self, conditioning: Conditioning, windows: int) -> Encoding:
        """Return the weighted encoding of a conditioning, padded with empty windows to this number."""
        units = self._layouts[conditioning].units
        pooled = self._known[units[0]].pooled
        if not self.encoder.sequence:
            return Encoding(pooled[:0], pooled)
        sequence = self._weigh(conditioning)
        if self.encoder.chunks and len(units) < windows:
            empty = self._known[self._empty[conditioning.clip_skip]].sequence
            sequence = torch.cat([sequence, *[empty] * (windows - len(units))])
        return Encoding(sequence, pooled)

    def token_weights(self, conditioning: Conditioning, windows: int) -> list[float]:
        """Return the weight of each vector of the sequence, 1 in the windows that pad it to this number."""
        reading = self._readings[""] if conditioning.silent else self._readings[conditioning.text]
        weights = lay_out_tokens(conditioning, reading.windows, self.rule).weights
        missing = windows - len(reading.windows) if self.encoder.chunks else 0
        return [*weights, *[1.0] * (missing * len(reading.windows[0].places))]

    def _needed(self) -> list[Unit]:
        layouts = self._layouts.values()
        needed = [unit for layout in layouts for unit in layout.units]
        needed += [unit for layout in layouts for row in layout.masked for unit in row]
        # Texts of one batch are padded to one number of windows with the empty prompt's.
        padded = len({len(layout.units) for layout in layouts}) > 1
        hides = any(layout.hides for layout in layouts)
        # The interpolating rules read the empty prompt: encoded at once even where no weight asks for
        # it yet, so that a later change of weights encodes nothing.
        if self.encoder.sequence and (padded or hides or self.rule in ("comfy", "compel")):
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

    def _weigh(self, conditioning: Conditioning) -> Tensor:
        """Return the sequence (T,D) under the rule, hidden tokens emptied."""
        layout = self._layouts[conditioning]
        encoding = self._join(layout.units)[None]
        if layout.is_plain:
            return encoding[0]
        weights = torch.tensor([layout.weights], device=encoding.device)
        empty = encoding
        if layout.hides or self.rule in ("comfy", "compel"):
            window = self._known[self._empty[conditioning.clip_skip]].sequence
            empty = window.repeat(len(layout.units), 1)[None]
        hidden = torch.tensor([layout.hidden], device=encoding.device)
        if layout.hides:
            encoding = torch.where(hidden[..., None], empty, encoding)
        if layout.masked:
            masked = torch.stack([self._join(row) for row in layout.masked])[None]
            masked = torch.where(hidden[:, None, :, None], empty[:, None], masked)
            return rules.weight_compel(encoding, weights, empty, masked, layout.down_weights)[0]
        return _apply(self.rule, encoding, weights, empty)[0]

    def _join(self, units: Sequence[Unit]) -> Tensor:
        sequences = [self._known[unit].sequence for unit in units]
        return sequences[0] if len(sequences) == 1 else torch.cat(sequences)


def _apply(rule: Weighting, encoding: Tensor, weights: Tensor, empty: Tensor) -> Tensor:
    if rule == "attention":  # acts in the denoiser
        return encoding
    if rule == "scale":
        return rules.weight_scale(encoding, weights)
    if rule == "mean":
        return rules.weight_mean(encoding, weights)
    return rules.weight_comfy(encoding, weights, empty)
