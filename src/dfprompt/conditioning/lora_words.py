"""LoRAs as words: `[<lora:NAME:0.8>:late]` sets an adapter's strength in the denoiser, step by step.

An adapter belongs to the model and not to a row: rows of one batch must agree on it. It acts within the
denoiser calls of its own run only, and everything is as it was after each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

from dfprompt.conditioning.ownership import RunHooks
from dfprompt.errors import ConfigError, UnsupportedPipelineError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.plan import Plan

Strengths = dict[str, tuple[float, ...]]


def loaded_loras(pipe: Any) -> frozenset[str]:
    """Return the names of the adapters that are loaded into a pipeline."""
    if not hasattr(pipe, "get_list_adapters"):
        return frozenset()
    return frozenset(name for names in pipe.get_list_adapters().values() for name in names)


def named_loras(pipe: Any, prompts: Iterable[DFPrompt]) -> frozenset[str]:
    """Return the adapters of a pipeline that prompts name as words."""
    tags = {span.tag for prompt in prompts for span in prompt.tags}
    return frozenset(tag.name for tag in tags if tag is not None and tag.is_adapter) & loaded_loras(pipe)


def refuse_negative_loras(pipe: Any, negatives: Iterable[DFPrompt]) -> None:
    """Raise UnsupportedPipelineError for adapters that a negative prompt names."""
    names = named_loras(pipe, negatives)
    if names:
        raise UnsupportedPipelineError(
            f"the negative prompt names the LoRA {' and '.join(sorted(names))}, and a LoRA acts on the whole "
            "picture; name it in the prompt, with a strength below 0 if it should act against"
        )


def read_strengths(plans: Sequence[Plan], names: frozenset[str]) -> Strengths:
    """Return the strength of each adapter at every evaluation, the same for all rows.

    A word's strength is its tag's number times the span's weight; words of one name add up. Raises
    UnsupportedPipelineError where rows differ, ConfigError for a tag whose strength is no number.
    """
    if not names:
        return {}
    rows = [_row_strengths(plan, names) for plan in plans]
    if any(row != rows[0] for row in rows):
        number = next(at for at, row in enumerate(rows) if row != rows[0]) + 1
        raise UnsupportedPipelineError(
            f"rows 1 and {number} of this batch need different strengths of {' and '.join(sorted(names))}, "
            "and a LoRA belongs to the model, not to a row; draw them in separate calls, as dfprompt "
            "generate does"
        )
    return rows[0]


def _row_strengths(plan: Plan, names: frozenset[str]) -> Strengths:
    strengths: dict[str, list[float]] = {}
    for track in plan.tracks:
        tag = track.span.tag
        if tag is None or not tag.is_adapter or tag.name not in names:
            continue
        if tag.weight is None:
            raise ConfigError(f"the strength of {quote(tag.text)} is not one number; write <lora:NAME:0.8>")
        row = strengths.setdefault(tag.name, [0.0] * len(plan.steps))
        for at, weight in enumerate(track.weights):
            row[at] += float(tag.weight) * float(weight)
    return {name: tuple(row) for name, row in strengths.items()}


def pipeline_modules(pipe: Any) -> list[nn.Module]:
    """Return the parts of a pipeline that are models."""
    return [part for part in pipe.components.values() if isinstance(part, nn.Module)]


def peft_layers(modules: Iterable[nn.Module], name: str | None = None) -> list[Any]:
    """Return the peft layers of modules, those that hold an adapter if it is named."""
    layers = [
        layer for module in modules for layer in module.modules() if hasattr(type(layer), "merged_adapters")
    ]
    return layers if name is None else [layer for layer in layers if name in layer.scaling]


@contextmanager
def silent_encoders(pipe: Any, names: frozenset[str], listeners: Sequence[nn.Module]) -> Iterator[None]:
    """Leave the adapters out of everything but the denoisers while the block lasts.

    A word's strength changes with the step and a text is encoded once: what an adapter would change in
    the text encoders is not applied.
    """
    others = [module for module in pipeline_modules(pipe) if not any(module is each for each in listeners)]
    with ExitStack() as stack:
        for name in names:
            for layer in peft_layers(others, name):
                stack.callback(layer.scaling.__setitem__, name, layer.scaling[name])
                layer.scaling[name] = 0.0
        yield


class LoraWords:
    """The adapters that words name and their strengths, set for each denoiser call of a run."""

    def __init__(self, modules: Sequence[nn.Module], strengths: Strengths) -> None:
        self._modules = list(modules)
        self._strengths = strengths
        self._layers = {name: peft_layers(modules, name) for name in strengths}
        for name, layers in self._layers.items():
            if not layers:
                raise UnsupportedPipelineError(
                    f"the LoRA {quote(name)} changes no layer of the denoiser, so its word could not act"
                )
            if any(name in layer.merged_adapters or layer.disable_adapters for layer in layers):
                raise UnsupportedPipelineError(
                    f"the LoRA {quote(name)} was fused or disabled, so its strength cannot change; call the "
                    "pipeline's unfuse_lora or enable_lora first"
                )
        self._own: dict[tuple[str, int], float] = {}

    @contextmanager
    def acting(self, hooks: RunHooks) -> Iterator[None]:
        """Let the words act for the run that owns `hooks`; all is as it was afterwards, whatever happens."""
        with ExitStack() as stack:
            stack.callback(self._own.clear)  # a call that broke off left it filled
            for name, layers in self._layers.items():
                for layer in layers:
                    stack.callback(setattr, layer, "_active_adapter", list(layer.active_adapters))
                    stack.callback(layer.scaling.__setitem__, name, layer.scaling[name])
                    if name not in layer.active_adapters:
                        layer._active_adapter = [*layer.active_adapters, name]
                        layer.scaling[name] = 0.0
            for module in self._modules:
                hooks.on_input(module, partial(self._set, hooks))
                hooks.on_output(module, self._put_back)
            yield

    def _set(self, hooks: RunHooks, _module: Any, _arguments: Any, _keywords: Any) -> None:
        for name, layers in self._layers.items():
            strengths = self._strengths[name]
            strength = strengths[min(hooks.evaluation, len(strengths) - 1)]
            for number, layer in enumerate(layers):
                self._own.setdefault((name, number), layer.scaling[name])
                layer.set_scale(name, strength)

    def _put_back(self, _module: Any, _arguments: Any, _output: Any) -> None:
        for (name, number), scale in self._own.items():
            self._layers[name][number].scaling[name] = scale
        self._own.clear()
