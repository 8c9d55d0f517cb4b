"""The switch of two texts done by hand: a second way to draw a DF-Prompt, for any pipeline of diffusers.

It records the whole run of each text and hands the arguments of one to the other's denoiser.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from dfprompt.conditioning.generic.slots import ABSENT, same


def tensor(output: Any) -> torch.Tensor:
    first = output[0] if isinstance(output, tuple) else next(iter(output.values()))
    return first if isinstance(first, torch.Tensor) else torch.as_tensor(first)


def stock(pipe: Any, call: dict[str, Any], **texts: Any) -> torch.Tensor:
    return tensor(pipe(**call, **texts, generator=torch.Generator().manual_seed(0), output_type="pt"))


def _kept(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with lists of their own: a UNet pops an adapter's features off the list it is given."""
    return {name: value[:] if isinstance(value, list) else value for name, value in given.items()}


class Tap:
    """Every call of the denoisers by name: what they were given, and how often they answered."""

    def __init__(self, pipe: Any, replace: Callable[[int, str], dict[str, Any]] = lambda *_: {}) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers, self.replace, self.handles = 0, replace, []
        for name in ("unet", "transformer", "transformer_2", "controlnet"):
            part = getattr(pipe, name, None)
            if part is not None:
                hook = self._hook(name, inspect.signature(part.forward))
                self.handles.append(part.register_forward_pre_hook(hook, with_kwargs=True))
                self.handles.append(part.register_forward_hook(self._answer))

    def _answer(self, *_: Any) -> None:
        self.answers += 1

    def _hook(self, name: str, signature: inspect.Signature) -> Any:
        def hook(_module: Any, arguments: Any, keywords: Any) -> Any:
            bound = signature.bind(*arguments, **keywords)
            changes = self.replace(len(self.calls), name)
            self.calls.append((name, _kept(bound.arguments)))
            bound.arguments.update(_kept(changes))
            return bound.args, bound.kwargs

        return hook

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self.handles:
            handle.remove()


def by_hand(
    pipe: Any, call: dict[str, Any], texts: list[dict[str, Any]], evaluations: list[int]
) -> torch.Tensor:
    """The run in which evaluation k hears texts[evaluations[k]]; each text's own run says what that is."""
    heard = []
    for each in texts:
        with Tap(pipe) as tap:
            stock(pipe, call, **each)
        heard.append(tap.calls)
    per = len(heard[0]) // len(evaluations)
    steady: dict[str, set[str]] = {}
    for number, (name, given) in enumerate(heard[0]):
        first = heard[0][number % per][1]
        constant = {key for key in given if same(first.get(key, ABSENT), given[key])}
        steady[name] = steady.get(name, constant) & constant

    def replace(number: int, name: str) -> dict[str, Any]:
        given = heard[evaluations[number // per]][number][1]
        return {key: value for key, value in given.items() if key in steady[name]}

    with Tap(pipe, replace):
        return stock(pipe, call, **texts[0])
