"""open_clip's layout: the converted CLIPModel against a naive forward pass written from the tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

import tiny_rewards
from dfprompt.errors import LoadError
from dfprompt.rewards import Preprocessing, ScoreLoader
from dfprompt.rewards.openclip import convert_open_clip
from tiny_rewards import IMAGE_SIZE, clip_config, open_clip_state, pictures, prompts

HEADS = 4


def _norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def _blocks(state: dict[str, Tensor], prefix: str, x: Tensor, mask: Tensor | None) -> Tensor:
    """Pre-norm residual blocks as open_clip writes them, around torch's own multi-head attention."""
    layer = 0
    while f"{prefix}.resblocks.{layer}.ln_1.weight" in state:
        block = f"{prefix}.resblocks.{layer}"
        attention = torch.nn.MultiheadAttention(x.shape[-1], HEADS, batch_first=True)
        attention.in_proj_weight.data = state[f"{block}.attn.in_proj_weight"]
        attention.in_proj_bias.data = state[f"{block}.attn.in_proj_bias"]
        attention.out_proj.weight.data = state[f"{block}.attn.out_proj.weight"]
        attention.out_proj.bias.data = state[f"{block}.attn.out_proj.bias"]
        normed = _norm(state, f"{block}.ln_1", x)
        x = x + attention(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        normed = _norm(state, f"{block}.ln_2", x)
        inner = functional.linear(normed, state[f"{block}.mlp.c_fc.weight"], state[f"{block}.mlp.c_fc.bias"])
        x = x + functional.linear(
            functional.gelu(inner), state[f"{block}.mlp.c_proj.weight"], state[f"{block}.mlp.c_proj.bias"]
        )
        layer += 1
    return x


def _naive_image(state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    patch = state["visual.conv1.weight"].shape[-1]
    x = functional.conv2d(pixels, state["visual.conv1.weight"], stride=patch).flatten(2).transpose(1, 2)
    start = state["visual.class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([start, x], 1) + state["visual.positional_embedding"]
    x = _blocks(state, "visual.transformer", _norm(state, "visual.ln_pre", x), None)
    return _norm(state, "visual.ln_post", x[:, 0]) @ state["visual.proj"]


def _naive_text(state: dict[str, Tensor], tokens: Tensor) -> Tensor:
    length = tokens.shape[1]
    x = state["token_embedding.weight"][tokens] + state["positional_embedding"][:length]
    mask = torch.full((length, length), float("-inf")).triu(1)
    x = _norm(state, "ln_final", _blocks(state, "transformer", x, mask))
    return x[torch.arange(len(x)), tokens.argmax(-1)] @ state["text_projection"]


@pytest.fixture
def state() -> dict[str, Tensor]:
    return open_clip_state(clip_config(activation="gelu", legacy_end=True))


@torch.no_grad()
def test_the_converted_model_computes_what_open_clip_computes(state: dict[str, Tensor]) -> None:
    model = CLIPModel(clip_config(activation="gelu", legacy_end=True)).eval()
    model.load_state_dict(convert_open_clip(state), strict=True)
    pixels = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[556, 5, 9, 300, 557], [556, 2, 557, 557, 557]])
    seen = model.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(seen, _naive_image(state, pixels), rtol=1e-4, atol=1e-5)
    read = model.get_text_features(input_ids=tokens).pooler_output
    torch.testing.assert_close(read, _naive_text(state, tokens), rtol=1e-4, atol=1e-5)
    assert model.logit_scale.item() == pytest.approx(4.6)


@torch.no_grad()
def test_hps_is_the_naive_cosine_on_padded_pictures(tmp_path: Path) -> None:
    state = tiny_rewards.save_open_clip(tmp_path / "hps")
    images, texts = pictures(3, 48, 90), prompts(3)
    pixels = Preprocessing(IMAGE_SIZE, (IMAGE_SIZE, IMAGE_SIZE), fit="pad")(images)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "hps")
    tokens = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
    cosine = functional.cosine_similarity(_naive_image(state, pixels), _naive_text(state, tokens))
    score = ScoreLoader(device="cpu").load_score("hps", str(tmp_path / "hps"))
    torch.testing.assert_close(score(images, texts), cosine, rtol=0, atol=1e-5)
    assert score.name == "hps"
    by_file = ScoreLoader(device="cpu").load_score("hps", str(tmp_path / "hps" / "HPS_v2.1_compressed.pt"))
    assert torch.equal(by_file(images, texts), score(images, texts))


def test_a_converted_folder_gives_the_same_scores(tmp_path: Path) -> None:
    tiny_rewards.save_open_clip(tmp_path / "hps")
    score = ScoreLoader(device="cpu").load_score("hps", str(tmp_path / "hps"))
    next(score.towers()).model.save_pretrained(tmp_path / "converted")
    tiny_rewards.save_processor(tmp_path / "converted")
    again = ScoreLoader(device="cpu").load_score("hps", str(tmp_path / "converted"))
    images, texts = pictures(3, 48, 90), prompts(3)
    torch.testing.assert_close(again(images, texts), score(images, texts), rtol=0, atol=1e-6)


def test_names_of_data_parallel_training_and_buffers_are_understood(state: dict[str, Tensor]) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    wrapped["module.attn_mask"] = torch.zeros(77, 77)
    assert convert_open_clip(wrapped).keys() == convert_open_clip(state).keys()


@pytest.mark.parametrize("name", ["visual.trunk.blocks.0", "transformer.resblocks.0.attn.q_norm.weight", "x"])
def test_unknown_tensors_are_named(state: dict[str, Tensor], name: str) -> None:
    with pytest.raises(LoadError, match=name.replace(".", r"\.")):
        convert_open_clip({**state, name: torch.zeros(1)})


def test_a_missing_tensor_is_named_with_its_file(tmp_path: Path) -> None:
    state = tiny_rewards.save_open_clip(tmp_path)
    del state["visual.ln_pre.bias"]
    torch.save(state, tmp_path / "HPS_v2.1_compressed.pt")
    with pytest.raises(LoadError, match=str(tmp_path)) as caught:
        ScoreLoader(device="cpu").load_score("hps", str(tmp_path))
    assert "pre_layrnorm.bias" in str(caught.value)
