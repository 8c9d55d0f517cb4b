"""LoRAs as words: the strength of each step as set by hand, and everything as before afterwards."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

import dfprompt
import tiny_transformers
from dfprompt.conditioning.generic.listening import find_denoisers
from dfprompt.errors import ConfigError, LoadError, UnsupportedPipelineError
from dfprompt.pipeline.image_pipeline import ImagePipeline
from runs import draw, generators, length_arguments
from tiny_loras import write_lora

pytestmark = pytest.mark.few("sd1")

STEPS = 4
NAMES = ("sd1", "flux", "chroma")  # adapters of their own: with and without a hook; and by listening


def _interrupt(*_: Any) -> dict[str, Any]:
    raise KeyboardInterrupt


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def build(tiny_pipe: Any, name: str) -> Any:
    return tiny_transformers.build(name) if name == "chroma" else tiny_pipe(name)


def arguments(name: str) -> dict[str, Any]:
    known = tiny_transformers.CALLS if name == "chroma" else {name: {"height": 16, "width": 16}}
    return {"num_inference_steps": STEPS, **known[name], **length_arguments(name)}


def run(pipe: Any, name: str, prompt: Any, *seeds: int, **more: Any) -> torch.Tensor:
    made = generators(*(seeds or (0,)))
    call = {**arguments(name), **more}
    images: torch.Tensor = dfprompt.run(pipe, prompt, generator=made, output_type="pt", **call).images
    return images


def by_hand(pipe: Any, name: str, text: str, strengths: list[float]) -> torch.Tensor:
    """The stock call with a callback that sets the strength of the coming step."""

    def after(own: Any, index: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
        own.set_adapters("fur", strengths[min(index + 1, STEPS - 1)])
        return {}

    pipe.set_adapters("fur", strengths[0])
    output = pipe(
        [text], generator=generators(0), output_type="pt", callback_on_step_end=after, **arguments(name)
    )
    return torch.as_tensor(output.images)


@pytest.mark.parametrize(
    ("words", "strengths"),
    [
        ("[<lora:fur:0.8>:late]", [0, 0, 0.8, 0.8]),
        ("<lora:fur:0.5>", [0.5] * 4),
        ("[<lora:fur:1>:1->0:0.4->1]", [0.4, 0.6, 0.8, 1.0]),
        ("[<lora:fur:0.8>:early][<lora:fur:-0.3>:0.75->0]", [0.8, 0.5, -0.3, -0.3]),
    ],
)
def test_each_step_has_the_strength_that_words_say(tiny_pipe, tmp_path, name, words, strengths):
    pipe = build(tiny_pipe, name)
    file = write_lora(pipe, tmp_path)
    found = run(pipe, name, f"a red house{words}", loras={"fur": file})
    pipe.load_lora_weights(str(tmp_path), adapter_name="fur")
    expected = by_hand(pipe, name, "a red house", strengths)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    pipe.set_adapters("fur", 0.0)
    plain = run(pipe, name, "a red house")
    assert (found - plain).abs().max() > 1e-4


def test_everything_is_as_before(tiny_pipe, tmp_path, name):
    pipe = build(tiny_pipe, name)
    file = write_lora(pipe, tmp_path)
    stock = run(pipe, name, "a red house")
    run(pipe, name, "a red house[<lora:fur:0.8>:late]", loras={"fur": file})
    assert torch.equal(run(pipe, name, "a red house"), stock)
    assert not any(pipe.get_list_adapters().values())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        pipe.load_lora_weights(str(tmp_path), adapter_name="mine")
        pipe.load_lora_weights(str(tmp_path), adapter_name="fur")
    pipe.set_adapters(["mine"], [0.7])
    before = run(pipe, name, "a red house")
    changed = run(pipe, name, "a red house[<lora:fur:0.8>:late]")  # loaded by the user, under its name
    assert (changed - before).abs().max() > 1e-4
    with pytest.raises(RuntimeError, match="stopped"):
        run(pipe, name, "a red house[<lora:fur:0.8>:full]", callback_on_step_end=_stop)
    assert pipe.get_active_adapters() == ["mine"]
    assert torch.equal(run(pipe, name, "a red house"), before)


def models(pipe: Any) -> dict[str, Any]:
    """All that a loader may change in a pipeline's models: their trees, their weights, what is trained."""
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    return {
        name: (
            [(path, id(module)) for path, module in part.named_modules()],
            [(path, id(each), each.requires_grad) for path, each in part.named_parameters()],
            {path: values.clone() for path, values in part.state_dict().items()},
            dict(getattr(part, "peft_config", None) or {}),
            vars(part).get("_hf_peft_config_loaded", False),
        )
        for name, part in parts.items()
    }


def check_untouched(pipe: Any, before: dict[str, Any]) -> None:
    for name, (modules, parameters, weights, *notes) in models(pipe).items():
        assert [modules, parameters, notes] == [*before[name][:2], list(before[name][3:])]
        assert all(torch.equal(values, before[name][2][path]) for path, values in weights.items())


@pytest.mark.parametrize("callback", [None, _interrupt], ids=["whole", "interrupted"])
@pytest.mark.parametrize("own", [False, True], ids=["bare", "with-an-adapter"])
def test_the_models_are_as_before_and_saved_as_ever(tiny_pipe, tmp_path, name, own, callback):
    file = write_lora(build(tiny_pipe, name), tmp_path, encoder=name == "sd1")
    pipe = build(tiny_pipe, name)
    denoiser = find_denoisers(pipe)[0]
    if own:
        denoiser.add_adapter(LoraConfig(r=2, target_modules=["to_k", "to_v"]), adapter_name="mine")
    before, stock = models(pipe), run(pipe, name, "a red house")
    with pytest.raises(KeyboardInterrupt) if callback else contextlib.nullcontext():
        run(
            pipe,
            name,
            "a red house[<lora:fur:0.8>:late]",
            loras={"fur": file},
            callback_on_step_end=callback,
        )
    check_untouched(pipe, before)
    if not own:  # diffusers saves no models that have adapters
        pipe.save_pretrained(tmp_path / "saved")
        again = type(pipe).from_pretrained(tmp_path / "saved", local_files_only=True)
        assert torch.equal(run(again, name, "a red house"), stock)


def test_a_file_that_does_not_fit_leaves_the_models_as_before(tiny_pipe, tmp_path):
    file = write_lora(tiny_pipe("sd1"), tmp_path, encoder=True)
    weights = load_file(file)
    last = [key for key in weights if key.startswith("text_encoder") and key.endswith("lora_A.weight")][-1]
    save_file({**weights, last: torch.zeros(2, 999)}, tmp_path / "wide.safetensors")  # the UNet's part fits
    pipe = tiny_pipe("sd1")
    before = models(pipe)
    with pytest.raises(LoadError, match="does not fit"):
        run(pipe, "sd1", "a red house<lora:fur:1>", loras={"fur": tmp_path / "wide.safetensors"})
    check_untouched(pipe, before)


def test_a_file_that_changes_the_models_own_weights_is_refused(tiny_pipe, tmp_path):
    weights = load_file(write_lora(tiny_pipe("flux"), tmp_path))
    pipe = tiny_pipe("flux")
    norm, embedder = "transformer_blocks.0.attn.norm_q.weight", pipe.transformer.x_embedder
    more = {
        "norms": {f"transformer.{norm}": 3 * pipe.transformer.get_parameter(norm).detach()},
        "channels": {
            "transformer.x_embedder.lora_A.weight": torch.ones(2, 2 * embedder.in_features),
            "transformer.x_embedder.lora_B.weight": torch.ones(embedder.out_features, 2),
        },
    }
    before = models(pipe)
    for kind, further in more.items():
        save_file({**weights, **further}, tmp_path / f"{kind}.safetensors")
        with pytest.raises(LoadError, match="as control LoRAs do"):
            run(pipe, "flux", "a house<lora:fur:1>", loras={"fur": tmp_path / f"{kind}.safetensors"})
        check_untouched(pipe, before)


def test_a_fused_adapter_of_the_users_is_never_taken_out(tiny_pipe, tmp_path):
    pipe = tiny_pipe("sd1")
    file = write_lora(pipe, tmp_path)
    pipe.load_lora_weights(str(tmp_path), adapter_name="mine")
    pipe.fuse_lora(adapter_names=["mine"])
    before = models(pipe)
    with pytest.raises(UnsupportedPipelineError, match="was fused"):
        run(pipe, "sd1", "a house<lora:fur:1>", loras={"fur": file})
    check_untouched(pipe, before)


def _stop(*_: Any) -> dict[str, Any]:
    raise RuntimeError("stopped")


def test_rows_that_differ_are_refused_and_drawn_apart_by_generate(tiny_pipe, tmp_path):
    pipe = tiny_pipe("sd1")
    file = write_lora(pipe, tmp_path)
    prompts = ["a red house[<lora:fur:0.8>:late]", "a dog", "a cat[<lora:fur:0.8>:late]"]
    with pytest.raises(UnsupportedPipelineError, match="rows 1 and 2"):
        run(pipe, "sd1", prompts, 0, 1, 2, loras={"fur": file})
    alike = run(pipe, "sd1", [prompts[0], prompts[2]], 0, 2, loras={"fur": file})
    pipe.load_lora_weights(str(tmp_path), adapter_name="fur")
    pipe.set_adapters("fur", 0.0)
    drawn = ImagePipeline(pipe).generate(prompts, seeds=[0, 1, 2], num_inference_steps=STEPS)
    for row, prompt in enumerate(prompts):
        alone = ImagePipeline(pipe).generate([prompt], seeds=[row], num_inference_steps=STEPS)
        torch.testing.assert_close(drawn[row], alone[0], atol=2e-5, rtol=0)
    assert (alike[0] - alike[1]).abs().max() > 1e-4


def test_words_act_in_the_denoiser_and_not_in_the_text_encoder(tiny_pipe, tmp_path):
    pipe = tiny_pipe("sd1")
    both, alone = (write_lora(pipe, tmp_path / str(encoder), encoder=encoder) for encoder in (True, False))
    prompt = "a red house[<lora:fur:0.8>:late]"
    expected = run(pipe, "sd1", prompt, loras={"fur": alone})
    torch.testing.assert_close(run(pipe, "sd1", prompt, loras={"fur": both}), expected, atol=2e-5, rtol=0)


def test_what_cannot_be_is_said(tiny_pipe, tmp_path):
    pipe = tiny_pipe("sd1")
    file = write_lora(pipe, tmp_path)
    with pytest.warns(dfprompt.DFPromptWarning, match="left out"):
        run(pipe, "sd1", "a red house[<lora:other:0.8>:late]", loras={"fur": file})
    with pytest.raises(UnsupportedPipelineError, match="negative prompt names the LoRA fur"):
        run(pipe, "sd1", "a house", negative_prompt="<lora:fur:1>", loras={"fur": file})
    with pytest.raises(ConfigError, match="not one number"):
        run(pipe, "sd1", "a house<lora:fur:te=1>", loras={"fur": file})
    with pytest.raises(LoadError, match=r"no \.safetensors file"):
        run(pipe, "sd1", "a house<lora:fur:1>", loras={"fur": tmp_path / "absent.safetensors"})
    pipe.load_lora_weights(str(tmp_path), adapter_name="fur")
    with pytest.raises(ConfigError, match="loaded already"):
        run(pipe, "sd1", "a house<lora:fur:1>", loras={"fur": file})
    with pytest.raises(UnsupportedPipelineError, match=r"dfprompt\.run"):
        dfprompt.prepare(pipe, "a house[<lora:fur:1>:late]", num_inference_steps=STEPS)
    pipe.fuse_lora(adapter_names=["fur"])
    with pytest.raises(UnsupportedPipelineError, match="fused"):
        run(pipe, "sd1", "a house<lora:fur:1>")


def test_the_command_line_names_a_file(tiny_pipe, tmp_path):
    from dfprompt.pipeline.add_ons import add_loras, read_lora

    pipe = tiny_pipe("sd1")
    file = write_lora(pipe, tmp_path)
    call = {"prompt": ["a red house"], "num_inference_steps": STEPS}
    stock = draw(pipe, "sd1", call, (0,))
    add_loras(pipe, [read_lora(f"fur={file}")])
    assert torch.equal(draw(pipe, "sd1", call, (0,)), stock)  # silent until words name it
    assert (run(pipe, "sd1", "a red house[<lora:fur:0.8>:late]") - stock).abs().max() > 1e-4
