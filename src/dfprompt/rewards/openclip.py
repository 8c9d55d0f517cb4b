"""open_clip's names for a CLIP model's tensors, turned into those of transformers' CLIPModel.

HPSv2.1 is published in open_clip's layout (a ViT-H/14); converted, it is a CLIPModel like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from dfprompt.errors import LoadError

# open_clip name -> CLIPModel name, for what lies outside the transformer blocks; True: transposed.
_OUTSIDE = {
    "visual.class_embedding": ("vision_model.embeddings.class_embedding", False),
    "visual.positional_embedding": ("vision_model.embeddings.position_embedding.weight", False),
    "visual.conv1.weight": ("vision_model.embeddings.patch_embedding.weight", False),
    "visual.ln_pre.weight": ("vision_model.pre_layrnorm.weight", False),
    "visual.ln_pre.bias": ("vision_model.pre_layrnorm.bias", False),
    "visual.ln_post.weight": ("vision_model.post_layernorm.weight", False),
    "visual.ln_post.bias": ("vision_model.post_layernorm.bias", False),
    "visual.proj": ("visual_projection.weight", True),
    "token_embedding.weight": ("text_model.embeddings.token_embedding.weight", False),
    "positional_embedding": ("text_model.embeddings.position_embedding.weight", False),
    "ln_final.weight": ("text_model.final_layer_norm.weight", False),
    "ln_final.bias": ("text_model.final_layer_norm.bias", False),
    "text_projection": ("text_projection.weight", True),
    "logit_scale": ("logit_scale", False),
}
# Inside a block; `attn.in_proj` holds query, key and value on top of each other and is split below.
_INSIDE = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)")
_BUFFERS = ("attn_mask",)


def convert_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the same model as a transformers CLIPModel; raises LoadError for unknown names."""
    converted: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = key.removeprefix("module.")
        if name in _BUFFERS:
            continue
        if name in _OUTSIDE:
            target, transposed = _OUTSIDE[name]
            converted[target] = tensor.T.contiguous() if transposed else tensor
        else:
            converted.update(_convert_block(name, tensor))
    return converted


def _convert_block(name: str, tensor: Tensor) -> dict[str, Tensor]:
    found = _BLOCK.fullmatch(name)
    if found is None:
        raise LoadError(f"{name!r} is not a tensor of an open_clip ViT")
    half = "vision_model" if found[1] else "text_model"
    layer, part, kind = f"{half}.encoder.layers.{found[2]}", found[3], found[4]
    if part == "attn.in_proj":
        thirds = tensor.chunk(3)
        return {
            f"{layer}.self_attn.{letter}_proj.{kind}": third.contiguous()
            for letter, third in zip("qkv", thirds, strict=True)
        }
    if part not in _INSIDE:
        raise LoadError(f"{name!r} is not a tensor of an open_clip ViT")
    return {f"{layer}.{_INSIDE[part]}.{kind}": tensor}
