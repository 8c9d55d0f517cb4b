"""A pipeline's own rewriter: asked for by name it rewrites, in every other arm the encoder hears the user."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

import dfprompt
import tiny_transformers
from dfprompt.errors import GenerationError
from dfprompt.evaluation.rewriters import VendorMethod
from dfprompt.measurement.prompts import as_prompts
from dfprompt.pipeline.vendor import VendorRewriter, find_vendor
from dfprompt.prompt import DFPrompt

PLAIN = "a red cat"
SIZE = {"height": 64, "width": 64}
pytestmark = pytest.mark.filterwarnings("ignore")  # what transformers remarks on tiny tokenizers


class _Heard(Exception):
    """Ends a call once its text has reached the encoder."""


def _writer() -> tuple[Any, Any]:
    """A tiny random language model and its chat tokenizer; it writes a few tokens."""
    torch.manual_seed(3)
    tokenizer = tiny_transformers.chat_tokenizer()
    tokenizer.model_max_length = 8
    return Qwen3ForCausalLM(Qwen3Config(**tiny_transformers._qwen3_sizes(tokenizer))), tokenizer


class _Processor:
    """What LTX-2 asks of a processor: a tokenizer, and to be called with text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: str, images: Any = None, return_tensors: str = "pt") -> Any:
        return self.tokenizer(text, return_tensors=return_tensors)


def _flux2() -> Any:
    torch.manual_seed(1)
    pipe = tiny_transformers.build_flux2()
    pipe.tokenizer.tokenizer = pipe.tokenizer
    generate = pipe.text_encoder.generate
    pipe.text_encoder.generate = lambda **how: generate(**{**how, "max_new_tokens": 8})
    return pipe


def _ernie() -> Any:
    writer, tokenizer = _writer()
    parts = dict.fromkeys(("vae", "text_encoder"))
    return diffusers.ErnieImagePipeline(
        transformer=writer,  # only its dtype is asked for before the text is encoded
        tokenizer=tokenizer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        pe=writer,
        pe_tokenizer=tokenizer,
        **parts,
    )


def _ltx2() -> Any:
    writer, tokenizer = _writer()
    names = ("vae", "audio_vae", "text_encoder", "connectors", "transformer", "vocoder")
    pipe = diffusers.LTX2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        tokenizer=tokenizer,
        prompt_enhancer=writer,
        **dict.fromkeys(names),
    )
    pipe.processor = _Processor(tokenizer)
    generate = writer.generate
    writer.generate = lambda **how: generate(**{**how, "max_new_tokens": 8})
    return pipe


BUILD = {"flux2": _flux2, "ernie": _ernie, "ltx2": _ltx2}
NAMES = {
    "flux2": "Flux2Pipeline.upsample_prompt",
    "ernie": "ErnieImagePipeline._enhance_prompt_with_pe",
    "ltx2": "LTX2Pipeline.enhance_prompt",
}
ON = {
    "flux2": {"caption_upsample_temperature": 0.15},
    "ernie": {},
    "ltx2": {"enable_prompt_enhancement": True},
}


def _heard(pipe: Any, call: Any) -> list[str]:
    """The texts that a call hands to the pipeline's encoder."""
    texts: list[str] = []

    def listen(prompt: Any, *rest: Any, **named: Any) -> Any:
        texts.extend([prompt] if isinstance(prompt, str) else prompt)
        raise _Heard

    pipe.encode_prompt = listen
    with pytest.raises(_Heard):
        call()
    return texts


@pytest.mark.parametrize("name", BUILD)
def test_it_rewrites_the_same_for_the_same_seed_and_leaves_other_draws_alone(name: str) -> None:
    rewriter = find_vendor(BUILD[name]())
    assert rewriter is not None
    assert rewriter.name == NAMES[name]
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    both = rewriter.rewrite([PLAIN, "a dog"], [5, 6], **SIZE)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert rewriter.rewrite([PLAIN], [5], **SIZE) == both[:1]
    assert all(both)
    assert PLAIN not in both


@pytest.mark.parametrize("name", BUILD)
def test_the_encoder_hears_the_rewrite_in_this_arm_and_the_users_words_in_all_others(name: str) -> None:
    pipe = BUILD[name]()
    rewriter = find_vendor(pipe)
    assert rewriter is not None
    method = VendorMethod(rewriter, 64, 64)
    (written,) = method.rewrite(as_prompts([PLAIN]), 0)
    assert written is not None
    on = _heard(pipe, lambda: pipe(prompt=PLAIN, **SIZE, **ON[name]))
    assert PLAIN not in on  # the pipeline's own call rewrites when it is asked to, ERNIE without being asked
    for prompt, expected in ((PLAIN, PLAIN), (str(written), written.plain_text)):
        heard = _heard(pipe, lambda prompt=prompt: dfprompt.run(pipe, prompt, **SIZE))
        assert set(heard) == {expected}
    assert method.vendor
    assert "off in all other" in method.definition


def test_a_component_that_is_not_loaded_rewrites_nothing() -> None:
    ernie, ltx = _ernie(), _ltx2()
    ernie.pe = ltx.prompt_enhancer = None
    assert find_vendor(ernie) is None
    assert find_vendor(ltx) is None


@pytest.mark.parametrize("answer", ["", "  ", [], None, 7])
def test_a_rewriter_that_says_nothing_is_an_error(answer: Any) -> None:
    rewriter = VendorRewriter("Some.method", lambda prompt: answer, {})
    with pytest.raises(GenerationError, match=r"Some\.method has no rewrite"):
        rewriter.rewrite([PLAIN], [0])


def test_a_rewriter_that_crashes_is_named() -> None:
    def crash(prompt: str) -> str:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(GenerationError, match=r"failed to rewrite.*ZeroDivisionError"):
        VendorRewriter("Some.method", crash, {}).rewrite([PLAIN], [0])


def test_brackets_of_a_rewrite_are_words() -> None:
    method = VendorMethod(VendorRewriter("x", lambda prompt: "a [cat:late] ", {}))
    assert method.rewrite(as_prompts([PLAIN]), 0) == [DFPrompt.from_plain("a [cat:late]")]
