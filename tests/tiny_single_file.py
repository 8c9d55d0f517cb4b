"""A tiny Stable Diffusion folder in one file: .safetensors under the original program's names, or GGUF."""

from __future__ import annotations

import re
from pathlib import Path

import gguf
from safetensors.torch import load_file, save_file
from torch import Tensor

# Ours -> the original's, for a denoiser of two levels with one layer each, tried in this order.
_DENOISER = {
    r"conv_in\.": "input_blocks.0.0.",
    r"time_embedding\.linear_1\.": "time_embed.0.",
    r"time_embedding\.linear_2\.": "time_embed.2.",
    r"down_blocks\.0\.resnets\.0\.": "input_blocks.1.0.",
    r"down_blocks\.0\.downsamplers\.0\.conv\.": "input_blocks.2.0.op.",
    r"down_blocks\.1\.resnets\.0\.": "input_blocks.3.0.",
    r"down_blocks\.1\.attentions\.0\.": "input_blocks.3.1.",
    r"mid_block\.resnets\.0\.": "middle_block.0.",
    r"mid_block\.attentions\.0\.": "middle_block.1.",
    r"mid_block\.resnets\.1\.": "middle_block.2.",
    r"up_blocks\.0\.resnets\.(\d)\.": r"output_blocks.\1.0.",
    r"up_blocks\.0\.attentions\.(\d)\.": r"output_blocks.\1.1.",
    r"up_blocks\.0\.upsamplers\.0\.": "output_blocks.1.2.",
    r"up_blocks\.1\.resnets\.0\.": "output_blocks.2.0.",
    r"up_blocks\.1\.resnets\.1\.": "output_blocks.3.0.",
    r"conv_norm_out\.": "out.0.",
    r"conv_out\.": "out.2.",
}
_RESIDUAL = {
    r"\.norm1\.": ".in_layers.0.",
    r"\.conv1\.": ".in_layers.2.",
    r"\.time_emb_proj\.": ".emb_layers.1.",
    r"\.norm2\.": ".out_layers.0.",
    r"\.conv2\.": ".out_layers.3.",
    r"\.conv_shortcut\.": ".skip_connection.",
}
_AUTOENCODER = {
    r"down_blocks\.(\d)\.resnets\.(\d)\.": r"down.\1.block.\2.",
    r"down_blocks\.(\d)\.downsamplers\.0\.": r"down.\1.downsample.",
    r"up_blocks\.0\.resnets\.(\d)\.": r"up.1.block.\1.",  # counted from the picture, not from the latents
    r"up_blocks\.0\.upsamplers\.0\.": "up.1.upsample.",
    r"up_blocks\.1\.resnets\.(\d)\.": r"up.0.block.\1.",
    r"mid_block\.resnets\.0\.": "mid.block_1.",
    r"mid_block\.resnets\.1\.": "mid.block_2.",
    r"mid_block\.attentions\.0\.group_norm\.": "mid.attn_1.norm.",
    r"mid_block\.attentions\.0\.to_(q|k|v)\.": r"mid.attn_1.\1.",
    r"mid_block\.attentions\.0\.to_out\.0\.": "mid.attn_1.proj_out.",
    r"conv_norm_out\.": "norm_out.",
    r"conv_shortcut\.": "nin_shortcut.",
}


def write_single_file(folder: Path, path: Path) -> Path:
    """Write the weights of the tiny `sd1` folder into one file."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in load_file(folder / "unet/diffusion_pytorch_model.safetensors").items():
        renamed = _rename(name, _DENOISER)
        if ".resnets." in name:
            renamed = _rename(renamed, _RESIDUAL)
        tensors[f"model.diffusion_model.{renamed}"] = tensor
    for name, tensor in load_file(folder / "vae/diffusion_pytorch_model.safetensors").items():
        convolved = re.search(r"attentions\.0\.to_\w+(\.0)?\.weight", name)
        tensors[f"first_stage_model.{_rename(name, _AUTOENCODER)}"] = (
            tensor[:, :, None, None] if convolved else tensor
        )
    for name, tensor in load_file(folder / "text_encoder/model.safetensors").items():
        tensors[f"cond_stage_model.transformer.text_model.{name}"] = tensor
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def _rename(name: str, rules: dict[str, str]) -> str:
    for pattern, replacement in rules.items():
        name = re.sub(rf"(?:^|(?<=\.)|(?=\.)){pattern}", replacement, name, count=1)
    return name


def write_gguf(folder: Path, part: str, path: Path, *, packed: bool = True) -> Path:
    """Write a folder's denoiser as GGUF: matrices as Q8_0 (8 bits, a scale per 32 numbers)."""
    writer = gguf.GGUFWriter(path, "tiny")
    for name, tensor in load_file(folder / part / "diffusion_pytorch_model.safetensors").items():
        values = tensor.float().contiguous().numpy()
        if packed and values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
