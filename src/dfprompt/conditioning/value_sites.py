"""Where a denoiser computes the values of its text tokens: the projections that weights act on.

Data only, read by the capabilities; `value_weights` puts the hooks there.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

# Which of a projection's rows are text: all of them (cross attention, a stream of its own), the first
# or the last ones (one stream of text and picture).
TextRows = Literal["all", "first", "last"]


class ValueSite(NamedTuple):
    """The value projection of one kind of attention block.

    `block` is a regular expression for the names of the blocks, `projection` the name of the
    projection inside a block. Every block must have it. `rows` says which of its rows are text.
    `padding` is the multiple that text at the end of a stream is padded to. `third` says that the
    projection computes queries, keys and values in one go, perhaps with more behind them, each as
    wide as the attention's `inner_dim`.
    """

    block: str
    projection: str
    rows: TextRows = "all"
    padding: int = 1
    third: bool = False


# Stable Diffusion 1, 2 and XL: cross attention in the UNet and its ControlNets. AnimateDiff's motion
# modules attend over frames and hear no text.
UNET_VALUES = (ValueSite(r"(?!.*motion_modules).*\.transformer_blocks\.\d+", "attn2.to_v"),)

# Two streams that attend together: Stable Diffusion 3, Qwen-Image, FLUX.1's and FLUX.2's first blocks.
_TWO_STREAMS = ValueSite(r"transformer_blocks\.\d+", "attn.add_v_proj")
TWO_STREAM_VALUES = (_TWO_STREAMS,)
FLUX_VALUES = (_TWO_STREAMS, ValueSite(r"single_transformer_blocks\.\d+", "attn.to_v", "first"))
FLUX2_VALUES = (
    _TWO_STREAMS,
    ValueSite(r"single_transformer_blocks\.\d+", "attn.to_qkv_mlp_proj", "first", third=True),
)

KREA2_VALUES = (ValueSite(r"transformer_blocks\.\d+", "attn.to_v", "first"),)
Z_IMAGE_VALUES = (ValueSite(r"layers\.\d+", "attention.to_v", "last", padding=32),)
WAN_VALUES = (ValueSite(r"(vace_)?blocks\.\d+", "attn2.to_v"),)
