"""docs/runtime.md: its python examples run as they stand, on tiny pipelines in place of the downloads."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import torch

from dfprompt import prepare
from dfprompt.conditioning.capabilities import WEIGHTINGS
from tiny_loras import write_lora

PAGE = Path(__file__).resolve().parents[2] / "docs" / "runtime.md"
SAID_IN_WORDS = ("pipe", "prompts", "callback_on_step_end_tensor_inputs", "unknown")
HUB_ID = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_the_examples_run_one_after_the_other(tiny_folder, tiny_pipe, tmp_path, monkeypatch):
    """In the order of the page, sharing their names, as a reader would type them."""
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    monkeypatch.chdir(tmp_path)
    write_lora(tiny_pipe("sd1"), tmp_path / "loras").rename(tmp_path / "loras" / "ink.safetensors")
    small = tiny_pipe("flux")
    small.default_sample_size = 16  # of its own, it is as large as FLUX's, and takes ten seconds
    names = {
        "flux": small,
        "generators": [torch.Generator().manual_seed(seed) for seed in range(2)],
    }
    assert HUB_ID in blocks[0]
    blocks[0] = blocks[0].replace(HUB_ID, str(tiny_folder("sd1"))).replace('"cuda"', '"cpu"')
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert [image.size for image in names["images"]] == [(16, 16)] * 2
    assert names["image"].getextrema()  # FLUX, at its own default size
    assert {"prompt_embeds", "negative_prompt_embeds"} <= set(names["heard"])


def test_the_page_names_every_rule_and_every_argument():
    text = PAGE.read_text(encoding="utf-8")
    for rule in WEIGHTINGS:
        assert f"| `{rule}` |" in text
    for argument in inspect.signature(prepare).parameters:
        assert f"`{argument}`" in text or argument in SAID_IN_WORDS, argument
