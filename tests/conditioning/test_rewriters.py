"""A DF-Prompt is about the words that are encoded: a rewriter inside a pipeline is off unless asked for."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import diffusers
import pytest

import dfprompt
import tiny_zoo
from dfprompt.conditioning.run import _REWRITER
from runs import generators


def encoded_texts(pipe: Any, prompt: str, **call: Any) -> set[str]:
    """What the encoder of a tiny ERNIE-Image is given to read."""
    heard: set[str] = set()

    def note(_module: Any, _arguments: Any, keywords: Any) -> None:
        heard.add(pipe.tokenizer.decode(keywords["input_ids"][0]).strip())

    handle = pipe.text_encoder.register_forward_pre_hook(note, with_kwargs=True)
    try:
        size = {"height": 16, "width": 16, "guidance_scale": 1.0, "num_inference_steps": 2}
        dfprompt.run(pipe, prompt, generator=generators(0)[0], **size, **call)
    finally:
        handle.remove()
    return heard


@pytest.mark.parametrize(
    ("prompt", "written"),
    [
        ("a red house", {"a red house"}),
        ("[a red house:early][an old house:late]", {"a red house", "an old house"}),
    ],
)
def test_the_encoder_reads_the_users_words(prompt, written):
    pipe = tiny_zoo.build("ernie-image")
    assert inspect.signature(type(pipe).__call__).parameters["use_pe"].default is True
    assert encoded_texts(pipe, prompt) == written
    if len(written) > 1:
        return  # a rewriter of random weights may give two texts one rewrite, which has no times to switch at
    rewritten = encoded_texts(pipe, prompt, use_pe=True)
    assert rewritten
    assert not written & rewritten


def test_every_rewriter_that_is_on_by_default_is_known():
    """Read off the sources: which calls have one, and whether `run` switches it off."""
    some = "rewrit|enhanc|upsampl|expand_prompt|prompt_expan|refine_prompt"
    words, given_in = re.compile(f"use_pe|.*({some}).*"), re.compile(rf"(use_pe|{some})[^,=\n]*=\s*True")
    found = set()
    for file in sorted((Path(diffusers.__file__).parent / "pipelines").rglob("pipeline_*.py")):
        source = file.read_text(encoding="utf-8")
        if given_in.search(source) is None:
            continue  # parsing them all takes seconds
        for kind in ast.parse(source).body:
            for method in kind.body if isinstance(kind, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and method.name == "__call__":
                    taken = method.args.args
                    given = zip(
                        taken[len(taken) - len(method.args.defaults) :], method.args.defaults, strict=True
                    )
                    found |= {
                        (kind.name, name.arg)
                        for name, value in given
                        if words.fullmatch(name.arg)
                        and isinstance(value, ast.Constant)
                        and value.value is True
                    }
    assert found == {("ErnieImagePipeline", "use_pe"), ("LongCatImagePipeline", "enable_prompt_rewrite")}
    assert all(_REWRITER.fullmatch(name) for _, name in found)
