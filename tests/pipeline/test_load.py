"""Loading pipelines: what loads draws as the stock pipeline does, what does not is one clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

import tiny_pipelines
from dfprompt.errors import ConfigError, DFPromptError, DFPromptWarning, LoadError, UnsupportedPipelineError
from dfprompt.pipeline.hub import choose_files
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.pipeline.load import load_pipeline_from
from dfprompt.sources import pick_device
from runs import SIZE, draw, length_arguments
from tiny_single_file import write_single_file

INDEX = "model_index.json"
UNET = "unet/diffusion_pytorch_model.safetensors"
SMALL: dict[str, Any] = {"num_inference_steps": 2, "height": SIZE, "width": SIZE}
Folder = Callable[[str], Path]


@pytest.fixture
def copy(tiny_folder: Folder, tmp_path: Path) -> Path:
    """A Stable Diffusion folder of the test's own, to be damaged."""
    return Path(shutil.copytree(tiny_folder("sd1"), tmp_path / "model"))


def load(source: str | Path, **asked: Any) -> ImagePipeline:
    return load_pipeline_from(source, device="cpu", **asked)


def draw_one(pipeline: ImagePipeline) -> torch.Tensor:
    return pipeline.generate("a red house", 5, **SMALL)


def edit_json(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, **changes}), encoding="utf-8")


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


# ---- folders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("sd1", "stable-diffusion"),
        ("sdxl", "sdxl"),
        ("sd3", "sd3"),
        ("sd3-without-t5", "sd3"),
        ("flux", "flux"),
        ("qwen-image", "qwen-image"),
    ],
)
def test_a_folder_of_every_family_draws_as_the_stock_loader_does(
    tiny_folder: Folder, name: str, family: str
) -> None:
    pipeline = load(tiny_folder(name))
    assert (pipeline.family, pipeline.name, pipeline.dtype) == (family, name, torch.float32)
    assert pipeline.mark.family == family
    assert len(pipeline.mark.hash or "") == 10
    ours = pipeline.generate("a red house", 5, **SMALL, **length_arguments(name))
    inputs = {"prompt": ["a red house"], "num_inference_steps": 2, **length_arguments(name)}
    assert torch.equal(ours, draw(tiny_pipelines.load(tiny_folder(name)), name, inputs, (5,)))


def test_dtype_device_and_offload(tiny_folder: Folder) -> None:
    assert load(tiny_folder("sd1"), dtype="bfloat16").dtype == torch.bfloat16
    assert load(tiny_folder("sd1"), dtype=torch.float16).dtype == torch.float16
    with pytest.raises(ConfigError, match=r"no dtype .int8."):
        load(tiny_folder("sd1"), dtype="int8")
    with pytest.raises(ConfigError, match=r"no offload .modell.*model"):
        load(tiny_folder("sd1"), offload="modell")
    with pytest.raises(ConfigError, match="runs on the CPU; use offload=none"):
        load(tiny_folder("sd1"), offload="model")
    with pytest.raises(ConfigError, match=r"no device .abacus.*cuda"):
        load_pipeline_from(tiny_folder("sd1"), device="abacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(tiny_folder: Folder) -> None:
    with pytest.raises(ConfigError, match=r"cuda.*is not there.*use auto or cpu"):
        load_pipeline_from(tiny_folder("sd1"), device="cuda")


@pytest.mark.parametrize("device", ["cuda:99", "xpu", "hpu", "meta", "cpu:3"])
def test_devices_that_are_not_there_are_known_before_anything_is_loaded(device: str) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        pick_device(device)


def test_defaults_beside_the_weights_are_read(copy: Path) -> None:
    values = {"name": "mine", "num_inference_steps": 3, "scheduler": "euler", "dtype": "bfloat16"}
    (copy / "dfprompt.json").write_text(json.dumps(values), encoding="utf-8")
    pipeline = load(copy)
    settings = pipeline.read("a cat", 1).settings
    assert (settings.num_inference_steps, settings.scheduler) == (3, "euler")
    assert (pipeline.name, pipeline.dtype) == ("mine", torch.bfloat16)
    assert load(copy, dtype="float32").dtype == torch.float32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "dfprompt.json cannot be read as JSON"),
        ("[]", "dfprompt.json holds no JSON object"),
        ('{"steps": 3}', r"(?s)dfprompt\.json.*steps"),
        ('{"num_inference_steps": "many"}', r"(?s)dfprompt\.json.*num_inference_steps"),
        ('{"guidance_scale": NaN}', r"(?s)dfprompt\.json.*guidance_scale"),
        ("[" * 200_000, "dfprompt.json cannot be read as JSON"),
    ],
    ids=lambda text: text[:30],
)
def test_damaged_defaults_name_their_file(copy: Path, text: str, message: str) -> None:
    (copy / "dfprompt.json").write_text(text, encoding="utf-8")
    with pytest.raises(LoadError, match=message):
        load(copy)


def test_a_folder_may_have_any_name(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that elsewhere means a family or a class."""
    monkeypatch.chdir(tmp_path)
    for name in ("flux", "OldPipeline", "my model: v1.5"):
        shutil.copytree(tiny_folder("sd1"), tmp_path / name)
        assert load(name).family == "stable-diffusion"
        (tmp_path / name / INDEX).unlink()
        with pytest.raises(LoadError, match=r"model_index.json does not exist"):
            load(name)


def test_a_variant_alone_is_found(copy: Path) -> None:
    for path in copy.glob("*/*.safetensors"):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    assert load(copy).family == "stable-diffusion"


def test_a_pickle_beside_its_safetensors_twin_is_left_alone(copy: Path) -> None:
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"not even a pickle")
    assert load(copy).family == "stable-diffusion"


# ---- folders that are not as they should be --------------------------------------------------------------


def drop(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def truncate(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: cut(folder / name, size)


def write(name: str, text: str | bytes) -> Callable[[Path], None]:
    data = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / name).write_bytes(data) and None


def index(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / INDEX, **changes)


def config(part: str, **changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / part / "config.json", **changes)


def header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


def pickled(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet" / "diffusion_pytorch_model.bin")


def lose_a_shard(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet" / "diffusion_pytorch_model-00001-of-00002.safetensors")
    shards = {"a": "diffusion_pytorch_model-00002-of-00002.safetensors"}
    path = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": shards}), encoding="utf-8")


def lose_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / UNET)
    tensors.pop("conv_out.weight")
    save_file(tensors, folder / UNET)


def lose_a_tensor_of_the_encoder(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if "token_embedding" in name)
    tensors.pop(name)
    save_file(tensors, path, {"format": "pt"})


def empty_tokenizer(folder: Path) -> None:
    for path in (folder / "tokenizer").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(drop(INDEX), "model_index.json does not exist; pass the folder", id="no index"),
        pytest.param(write(INDEX, "{"), "model_index.json cannot be read as JSON", id="cut index"),
        pytest.param(write(INDEX, "[]"), "model_index.json names no _class_name", id="strange index"),
        pytest.param(write(INDEX, "[" * 200_000), "model_index.json cannot be read", id="deep index"),
        pytest.param(write(INDEX, b"\xff\xfe"), "model_index.json cannot be read", id="binary index"),
        pytest.param(drop("unet"), "unet is missing; .*model_index.json asks for it", id="no denoiser"),
        pytest.param(drop("tokenizer"), "tokenizer is missing", id="no tokenizer folder"),
        pytest.param(
            empty_tokenizer, "tokenizer holds no vocabulary .*tokenizer.json", id="empty tokenizer folder"
        ),
        pytest.param(drop("scheduler"), "scheduler is missing", id="no scheduler"),
        pytest.param(drop(UNET), "unet holds no .safetensors weights", id="no weights"),
        pytest.param(drop("unet/config.json"), "unet", id="no configuration"),
        pytest.param(write("unet/config.json", "{"), "unet", id="cut configuration"),
        pytest.param(write("unet/config.json", '{"sample_size": 8}'), "conv_in", id="other configuration"),
        pytest.param(config("unet", sample_size=[]), "sample_size in .* unet must be", id="no size"),
        pytest.param(config("vae", scaling_factor={}), "scaling_factor in .* vae must be", id="no scale"),
        pytest.param(
            config("unet", downsample_padding={}), "downsample_padding in .* unet must be", id="an object"
        ),
        pytest.param(config("vae", up_block_types={}), "up_block_types in .* vae must be", id="no list"),
        pytest.param(config("vae", latents_mean="x"), "latents_mean in .* vae must be a list", id="no mean"),
        pytest.param(drop("scheduler/scheduler_config.json"), "scheduler", id="no scheduler configuration"),
        pytest.param(truncate(UNET, 0), "unet.*no safetensors file, or was cut off", id="empty weights"),
        pytest.param(truncate(UNET, 5), "unet.*no safetensors file, or was cut off", id="5 bytes"),
        pytest.param(truncate(UNET, 100), "unet.*cut off; download it again", id="cut in the header"),
        pytest.param(truncate(UNET, 100_000), "unet.*was cut off at 100,000 of", id="cut in the data"),
        pytest.param(write(UNET, header("{]")), "unet.*header is not JSON", id="no JSON"),
        pytest.param(write(UNET, header("[1, 2]")), "unet.*no safetensors file", id="no object"),
        pytest.param(write(UNET, header('{"a": 1}')), "unet.*header names no offsets", id="no offsets"),
        pytest.param(
            write(UNET, header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["x", 4]}}')),
            "unet.*is damaged; its header names shapes or places",
            id="an offset that is no number",
        ),
        pytest.param(write(UNET, b"<!DOCTYPE html>" * 9), "unet.*no safetensors file", id="a web page"),
        pytest.param(lose_a_tensor, "lacks weights: unet: conv_out.weight; download", id="a tensor less"),
        pytest.param(
            lose_a_tensor_of_the_encoder,
            "text_encoder lacks weights: .*token_embedding",
            id="a tensor less in the encoder",
        ),
        pytest.param(lose_a_shard, "00002-of-00002.safetensors is missing", id="no shard"),
        pytest.param(pickled, r"bin is a pickle, which can run any code.*safetensors", id="a pickle"),
        pytest.param(index(tokenizer=[None, None]), "tokenizer", id="index without tokenizer"),
        pytest.param(index(text_encoder=[None, None]), "text_encoder", id="index without encoder"),
        pytest.param(index(vae=[None, None]), "vae", id="index without VAE"),
        pytest.param(index(unet=["my_code", "Net"]), "asks for code of its own .*my_code", id="own code"),
        pytest.param(index(unet=["os", "system"]), "asks for code of its own", id="a module of Python's"),
        pytest.param(index(unet=["diffusers", "NoSuchNet"]), "NoSuchNet", id="unknown part"),
        pytest.param(
            index(**{"../unet": ["diffusers", "X"]}), "no folder's name|missing", id="path in index"
        ),
        pytest.param(index(_class_name="Custom"), '"Custom" belongs to no family', id="unknown class"),
        pytest.param(index(_class_name=7), "names no _class_name", id="no class"),
        pytest.param(index(_class_name="DDPMPipeline"), '"DDPMPipeline" belongs to no', id="wrong kind"),
        pytest.param(index(_class_name="StableDiffusion3Pipeline"), "transformer|cannot", id="other family"),
        pytest.param(
            index(_class_name="StableDiffusionImg2ImgPipeline"), "starts from a picture", id="img2img"
        ),
    ],
)
def test_a_damaged_folder_is_one_clear_error(
    copy: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(copy)
    with pytest.raises((LoadError, UnsupportedPipelineError), match=message) as raised:
        load(copy)
    assert len(str(raised.value).splitlines()) == 1


def test_a_pipeline_that_lost_its_tokenizer_in_memory_is_refused(tiny_pipe: Callable[[str], Any]) -> None:
    pipe = tiny_pipe("sd1")
    pipe.tokenizer = None
    with pytest.raises(UnsupportedPipelineError, match="no tokenizer"):
        ImagePipeline(pipe)


def test_a_pipeline_of_no_known_family_is_refused() -> None:
    from diffusers import DDIMScheduler, DDPMPipeline, UNet2DModel

    net = UNet2DModel(
        sample_size=8,
        block_out_channels=(4, 4),
        norm_num_groups=2,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        attention_head_dim=4,
    )
    message = "DDPMPipeline takes no prompt, so there are no words to steer"
    with pytest.raises(UnsupportedPipelineError, match=message):
        ImagePipeline(DDPMPipeline(net, DDIMScheduler()))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere/at/all", "neither a folder, nor a file, nor a hub id"),
        ("model.safetensors", "neither a folder, nor a file"),
        ("hub:nobody/nothing", "not on this machine and cannot be downloaded now.*check the name"),
        ("v1-5-pruned.ckpt", "ckpt is a pickle, which can run any code when it is read; use .*safetensors"),
        ("models/old.CKPT", "is a pickle"),
        ("owner/weights.bin", "is a pickle"),
    ],
)
def test_a_source_that_is_not_there_or_never_read(source: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load(source)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    for name, message in {
        "a.ckpt": "is a pickle",
        "a.txt": "neither a .safetensors nor a .gguf file",
        "a.onnx": "only those",
    }.items():
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(LoadError, match=message):
            load(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoadError, match=r"model_index.json does not exist"):
        load(tmp_path / "empty")


# ---- single files ----------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tiny_folder: Folder, tmp_path: Path) -> Path:
    return write_single_file(tiny_folder("sd1"), tmp_path / "tiny-v1.safetensors")


def test_a_single_file_with_its_configuration_draws_as_its_folder(
    tiny_folder: Folder, checkpoint: Path
) -> None:
    pipeline = load(checkpoint, config=tiny_folder("sd1"))
    assert pipeline.name == "tiny-v1"
    assert torch.equal(draw_one(pipeline), draw_one(load(tiny_folder("sd1"))))


def test_a_configuration_needs_no_weights_of_its_own(copy: Path, checkpoint: Path) -> None:
    for path in copy.glob("*/*.safetensors"):
        path.unlink()
    assert draw_one(load(checkpoint, config=copy)).shape == (1, 3, SIZE, SIZE)


def test_a_single_file_offline_says_which_configuration_to_pass(checkpoint: Path) -> None:
    with pytest.raises(
        LoadError, match=r"configuration of its base model \(\S+/\S+\).*--config FOLDER.*download"
    ):
        load(checkpoint)


def test_single_files_that_do_not_fit(
    tiny_folder: Folder, copy: Path, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match=r"model_index.json does not exist|neither a folder"):
        load(checkpoint, config=tmp_path / "nowhere")
    with pytest.raises(LoadError, match="cannot be loaded with the configuration"):
        load(checkpoint, config=tiny_folder("sdxl"))
    with pytest.raises(ConfigError, match="a folder brings its own"):
        load(copy, config=copy)
    cut(checkpoint, 50_000)
    with pytest.raises(LoadError, match=r"tiny-v1.safetensors was cut off at 50,000 of"):
        load(checkpoint, config=copy)


@pytest.mark.parametrize(
    "prefix", ["model.diffusion_model.out.", "cond_stage_model.", "first_stage_model.decoder.mid"]
)
def test_a_single_file_that_lacks_weights_is_refused(copy: Path, checkpoint: Path, prefix: str) -> None:
    for path in copy.glob("*/*.safetensors"):
        path.unlink()
    tensors = {name: each for name, each in load_file(checkpoint).items() if not name.startswith(prefix)}
    save_file(tensors, checkpoint)
    with pytest.raises(LoadError, match=r"tiny-v1\.safetensors (cannot be loaded.*missing|lacks weights)"):
        load(checkpoint, config=copy)


def test_parts_a_single_file_lacks_are_never_read_from_a_pickle(copy: Path, checkpoint: Path) -> None:
    pickled(copy)
    with pytest.raises(LoadError, match="is a pickle"):
        load(checkpoint, config=copy)


# ---- the hub's cache -------------------------------------------------------------------------------------


def test_a_hub_id_is_found_in_the_cache_without_a_network(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stored = tmp_path / "models--me--tiny"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text("0123abcd", encoding="utf-8")
    shutil.copytree(tiny_folder("sd1"), stored / "snapshots" / "0123abcd")
    with pytest.warns(DFPromptWarning, match="write hub:me/tiny"):
        assert load("me/tiny").name == "me/tiny"
    pipeline = load("hub:me/tiny")
    assert pipeline.name == "me/tiny"
    (stored / "snapshots" / "0123abcd" / UNET).unlink()  # as an interrupted download leaves it
    with pytest.raises(LoadError, match="not on this machine"):
        load("hub:me/tiny")


def test_only_configurations_and_plain_safetensors_are_fetched() -> None:
    names = [
        "README.md",
        "model_index.json",
        "dfprompt.json",
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors",
        "text_encoder/model.safetensors.index.json",
        "text_encoder/flax_model.msgpack",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer_2/spiece.model",
        "deep/er/config.json",
    ]
    assert choose_files(names) == (
        "dfprompt.json",
        "model_index.json",
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors",
        "text_encoder/model.safetensors.index.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "tokenizer_2/spiece.model",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    )


# ---- LoRAs and VAEs --------------------------------------------------------------------------------------


@pytest.fixture
def lora(tiny_pipe: Callable[[str], Any], tmp_path: Path) -> Path:
    """A LoRA for the denoiser in the format users download, its effect not zero."""
    pipe = tiny_pipe("sd1")
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["to_q", "to_v"], init_lora_weights=False)
    pipe.unet.add_adapter(config)
    pipe.save_lora_weights(tmp_path / "loras", unet_lora_layers=get_peft_model_state_dict(pipe.unet))
    return (tmp_path / "loras" / "pytorch_lora_weights.safetensors").rename(tmp_path / "style.safetensors")


def test_loras_act_as_strongly_as_asked_and_enter_the_recipe(tiny_folder: Folder, lora: Path) -> None:
    folder = tiny_folder("sd1")
    none, weak, strong = (
        draw_one(load(folder, loras=loras)) for loras in ([], [f"{lora}:0"], [(str(lora), 2)])
    )
    torch.testing.assert_close(weak, none, atol=1e-6, rtol=0)
    assert (strong - none).abs().max() > 1e-3
    pipeline = load(folder, loras=[f"{lora}:0.5", lora.parent])  # a folder with one file will do
    marks = pipeline.origin.loras
    assert [(mark.name, mark.scale) for mark in marks] == [("style", 0.5), ("style", 1.0)]
    assert all(len(mark.hash or "") == 10 for mark in marks)
    stock = tiny_pipelines.load(folder)
    stock.load_lora_weights(str(lora.parent), weight_name=lora.name, adapter_name="one")
    stock.set_adapters(["one"], [2.0])
    inputs = {"prompt": ["a red house"], "num_inference_steps": 2}
    assert torch.equal(strong, draw(stock, "sd1", inputs, (5,)))


def test_loras_that_cannot_be(tiny_folder: Folder, lora: Path, tmp_path: Path) -> None:
    folder, other = tiny_folder("sd1"), tmp_path / "other.safetensors"
    with pytest.raises(LoadError, match=r"gone.safetensors cannot be read: No such file"):
        load(folder, loras=["gone.safetensors:0.5"])
    with pytest.raises(LoadError, match=r"the LoRA .nobody/style. is not on this machine"):
        load(folder, loras=["hub:nobody/style"])
    with pytest.raises(ConfigError, match=r"no number behind the colon; write FILE:0\.8"):
        load(folder, loras=[f"{lora}:strong"])
    for scale in ("nan", "inf", "1e9"):
        with pytest.raises(ConfigError, match="use a scale between -100 and 100"):
            load(folder, loras=[f"{lora}:{scale}"])
    with pytest.raises(ConfigError, match="use a scale between -100 and 100"):
        load(folder, loras=[(str(lora), float("nan"))])
    with pytest.raises(LoadError, match="is a pickle"):
        load(folder, loras=["style.pt"])
    save_file({"something.else": torch.zeros(2)}, other)
    with pytest.raises(LoadError, match=r"the LoRA .*other.safetensors.* fit.*use one made for this model"):
        load(folder, loras=[str(other)])
    with pytest.raises(LoadError, match=r"holds 2 .safetensors files; name the LoRA's file"):
        load(folder, loras=[str(tmp_path)])
    with pytest.raises(LoadError, match=r"the LoRA .*style.safetensors.* fit"):
        load(tiny_folder("flux"), loras=[str(lora)])
    half = {name: values for name, values in load_file(lora).items() if "to_v.lora_B" not in name}
    save_file(half, tmp_path / "half.safetensors")
    with pytest.raises(LoadError, match=r"half.safetensors lacks some of its own weights"):
        load(folder, loras=[str(tmp_path / "half.safetensors")])
    cut(lora, 600)
    with pytest.raises(LoadError, match=r"style\.safetensors .*cut off"):
        load(folder, loras=[str(lora)])


def test_another_vae_from_a_folder_a_pipeline_or_a_file(
    tiny_folder: Folder, copy: Path, tmp_path: Path
) -> None:
    path = copy / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.1 for name, tensor in load_file(path).items()}, path)
    alone = Path(shutil.copy(path, tmp_path / "bright.safetensors"))
    own = draw_one(load(tiny_folder("sd1")))
    expected = draw_one(load(copy))
    assert (own - expected).abs().max() > 1e-3
    for source, name in ((copy, "model"), (copy / "vae", "vae"), (alone, "bright")):
        pipeline = load(tiny_folder("sd1"), vae=source)
        assert torch.equal(draw_one(pipeline), expected)
        assert pipeline.origin.vae is not None
        assert pipeline.origin.vae.name == name


def test_vaes_that_cannot_be(tiny_folder: Folder, copy: Path, tmp_path: Path) -> None:
    folder, file = tiny_folder("sd1"), copy / "vae" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(LoadError, match=r"the VAE .nowhere. is neither a folder nor"):
        load(folder, vae="nowhere")
    with pytest.raises(LoadError, match=r"holds no VAE: neither config\.json nor"):
        load(folder, vae=tmp_path)
    with pytest.raises(
        LoadError, match=r"the VAE .*sd3 has latents of 16 channels, and this model's have 4"
    ):  # channels of its latents
        load(folder, vae=tiny_folder("sd3"))
    with pytest.raises(LoadError, match=r"the VAE .*qwen-image.*does not fit"):
        load(folder, vae=tiny_folder("qwen-image"))
    save_file({"something.else": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(LoadError, match=r"other\.safetensors.*(no VAE|does not fit)"):
        load(folder, vae=tmp_path / "other.safetensors")
    (tmp_path / "vae.pt").write_bytes(b"x")
    with pytest.raises(LoadError, match="is a pickle"):
        load(folder, vae=tmp_path / "vae.pt")
    cut(file, 10_000)
    for source in (copy, file):
        with pytest.raises(LoadError, match="was cut off"):
            load(folder, vae=source)


def test_every_error_is_one_of_ours_with_exit_code_two() -> None:
    for kind in (LoadError, ConfigError, UnsupportedPipelineError):
        assert issubclass(kind, DFPromptError)
        assert kind.exit_code == 2
