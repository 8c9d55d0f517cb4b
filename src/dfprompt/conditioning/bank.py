"""One encoder's share of a batch: collect what it must read, read it once, weight it, line it up.

Shapes: B conditionings weighted together, T tokens, D width, P pooled width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from dfprompt.conditioning import weighting as rules
from dfprompt.conditioning.cache import Encoding, EncodingCache
from dfprompt.conditioning.capabilities import Weighting
from dfprompt.conditioning.encoders import TextEncoder, Unit
from dfprompt.conditioning.layouts import Conditioning, Layout, lay_out


class Encoded:
    """The encodings of a set of conditionings by one encoder, weighted and ready to be joined.

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
        readings = dict(zip(texts, encoder.read(texts, chunks=chunks), strict=True))
        self.lost = {text: reading.lost for text, reading in readings.items() if reading.lost}
        # A pooled vector is weighted by nobody, so it needs no masked encodings either.
        applied = rule if encoder.sequence else "scale"
        self._layouts = {each: lay_out(each, readings[each.text].windows, applied) for each in heard}
        self._empty = {
            each.clip_skip: Unit(readings[""].windows[0].ids, None, each.clip_skip) for each in heard
        }
        self.forwards = self.encoded = 0
        self._known = self._encode(self._needed(), cache, batch_size)
        self._sequences = self._weigh_all() if encoder.sequence else {}

    def layout(self, conditioning: Conditioning) -> Layout | None:
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
        sequence = self._sequences[conditioning]
        if self.encoder.chunks and len(units) < windows:
            empty = self._known[self._empty[conditioning.clip_skip]].sequence
            sequence = torch.cat([sequence, *[empty] * (windows - len(units))])
        return Encoding(sequence, pooled)

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

    def _weigh_all(self) -> dict[Conditioning, Tensor]:
        """Return every sequence (T,D) under the rule; those of one length are weighted in one go."""
        sequences = {each: self._join(layout.units) for each, layout in self._layouts.items()}
        groups: dict[Hashable, list[Conditioning]] = {}
        for each, layout in self._layouts.items():
            if not layout.is_plain:
                alone = each if layout.masked else None
                kind = (len(sequences[each]), each.clip_skip, layout.hides, alone)
                groups.setdefault(kind, []).append(each)
        for group in groups.values():
            stacked = torch.stack([sequences[each] for each in group])
            weighted = self._weigh([self._layouts[each] for each in group], stacked, group[0].clip_skip)
            sequences |= dict(zip(group, weighted, strict=True))
        return sequences

    def _weigh(self, layouts: Sequence[Layout], encoding: Tensor, clip_skip: int | None) -> Tensor:
        """Return (B,T,D) weighted, hidden tokens emptied."""
        weights = torch.tensor([layout.weights for layout in layouts], device=encoding.device)
        empty = encoding
        if layouts[0].hides or self.rule in ("comfy", "compel"):
            window = self._known[self._empty[clip_skip]].sequence
            empty = window.repeat(len(layouts[0].units), 1)[None]
        hidden = torch.tensor([layout.hidden for layout in layouts], device=encoding.device)
        if layouts[0].hides:
            encoding = torch.where(hidden[..., None], empty, encoding)
        if self.rule == "scale":
            return rules.weight_scale(encoding, weights)
        if self.rule == "mean":
            return rules.weight_mean(encoding, weights)
        if not layouts[0].masked:
            return rules.weight_comfy(encoding, weights, empty)
        masked = torch.stack([self._join(row) for row in layouts[0].masked])[None]
        masked = torch.where(hidden[:, None, :, None], empty[:, None], masked)
        return rules.weight_compel(encoding, weights, empty, masked, layouts[0].down_weights)

    def _join(self, units: Sequence[Unit]) -> Tensor:
        sequences = [self._known[unit].sequence for unit in units]
        return sequences[0] if len(sequences) == 1 else torch.cat(sequences)
