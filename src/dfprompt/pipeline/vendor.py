"""The rewriter that a pipeline brings along, as one more way to rewrite: asked for by name, or off."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dfprompt.errors import GenerationError
from dfprompt.excerpt import quote

# Methods by which pipelines of diffusers 0.42 rewrite: FLUX.2 and Ideogram 4, ERNIE-Image, LTX-2; with the
# component that must be loaded for it ("" where an encoder that is always there does it).
_METHODS = (
    ("upsample_prompt", "prompt_enhancer_head"),
    ("_enhance_prompt_with_pe", "pe"),
    ("enhance_prompt", "prompt_enhancer"),
)
_SYSTEM_PROMPT = "LTX2_5_T2V_DEFAULT_SYSTEM_PROMPT"  # what the pipeline takes where none is given


@dataclass(frozen=True)
class VendorRewriter:
    """A pipeline's own rewriter: `name` is the class and method that do it."""

    name: str
    function: Callable[..., Any]
    given: dict[str, Any]

    def rewrite(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        height: int | None = None,
        width: int | None = None,
    ) -> list[str]:
        """Return one rewrite per prompt, the same for the same seed whatever stands beside it.

        `height` and `width` are the picture's, which some rewriters read. The process's random numbers go on
        as if nothing had been drawn. Raises GenerationError where the rewriter fails or says nothing.
        """
        known = inspect.signature(self.function).parameters
        size = {"height": height, "width": width}
        fixed = {name: value for name, value in size.items() if name in known and value is not None}
        return [self._one(prompt, seed, fixed, known) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _one(self, prompt: str, seed: int, fixed: dict[str, Any], known: Any) -> str:
        own = {"generator": torch.Generator().manual_seed(seed)} if "generator" in known else {}
        try:
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(seed)
                written = self.function(prompt, **self.given, **fixed, **own)
        except Exception as error:  # foreign code may raise anything; it is raised again, chained
            raise GenerationError(
                f"{self.name} failed to rewrite {quote(prompt)}: {type(error).__name__}: {error}"
            ) from error
        text = written[0] if isinstance(written, list | tuple) and written else written
        if not isinstance(text, str) or not text.strip():
            raise GenerationError(f"{self.name} has no rewrite of {quote(prompt)}: {quote(text)}")
        return text.strip()


def find_vendor(pipe: Any) -> VendorRewriter | None:
    """Return the rewriter that a pipeline brings along and that is loaded; None where there is none.

    >>> find_vendor(object()) is None
    True
    """
    for method, component in _METHODS:
        function = getattr(pipe, method, None)
        if not callable(function):
            continue
        if hasattr(pipe, component) and getattr(pipe, component) is None:
            continue  # it can rewrite, and what it would do it with is not loaded
        given = _fixed_arguments(pipe, function)
        return None if given is None else VendorRewriter(f"{type(pipe).__name__}.{method}", function, given)
    return None


def _fixed_arguments(pipe: Any, function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return what a rewriter needs beside the prompt; None where it needs something nobody gave."""
    known = inspect.signature(function).parameters
    given: dict[str, Any] = {}
    if "device" in known:
        given["device"] = pipe._execution_device
    if "system_prompt" in known and known["system_prompt"].default is inspect.Parameter.empty:
        usual = getattr(sys.modules[type(pipe).__module__], _SYSTEM_PROMPT, None)
        if usual is None:
            return None
        given["system_prompt"] = usual
    return given
