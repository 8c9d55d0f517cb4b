"""LoRAs of random weights for the tiny pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from dfprompt.conditioning.generic.listening import find_denoisers


def write_lora(pipe: Any, folder: Path, *, encoder: bool = False) -> Path:
    """A LoRA of random weights in the layout of `save_lora_weights`; the pipeline is left as it was."""
    denoiser = find_denoisers(pipe)[0]
    part = "unet" if hasattr(pipe, "unet") else "transformer"
    layers = {part: (denoiser, ["to_q", "to_v"])}
    if encoder:
        layers["text_encoder"] = (pipe.text_encoder, ["q_proj", "v_proj"])
    states = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        for key, (module, targets) in layers.items():
            config = LoraConfig(r=2, lora_alpha=8, target_modules=targets, init_lora_weights=False)
            module.add_adapter(config, adapter_name="made")
            states[f"{key}_lora_layers"] = get_peft_model_state_dict(module, adapter_name="made")
    pipe.save_lora_weights(folder, **states)
    for module, _ in layers.values():
        if hasattr(module, "delete_adapters"):
            module.delete_adapters("made")
        else:  # transformers' models
            module.delete_adapter("made")
    return folder / "pytorch_lora_weights.safetensors"
