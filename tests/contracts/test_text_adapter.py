"""The contract of a text adapter, held by every family: encode conditionings into the pipeline's tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dfprompt.conditioning.cache import EncodingCache
from dfprompt.conditioning.capabilities import FAMILIES
from dfprompt.conditioning.encoder_layout import Conditioning
from dfprompt.conditioning.families import adapter_for
from runs import length_arguments

pytestmark = pytest.mark.few("sd1", "sdxl", "flux")

FAMILY_PIPELINES = ("sd1", "sd2", "sdxl", "sd3", "sd3-without-t5", "flux", "qwen-image")
PLAIN = ("a red house", "an old blue cat in the snow", "goddess, café 🎉", "")


@pytest.fixture(params=FAMILY_PIPELINES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def pipe(tiny_pipe, name: str) -> Any:
    return tiny_pipe(name)


def adapter(pipe: Any, name: str) -> Any:
    return adapter_for(pipe, **length_arguments(name))


def encode(pipe: Any, name: str, *conditionings: Conditioning, **options: Any) -> Any:
    made = adapter(pipe, name)
    rule = options.pop("rule", made.capabilities.weighting)
    return made.encode(conditionings, rule, cache=options.pop("cache", EncodingCache(max_bytes=0)), **options)


def tensors_of(bank: Any) -> dict[str, torch.Tensor]:
    """Every entry of a bank, row by row."""
    made: dict[str, torch.Tensor] = bank.take(sorted(set(bank.entries)))
    return made


def stock(pipe: Any, name: str, text: str) -> dict[str, torch.Tensor]:
    """The pipeline's own encoding of a plain text."""
    with torch.no_grad():
        if name.startswith("sd3"):
            made = pipe.encode_prompt(text, None, None, **length_arguments(name))
            return {"prompt_embeds": made[0], "pooled_prompt_embeds": made[2]}
        if name == "flux":
            made = pipe.encode_prompt(text, **length_arguments(name))
            return {"prompt_embeds": made[0], "pooled_prompt_embeds": made[1]}
        if name == "qwen-image":
            return {"prompt_embeds": pipe.encode_prompt(text)[0]}
        if name == "sdxl":
            made = pipe.encode_prompt(text)
            return {"prompt_embeds": made[0], "pooled_prompt_embeds": made[2]}
        return {"prompt_embeds": pipe.encode_prompt(text, "cpu", 1, False)[0]}


def test_plain_text_alone_is_the_pipelines_own_encoding_bit_for_bit(pipe, name):
    for text in PLAIN:  # under `scale`, which encodes no empty prompt beside it
        found = tensors_of(encode(pipe, name, Conditioning(text), rule="scale"))
        for tensor_name, expected in stock(pipe, name, text).items():
            assert torch.equal(found[tensor_name], expected), (text, tensor_name)


def test_entries_do_not_depend_on_their_batch(pipe, name):
    together = tensors_of(encode(pipe, name, *map(Conditioning, PLAIN)))
    for row, text in enumerate(PLAIN):
        for tensor_name, alone in tensors_of(encode(pipe, name, Conditioning(text))).items():
            found = together[tensor_name][row : row + 1, : alone.shape[1]]
            torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)


def test_what_pads_an_entry_is_masked_or_the_same_for_all(pipe, name):
    tensors = tensors_of(encode(pipe, name, *map(Conditioning, PLAIN)))
    lengths = {tensor.shape[1] for key, tensor in tensors.items() if key.startswith("prompt_embeds")}
    assert len(lengths) == 1
    if "prompt_embeds_mask" in tensors:
        outside = tensors["prompt_embeds"][tensors["prompt_embeds_mask"] == 0]
        assert outside.numel()
        assert not outside.any()


def test_one_forward_per_encoder_and_none_from_the_cache(pipe, name):
    cache = EncodingCache()
    texts = [Conditioning(text) for text in [*PLAIN, *PLAIN]]
    first, again = (encode(pipe, name, *texts, cache=cache) for _ in range(2))
    encoders = len(adapter(pipe, name).encoders)
    assert first.forwards == (1,) * encoders
    assert first.encoded == (len(PLAIN),) * encoders
    assert again.forwards == (0,) * encoders
    for key, tensor in tensors_of(first).items():
        assert torch.equal(tensor, tensors_of(again)[key])


def test_a_weight_moves_its_own_tokens_and_no_others(pipe, name):
    """Under `scale` exactly the weighted tokens are multiplied; the pooled vector never is."""
    text = "a red house, old"
    start = text.index("house")
    plain = tensors_of(encode(pipe, name, Conditioning(text), rule="scale"))
    heavy = tensors_of(
        encode(pipe, name, Conditioning(text, weights=((start, start + 5, 2.0),)), rule="scale")
    )
    moved = (plain["prompt_embeds"] != heavy["prompt_embeds"]).any(dim=-1)[0]
    assert moved.sum() == (2 if name == "sd3" else 1)  # in SD3 once among CLIP's tokens, once among T5's
    torch.testing.assert_close(heavy["prompt_embeds"][0, moved], 2 * plain["prompt_embeds"][0, moved])
    if "pooled_prompt_embeds" in plain:
        assert torch.equal(plain["pooled_prompt_embeds"], heavy["pooled_prompt_embeds"])


def test_attention_weights_lie_on_the_tokens_that_scale_would_move(pipe, name):
    """The same places as an embedding rule's, one weight per vector of the sequence, encoded once."""
    text = "a red house, old"
    start = text.index("house")
    plain = Conditioning(text)
    heavy, negative = (Conditioning(text, weights=((start, start + 5, weight),)) for weight in (2.0, -0.5))
    scaled = tensors_of(encode(pipe, name, plain, heavy, rule="scale"))["prompt_embeds"]
    bank = encode(pipe, name, plain, heavy, negative, rule="attention")
    assert bank.entries == (0, 0, 0)
    weights = bank.token_weights.take(bank.token_weights.entries)
    assert weights.shape[1] == bank.take([0])["prompt_embeds"].shape[1]
    moved = (scaled[0] != scaled[1]).any(dim=-1)
    assert torch.equal(weights[0], torch.ones(len(moved)))
    assert torch.equal(weights[1], torch.where(moved, 2.0, 1.0))
    assert torch.equal(weights[2], torch.where(moved, -0.5, 1.0))


def test_the_capabilities_are_the_familys(pipe, name):
    made = adapter(pipe, name)
    assert made.capabilities in FAMILIES
    assert type(pipe).__name__ in made.capabilities.pipelines
    assert made.capabilities.chunks == any(encoder.chunks for encoder in made.encoders)
    names = set(encode(pipe, name, Conditioning("a cat")).names)
    assert set(made.callback_names) <= names
    assert set(made.denoiser_names) <= names
    assert ("pooled_prompt_embeds" in names) == (made.capabilities.pooled != "none")
    # What a step callback can reach is what the family says `prepare` can do.
    reachable = {
        bank for bank, callback in made.callback_names.items() if callback in pipe._callback_tensor_inputs
    }
    assert ("pooled_prompt_embeds" in reachable) == (made.capabilities.pooled == "prepare")


def test_tensors_carry_no_gradient_and_the_encoders_type(pipe, name):
    pipe.to(torch.bfloat16)
    for tensor in tensors_of(encode(pipe, name, Conditioning("a cat"))).values():
        assert not tensor.requires_grad
        assert tensor.dtype in (torch.bfloat16, torch.int64)
