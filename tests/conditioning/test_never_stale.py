"""A cached encoding is used only while the encoder would still give it: real adapters on a real encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import dfprompt
from dfprompt.conditioning.cache import EncodingCache
from dfprompt.conditioning.compile import compile_prompts
from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.fingerprint import fingerprint_module
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.schedule import Schedule
from dfprompt.prompt import parse_prompt

SCHEDULE = Schedule(2, (0, 1))
PROMPT = parse_prompt("a red [horse:early], <cat> [snow::1.5]")


def encode(pipe: Any, cache: EncodingCache, **options: Any) -> Compiled:
    return compile_prompts(adapter_for(pipe), [PROMPT], None, SCHEDULE, Options(**options), cache=cache)


def embeds(compiled: Compiled) -> torch.Tensor:
    return torch.stack([compiled.at(step)["prompt_embeds"][0] for step in range(2)])


def lora_file(pipe: Any, folder: Path, seed: int) -> Path:
    """A LoRA for the text encoder in the format users download, its effect not zero."""
    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    pipe.text_encoder.add_adapter(config, adapter_name=f"source{seed}")
    layers = get_peft_model_state_dict(pipe.text_encoder, adapter_name=f"source{seed}")
    pipe.save_lora_weights(folder / str(seed), text_encoder_lora_layers=layers)
    return folder / str(seed)


@pytest.fixture
def loras(tiny_pipe, tmp_path) -> list[Path]:
    return [lora_file(tiny_pipe("sd1"), tmp_path, seed) for seed in (1, 2)]


class Watched:
    """A pipeline with a cache; each change of the encoder must give what a fresh cache gives."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.cache = EncodingCache()
        self.seen = embeds(encode(pipe, self.cache))

    def check(self, what: str, *, changed: bool = True) -> None:
        found, truth = embeds(encode(self.pipe, self.cache)), embeds(encode(self.pipe, EncodingCache()))
        assert torch.equal(found, truth), f"stale after: {what}"
        assert torch.equal(found, self.seen) != changed, f"{what} should {'' if changed else 'not '}matter"
        self.seen = found
        assert encode(self.pipe, self.cache).bank.forwards == (0,), f"not cached after: {what}"


@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute")  # two LoRAs are meant
def test_loading_rescaling_disabling_and_unloading_a_lora(tiny_pipe, loras):
    watched = Watched(pipe := tiny_pipe("sd1"))
    plain = watched.seen
    pipe.load_lora_weights(loras[0], adapter_name="first")
    watched.check("load")
    pipe.set_adapters(["first"], [0.4])
    watched.check("rescale")
    pipe.load_lora_weights(loras[1], adapter_name="second")
    pipe.set_adapters(["first", "second"], [0.4, 0.9])
    watched.check("a second one")
    pipe.set_adapters(["second"])
    watched.check("switch")
    pipe.disable_lora()
    watched.check("disable")
    pipe.enable_lora()
    watched.check("enable")
    pipe.delete_adapters("first")
    watched.check("delete one that is not active", changed=False)
    pipe.unload_lora_weights()
    watched.check("unload")
    assert torch.equal(watched.seen, plain)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute")
@pytest.mark.parametrize("encoder", ["text_encoder", "text_encoder_2"])
def test_each_encoder_of_sdxl_is_watched(tiny_pipe, tmp_path, encoder):
    """A LoRA on one encoder: that one reads again, the other does not."""
    pipe, cache = tiny_pipe("sdxl"), EncodingCache()
    plain = embeds(encode(pipe, cache))
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    source = tiny_pipe("sdxl")
    getattr(source, encoder).add_adapter(config, adapter_name="source")
    layers = get_peft_model_state_dict(getattr(source, encoder), adapter_name="source")
    source.save_lora_weights(tmp_path, **{f"{encoder}_lora_layers": layers})
    reads = (1, 0) if encoder == "text_encoder" else (0, 1)
    pipe.load_lora_weights(tmp_path, adapter_name="first")
    loaded = encode(pipe, cache)
    assert loaded.bank.forwards == reads
    assert torch.equal(embeds(loaded), embeds(encode(pipe, EncodingCache())))
    assert not torch.equal(embeds(loaded), plain)
    pipe.set_adapters(["first"], [0.3])
    rescaled = encode(pipe, cache)
    assert rescaled.bank.forwards == reads
    assert not torch.equal(embeds(rescaled), embeds(loaded))
    pipe.unload_lora_weights()
    assert torch.equal(embeds(encode(pipe, cache)), plain)


@pytest.mark.parametrize("name", ["flux", "sd3", "qwen-image"])
def test_every_encoder_of_every_family_is_watched(tiny_pipe, name):
    pipe, cache = tiny_pipe(name), EncodingCache()
    prompt = parse_prompt("a red [horse:early], [snow:late]")

    def forwards() -> tuple[int, ...]:
        return compile_prompts(adapter_for(pipe), [prompt], None, SCHEDULE, cache=cache).bank.forwards

    encoders = adapter_for(pipe).encoders
    assert forwards() == (1,) * len(encoders)
    for changed, encoder in enumerate(encoders):
        norm = next(weight for key, weight in encoder.module.named_parameters() if "norm" in key)
        norm.data[0] += 1
        assert forwards() == tuple(int(at == changed) for at in range(len(encoders)))
        assert forwards() == (0,) * len(encoders)


def test_prepare_with_the_shared_cache_follows_a_lora(tiny_pipe, loras):
    """The way users meet it: no cache named, the adapter changed between two calls and a third."""
    pipe, text = tiny_pipe("sd1"), "a red [horse:early], [snow:late:1.5]"
    plain = dfprompt.prepare(pipe, text, num_inference_steps=2)["prompt_embeds"]
    pipe.load_lora_weights(loras[0], adapter_name="first")
    loaded = dfprompt.prepare(pipe, text, num_inference_steps=2)["prompt_embeds"]
    pipe.disable_lora()
    disabled = dfprompt.prepare(pipe, text, num_inference_steps=2)["prompt_embeds"]
    assert (loaded - plain).abs().max() > 0.01
    torch.testing.assert_close(disabled, plain, atol=1e-6, rtol=0)


def test_fusing_changes_weights_without_any_version_counter(tiny_pipe, loras):
    """peft adds to `weight.data`: same object, same memory, same version, other numbers."""
    watched = Watched(pipe := tiny_pipe("sd1"))
    pipe.load_lora_weights(loras[0], adapter_name="first")
    watched.check("load")
    weight = pipe.text_encoder.encoder.layers[0].self_attn.q_proj.base_layer.weight
    version, place = weight._version, weight.data_ptr()
    pipe.fuse_lora(components=["text_encoder"], lora_scale=0.5)
    watched.check("fuse")
    pipe.unload_lora_weights()  # leaves the fused numbers in the plain layer
    assert (weight._version, weight.data_ptr()) == (version, place)
    watched.check("unload a fused one", changed=False)


def test_training_the_encoder_in_place(tiny_pipe):
    watched = Watched(pipe := tiny_pipe("sd1"))
    with torch.no_grad():
        pipe.text_encoder.final_layer_norm.bias.add_(0.1)
    watched.check("an in-place update")
    pipe.text_encoder.get_input_embeddings().weight.data[pipe.tokenizer("red").input_ids[1]] += 0.5
    watched.check("one row of one matrix")
    rows = pipe.tokenizer("red horse").input_ids[1:3]
    table = pipe.text_encoder.get_input_embeddings().weight.data
    table[rows] = table[rows[::-1]]
    watched.check("two rows exchanged, the sum of all weights unchanged")


def test_textual_inversions_loaded_replaced_and_unloaded(tiny_pipe):
    watched = Watched(pipe := tiny_pipe("sd1"))
    plain = watched.seen
    pipe.load_textual_inversion(torch.full((32,), 0.7), token="<cat>")
    watched.check("load")
    pipe.unload_textual_inversion("<cat>")
    watched.check("unload")
    assert torch.equal(watched.seen, plain)
    pipe.load_textual_inversion(torch.linspace(-1, 1, 64).reshape(2, 32), token="<cat>")
    watched.check("another one of two vectors under the same name")


@pytest.mark.parametrize("options", [{"clip_skip": 1}, {"lora_scale": 0.25}])
def test_options_that_reach_the_encoder_are_part_of_the_key(tiny_pipe, loras, options):
    pipe, cache = tiny_pipe("sd1"), EncodingCache()
    pipe.load_lora_weights(loras[0], adapter_name="first")
    plain = embeds(encode(pipe, cache))
    changed = embeds(encode(pipe, cache, **options))
    assert torch.equal(changed, embeds(encode(pipe, EncodingCache(), **options)))
    assert not torch.equal(changed, plain)
    assert torch.equal(plain, embeds(encode(pipe, cache)))


def test_the_lora_scale_is_the_pipelines_own(tiny_pipe, loras):
    """`lora_scale` does to our encoding what a `scale` in the attention kwargs does to the stock one."""
    pipe = tiny_pipe("sd1")
    pipe.load_lora_weights(loras[0], adapter_name="first")
    stock, _ = pipe.encode_prompt("a cat in the snow", "cpu", 1, True, lora_scale=0.25)
    prompt = parse_prompt("a cat [in the snow:0.5->0.25] in the snow")
    compiled = compile_prompts(
        adapter_for(pipe), [prompt], None, SCHEDULE, Options(lora_scale=0.25), cache=EncodingCache()
    )
    torch.testing.assert_close(compiled.at(0)["prompt_embeds"], stock.detach(), atol=1e-5, rtol=0)


def test_another_dtype_and_another_pipeline_share_nothing(tiny_pipe):
    cache = EncodingCache()
    encode(tiny_pipe("sd1"), cache)
    half = tiny_pipe("sd1").to(torch.bfloat16)
    assert encode(half, cache).bank.forwards == (1,)
    assert encode(half, cache).at(0)["prompt_embeds"].dtype == torch.bfloat16


def test_identical_weights_in_another_module_are_not_confused_after_the_first_is_gone(tiny_pipe):
    """`id` is handed out again once an object is freed; the key must not be."""
    keys = {fingerprint_module(torch.nn.Linear(2, 2)) for _ in range(20)}
    assert len(keys) == 20


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloaded_encoders_are_cached_and_never_stale(tiny_pipe, offload):
    """Offloading moves parameters about; their content, not their place, is the key."""
    pipe, cache = tiny_pipe("sd1"), EncodingCache()
    truth = embeds(encode(pipe, EncodingCache()))
    for component in (pipe.text_encoder, pipe.unet, pipe.vae):
        if offload == "model":
            accelerate.cpu_offload_with_hook(component, execution_device="cpu")
        else:
            accelerate.cpu_offload(component, execution_device="cpu")
    on_meta = [parameter.is_meta for parameter in pipe.text_encoder.parameters()]
    assert all(on_meta) if offload == "sequential" else not any(on_meta)
    assert torch.equal(embeds(encode(pipe, cache)), truth)
    assert encode(pipe, cache).bank.forwards == (0,)
    change_offloaded(pipe.text_encoder, lambda weight: weight.add_(0.3))
    assert encode(pipe, cache).bank.forwards == (1,)
    assert not torch.equal(embeds(encode(pipe, cache)), truth)


def change_offloaded(module: torch.nn.Module, change: Callable[[torch.Tensor], Any]) -> None:
    norm = module.final_layer_norm
    stored = norm.bias.data if not norm.bias.is_meta else norm._hf_hook.weights_map["bias"]
    change(stored)
