"""Offline stand-ins for what diffusers' own tests fetch: tokenizers of words and characters, tiny encoders.

`pipelines(checkout)` yields every small random pipeline of those tests that can be built with them.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import tempfile
import unittest
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
import transformers.utils.logging
from diffusers.models.controlnets import controlnet_cosmos
from diffusers.models.transformers import transformer_cosmos
from PIL import Image
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

WORDS = (
    "a an the cat dog dogs red blue green snow hill on in of and with at forest night horse star boat house "
    "late early style film grain"
).split()
CHAT_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# What the makers of parts must be told, and inputs under which the stand-ins' templates leave room for text.
ASKED = {"adapter_type": "full_adapter"}
SLOW_TO_DECODE = ("SanaPipeline", "SanaPAGPipeline", "SanaControlNetPipeline", "SanaSprintPipeline")
# An autoencoder of many layers is slow; a mask of nothing leaves the picture as it was.
MENDED: dict[str, dict[str, Any]] = {
    "NucleusMoEImagePipeline": {"max_sequence_length": 512},
    "Flux2Pipeline": {"max_sequence_length": 256},
    "Cosmos2_5_PredictBasePipeline": {"max_sequence_length": 256},
    "Cosmos2_5_TransferPipeline": {"max_sequence_length": 256},
    "FluxControlInpaintPipeline": {"mask_image": Image.new("L", (8, 8), 255)},
    **{name: {"output_type": "latent"} for name in SLOW_TO_DECODE},
}
Maker = Callable[[], tuple[Any, dict[str, Any]]]


def chat_tokenizer(*, begins: bool = False) -> Any:
    """Words of the probes' prompts, punctuation and line ends; all else is unknown.

    With `begins` every text has a token before it, so that no text is without any.
    """
    letters = [*map(chr, range(33, 127))]
    pieces = [*CHAT_TOKENS, "<unk>", "\n", *letters, *[word for word in WORDS if len(word) > 1]]
    tokenizer = Tokenizer(
        models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>")
    )
    words = Regex(r"\n| {2,}|[A-Za-z0-9]+|[^\sA-Za-z0-9]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "removed", invert=True)])
    if begins:
        first = (CHAT_TOKENS[0], pieces.index(CHAT_TOKENS[0]))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first[0]} $A", special_tokens=[first]
        )
    ends = dict.fromkeys(("pad_token", "eos_token", "bos_token"), CHAT_TOKENS[0])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=list(CHAT_TOKENS),
        unk_token="<unk>",
        model_max_length=512,
        **ends,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def t5_tokenizer() -> Any:
    """Characters and a few words."""
    words = ["▁cat", "▁dog", "▁a", "▁of", "▁in"]
    pieces = ["<pad>", "</s>", "<unk>", "▁", *map(chr, range(33, 127)), *words]
    scored = [(piece, -1.0 - 0.001 * number) for number, piece in enumerate(pieces)]
    return transformers.T5Tokenizer(vocab=scored, extra_ids=0)


class ChatProcessor:
    """A chat processor that reads text only."""

    def __init__(self) -> None:
        self.tokenizer = chat_tokenizer()
        self.image_processor = None

    def __call__(self, text: Any = None, images: Any = None, **options: Any) -> Any:
        known = inspect.signature(transformers.PreTrainedTokenizerBase.__call__).parameters
        return self.tokenizer(text, **{name: value for name, value in options.items() if name in known})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tokenizer"], name)


def _stand_in_model(kind: Any, name: str) -> Any:
    torch.manual_seed(0)
    title = f"{name} {getattr(kind, '__name__', '')}".lower()
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    if "t5" in title:
        return _t5_kind(title)(_t5_config(title)).eval()
    if "gemma3" in title:
        sizes = {**small, "hidden_size": 32, "vocab_size": 1103, "num_key_value_heads": 2, "head_dim": 8}
        config = transformers.Gemma3Config(text_config=sizes, vision_config={**small, "num_hidden_layers": 1})
        return transformers.Gemma3ForConditionalGeneration(config).eval()
    if "chatglm" in title:
        return _chat_glm()
    if "gemma" in title:
        sizes = {**small, "hidden_size": 8, "num_hidden_layers": 1}
        config = transformers.Gemma2Config(vocab_size=1103, num_key_value_heads=2, head_dim=8, **sizes)
        return transformers.Gemma2Model(config).eval()
    if "llama" in title:
        config = transformers.LlamaConfig(vocab_size=1103, num_key_value_heads=2, **small)
        return transformers.LlamaForCausalLM(config).eval()
    if "bert" in name.lower().split("/")[-1] and "roberta" not in title:
        sizes = {**small, "hidden_size": 32, "intermediate_size": 37}
        return transformers.BertModel(transformers.BertConfig(vocab_size=1124, **sizes)).eval()
    raise OSError(f"no stand-in for {name}")


def _chat_glm() -> Any:
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel

    sizes = {"hidden_size": 8, "ffn_hidden_size": 16, "num_layers": 2, "num_attention_heads": 2}
    config = ChatGLMConfig(
        padded_vocab_size=1103,
        kv_channels=4,
        multi_query_group_num=1,
        seq_length=256,
        original_rope=True,
        **sizes,
    )
    encoder = ChatGLMModel(config).eval()
    for parameter in encoder.parameters():  # made of memory as it was found
        torch.nn.init.normal_(parameter, std=0.1)
    return encoder


def _t5_kind(title: str) -> Any:
    return transformers.UMT5EncoderModel if "umt5" in title else transformers.T5EncoderModel


def _t5_config(title: str) -> Any:
    kind = transformers.UMT5Config if "umt5" in title else transformers.T5Config
    return kind(vocab_size=1103, d_model=32, d_kv=8, d_ff=37, num_layers=5, num_heads=4, dropout_rate=0.0)


def _stand_in_config(name: str) -> Any:
    if "t5" in name.lower():
        return _t5_config(name.lower())
    return transformers.CLIPTextConfig(
        hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=5, vocab_size=1000
    )


class _Resizing:
    """What Cosmos' denoiser takes from torchvision.transforms."""

    class InterpolationMode:
        NEAREST = "nearest"

    class functional:
        @staticmethod
        def resize(image: torch.Tensor, size: list[int], interpolation: str) -> torch.Tensor:
            return torch.nn.functional.interpolate(image, size=size, mode=interpolation)


class PositionTokenizer:
    """ChatGLM's tokenizer says where each token stands, and pads in front."""

    def __init__(self) -> None:
        self.tokenizer = chat_tokenizer()
        self.tokenizer.padding_side = "left"

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        read = self.tokenizer(*arguments, **options)
        read["position_ids"] = (read["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        return read

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tokenizer"], name)


def use_stand_ins() -> None:
    """Let `from_pretrained` of transformers give stand-ins for everything that is not on this disk."""
    transformers.utils.logging.set_verbosity_error()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from tiny_pipelines import clip_tokenizer

    clip_folder = tempfile.mkdtemp()
    clip_tokenizer().save_pretrained(clip_folder)
    base = transformers.PreTrainedTokenizerBase
    load_tokenizer = base.from_pretrained.__func__
    load_model = transformers.PreTrainedModel.from_pretrained.__func__
    load_config = transformers.AutoConfig.from_pretrained

    def tokenizer(kind: Any, name: Any, *arguments: Any, **options: Any) -> Any:
        title = f"{name} {getattr(kind, '__name__', '')}".lower()
        if os.path.isdir(str(name)):
            return load_tokenizer(kind, name, *arguments, **options)
        if "clip" in title and "mclip" not in title:
            return load_tokenizer(transformers.CLIPTokenizer, clip_folder)
        if "chatglm" in title:
            return PositionTokenizer()
        begins = any(word in title for word in ("gemma", "mclip", "llama", "roberta"))
        return t5_tokenizer() if "t5" in title else chat_tokenizer(begins=begins)

    def model(kind: Any, name: Any, *arguments: Any, **options: Any) -> Any:
        if os.path.isdir(str(name)):
            return load_model(kind, name, *arguments, **options)
        return _stand_in_model(kind, str(name))

    def config(name: Any, *arguments: Any, **options: Any) -> Any:
        known = os.path.isdir(str(name))
        return load_config(name, *arguments, **options) if known else _stand_in_config(str(name))

    base.from_pretrained = classmethod(tokenizer)
    transformers.AutoTokenizer.from_pretrained = classmethod(tokenizer)
    transformers.PreTrainedModel.from_pretrained = classmethod(model)
    transformers.AutoConfig.from_pretrained = staticmethod(config)
    for module in (transformer_cosmos, controlnet_cosmos):
        module.transforms = _Resizing  # torchvision's, of which one function is needed
    chats = (
        "AutoProcessor",
        "Qwen2VLProcessor",
        "Qwen2_5_VLProcessor",
        "Qwen3VLProcessor",
        "PixtralProcessor",
    )
    for name in chats:
        getattr(transformers, name).from_pretrained = classmethod(lambda *_a, **_k: ChatProcessor())


def pipelines(checkout: Path, only: Collection[str] = ()) -> Iterator[tuple[str, Maker]]:
    """Yield the class and a maker (pipeline, inputs) of every test case that has small components.

    `only` names the classes that are wanted; without any, all are.
    """
    use_stand_ins()
    sys.path.insert(0, str(checkout))
    seen: set[str] = set()
    for file in sorted((checkout / "tests" / "pipelines").rglob("test_*.py")):
        if only and not any(kind in file.read_text(encoding="utf-8") for kind in only):
            continue
        try:
            module = importlib.import_module(".".join(file.relative_to(checkout).with_suffix("").parts))
        except (Exception, unittest.SkipTest):  # noqa: BLE001 - a test module that needs what is not here
            continue
        for case in vars(module).values():
            kind = inspect.isclass(case) and inspect.getattr_static(case, "pipeline_class", None)
            if not (inspect.isclass(case) and inspect.isclass(kind) and case.__module__ == module.__name__):
                continue
            made = hasattr(case, "get_dummy_components") and hasattr(case, "get_dummy_inputs")
            kind = _own_kind(kind)
            if made and kind.__name__ not in seen:
                seen.add(kind.__name__)
                yield kind.__name__, lambda case=case: _build(case)


def _own_kind(kind: type) -> type:
    """Return the class of diffusers that a test's own class stands for."""
    return next(each for each in kind.__mro__ if each.__module__.startswith("diffusers."))


def _build(case: Any) -> tuple[Any, dict[str, Any]]:
    try:
        tester = case("run") if issubclass(case, unittest.TestCase) else case()
    except Exception:  # noqa: BLE001 - only its two functions are needed
        tester = object.__new__(case)
    asked = {name: value for name, value in ASKED.items() if _takes(tester.get_dummy_components, name)}
    pipe = case.pipeline_class(**tester.get_dummy_components(**asked))
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            _settle(part.eval())  # as loaded pipelines are
    _widen(pipe)
    kind = type(pipe).__name__
    if (
        kind.startswith("SkyReels") and "Forcing" not in kind
    ):  # four steps of its own leave nothing of the text
        pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    inputs = tester.get_dummy_inputs(
        **({"device": "cpu"} if _takes(tester.get_dummy_inputs, "device") else {})
    )
    return pipe, {**inputs, **MENDED.get(_own_kind(type(pipe)).__name__, {})}


def _settle(part: torch.nn.Module) -> None:
    """Give parameters that were made of memory as it was found a value."""
    generator = torch.Generator().manual_seed(0)
    for parameter in part.parameters():
        if parameter.is_floating_point() and not (parameter.abs() < 100).all():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)


def _takes(function: Any, name: str) -> bool:
    return name in inspect.signature(function).parameters


def _widen(pipe: Any) -> None:
    """Give encoders as many embeddings as the stand-in of their tokenizer has tokens."""
    template = getattr(pipe, "system_message", None)
    if template and hasattr(pipe, "prompt_template_encode_start_idx"):
        pipe.prompt_template_encode_start_idx = len(pipe.tokenizer(template).input_ids)
    for name, tokenizer in pipe.components.items():
        encoder = pipe.components.get(name.replace("tokenizer", "text_encoder"))
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        if name.startswith("tokenizer") and isinstance(encoder, transformers.PreTrainedModel):
            if type(encoder).__name__ == "MultilingualCLIP":
                continue  # its own kind, with embeddings enough
            if len(tokenizer) > encoder.get_input_embeddings().num_embeddings:
                torch.manual_seed(0)
                encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
