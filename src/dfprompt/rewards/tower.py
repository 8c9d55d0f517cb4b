"""A CLIP model with its tokenizer and preprocessing: pictures and texts become unit vectors."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dfprompt.domain import Domain
from dfprompt.errors import DFPromptWarning
from dfprompt.excerpt import quote
from dfprompt.rewards.batching import map_rows, rows_that_fit
from dfprompt.rewards.preprocessing import Preprocessing

_TEXTS_CACHED = 4096  # 12 MB at width 768
_TEXTS_AT_ONCE = 256


class ClipTower:
    """A transformers CLIPModel ready to embed; scores that hold the same tower share its passes.

    `batch_size` fixes how many pictures are computed at once; by default it follows the free memory.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        preprocessing: Preprocessing,
        *,
        name: str,
        domain: Domain | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.name = name
        self.domain = domain
        self.batch_size = batch_size
        self._texts: OrderedDict[str, Tensor] = OrderedDict()
        self._texts_state: tuple[Any, ...] = ()

    @property
    def width(self) -> int:
        """The length D of the vectors."""
        return int(self.model.config.projection_dim)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in."""
        return self.model.logit_scale.dtype

    def to(self, device: torch.device | str) -> ClipTower:
        """Move the model, so that a pipeline and its scorers can take turns on a small GPU."""
        self.model.to(device)
        return self

    def image_features(self, images: Tensor) -> Tensor:
        """L2-normalised features (B, D), float32 on the tower's device, of images (B, 3, H, W) in [0, 1]."""
        return _unit(self.image_vectors(images)) if len(images) else self.image_vectors(images)

    @torch.no_grad()
    def image_vectors(self, images: Tensor) -> Tensor:
        """The projected vectors (B, D) of images before they are normalised, float32."""
        if not len(images):
            return torch.zeros(0, self.width, device=self.device)

        def embed(rows: slice) -> Tensor:
            pixels = self.preprocessing(images[rows].to(self.device))
            vectors: Tensor = self.model.get_image_features(pixel_values=pixels.to(self.dtype)).pooler_output
            return vectors.float()

        at_once = self.batch_size or rows_that_fit(self._bytes_per_image(images), self.device)
        return map_rows(embed, len(images), at_once)

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised features (B, D), float32 on the tower's device; each text is encoded once."""
        self._forget_stale_texts()
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        known = {text: self._texts[text] for text in texts if text in self._texts}
        for start in range(0, len(new), _TEXTS_AT_ONCE):
            group = new[start : start + _TEXTS_AT_ONCE]
            known.update(zip(group, self._encode(group), strict=True))
        for text in dict.fromkeys(texts):
            self._texts[text] = known[text]
            self._texts.move_to_end(text)
        while len(self._texts) > _TEXTS_CACHED:
            self._texts.popitem(last=False)
        empty = torch.zeros(0, self.width, device=self.device)
        return torch.stack([known[text] for text in texts]) if texts else empty

    def forget_texts(self) -> None:
        """Drop cached texts: the last bits of a feature depend on the texts it was encoded among."""
        self._texts.clear()

    def _encode(self, texts: list[str]) -> Tensor:
        window = min(self.tokenizer.model_max_length, self.model.config.text_config.max_position_embeddings)
        for text in texts:
            self._warn_if_cut(text, window)
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=window, return_tensors="pt"
        ).to(self.device)
        features = self.model.get_text_features(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
        )
        return _unit(features.pooler_output)

    def _warn_if_cut(self, text: str, window: int) -> None:
        whole = self.tokenizer(text, return_offsets_mapping=True, verbose=False)
        if len(whole.input_ids) <= window:
            return
        lost = text[whole.offset_mapping[window - 1][0] :]  # the window's last place is the end token's
        warnings.warn(
            f"{self.name} reads {window} tokens; of {quote(text)} the score ignores {quote(lost, 60)}",
            DFPromptWarning,
            stacklevel=2,
        )

    def _forget_stale_texts(self) -> None:
        """Drop cached texts when the text half of the model was trained, loaded, moved or cast."""
        parameters = [*self.model.text_model.parameters(), *self.model.text_projection.parameters()]
        versions = sum(parameter._version for parameter in parameters)
        state = (versions, parameters[0].data_ptr(), self.dtype, self.device)
        if state != self._texts_state:
            self._texts.clear()
            self._texts_state = state

    def _bytes_per_image(self, images: Tensor) -> int:
        """A generous estimate: one layer's activations with explicit attention, and the resized picture."""
        vision = self.model.config.vision_config
        tokens = (vision.image_size // vision.patch_size) ** 2 + 1
        layer = tokens * (6 * vision.hidden_size + 2 * vision.intermediate_size)
        attention = vision.num_attention_heads * tokens * tokens
        picture = 4 * 3 * images.shape[2] * images.shape[3]
        return int(2 * (layer + attention) * self.dtype.itemsize + 8 * picture)


def _unit(features: Tensor) -> Tensor:
    """L2-normalise in float32, whatever the model computed in."""
    features = features.float()
    return features / features.norm(dim=-1, keepdim=True)


class ImageBatch:
    """The pictures of one call with what was computed from them, so that scores share an image tower.

    images: (B, 3, H, W), float in [0, 1]; do not change them while the batch is in use.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self._vectors: dict[ClipTower, Tensor] = {}
        self._checked: set[Domain] = set()

    def __len__(self) -> int:
        return len(self.images)

    def features(self, tower: ClipTower) -> Tensor:
        """L2-normalised image features (B, D), float32, computed on the first request for each tower."""
        vectors = self.vectors(tower)
        return _unit(vectors) if len(vectors) else vectors

    def vectors(self, tower: ClipTower) -> Tensor:
        """The same before they are normalised."""
        if tower not in self._vectors:
            self._vectors[tower] = tower.image_vectors(self.images)
        return self._vectors[tower]

    def check_domain(self, domain: Domain | None, prompts: Sequence[str]) -> None:
        """Warn once per batch if the pictures or the prompts lie outside what the model was trained on."""
        if domain is not None and domain not in self._checked:
            self._checked.add(domain)
            domain.check(self.images.shape[2], self.images.shape[3], prompts)
