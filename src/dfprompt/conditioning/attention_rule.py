"""The rule `attention` in a run: every denoiser call hears the weights of its own step and rows."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.inputs import fit_rows
from dfprompt.conditioning.ownership import RunHooks
from dfprompt.conditioning.value_weights import ValueWeights


def weigh_values(hooks: RunHooks, compiled: Compiled, images_per_prompt: int) -> None:
    """Let a run's token weights act in every module that hears the text; nothing where all are 1.

    Raises UnsupportedPipelineError for models whose value projections cannot be reached.
    """
    if not compiled.weighs:
        return
    for listener in compiled.adapter.listeners:
        values = ValueWeights(listener, compiled.adapter.capabilities.value_sites)
        turn = _Turn(hooks, compiled, images_per_prompt, values)
        hooks.on_input(listener, turn.begin)
        values.put(hooks)
        hooks.on_output(listener, turn.end)


class _Turn:
    """One module's calls: before each it hears the weights, after it they must have reached every block."""

    def __init__(
        self, hooks: RunHooks, compiled: Compiled, images_per_prompt: int, values: ValueWeights
    ) -> None:
        self._hooks = hooks
        self._compiled = compiled
        self._images = images_per_prompt
        self._values = values

    def begin(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        name = self._compiled.adapter.denoiser_names["prompt_embeds"]
        self._values.hear(self._weights(len(find_argument(module, arguments, keywords, name))))

    def end(self, _module: nn.Module, _arguments: tuple[Any, ...], _output: Any) -> None:
        self._values.check()

    def _weights(self, rows: int) -> Tensor | None:
        """Return the weights (B,T) of a call with this many rows."""
        evaluation, adapter = self._hooks.evaluation, self._compiled.adapter
        if evaluation >= self._compiled.evaluations:
            return None
        sides = self._compiled.token_weights(evaluation)
        if sides is None:
            return None
        if adapter.capabilities.guidance == "separate":
            side = "negative_token_weights" if self._hooks.call == 1 else "token_weights"
            if side not in sides:
                return None
            sides = {"token_weights": sides[side]}
        longest = max(each.shape[1] for each in sides.values())
        padded = {
            name: torch.nn.functional.pad(each, (0, longest - each.shape[1]), value=1.0)
            for name, each in sides.items()
        }
        own = padded["token_weights"].repeat_interleave(self._images, dim=0)
        if rows == len(own):  # no guidance, or a ControlNet in guess mode, which hears the prompt alone
            return own.to(device="cpu", dtype=torch.float32)
        running = torch.empty(rows)  # only its rows, device and precision are read
        return fit_rows(adapter.pipe, adapter, "token_weights", padded, running, self._images)


def find_argument(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], name: str) -> Any:
    """Return an argument of a module's call by name, however it was passed."""
    if name in keywords:
        return keywords[name]
    return inspect.signature(module.forward).bind_partial(*arguments).arguments[name]
