"""Checkpoints: everything a training needs to go on to the same numbers, written whole or not at all.

    checkpoints/step-00000200/
        model.safetensors        every trainable parameter of each model, by name
        optimizer.safetensors    every tensor of each optimiser's state, by parameter name
        memory.safetensors       further tensors, where the training has any
        state.json               the step, and what else the training has to remember

A folder gets its name only when it is complete. Random numbers need no saving: they are functions of
(seed, step).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dfprompt.errors import LoadError, TrainingError, load_errors
from dfprompt.storage import library_errors, read_json, remove, reported, whole_folder, write_text

_NAME = re.compile(r"step-(\d{8,})")
_VERSION = 1
_MEMORY = "memory.safetensors"


@dataclass(frozen=True)
class Trained:
    """A model under training and its optimiser, as they are without any wrapper around them."""

    model: nn.Module
    optimizer: torch.optim.Optimizer

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name."""
        return {name: each for name, each in self.model.named_parameters() if each.requires_grad}


class Checkpoints:
    """The checkpoints of one training in one folder, the latest few of them."""

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def save(
        self,
        step: int,
        trained: Mapping[str, Trained],
        state: Mapping[str, Any],
        memory: Mapping[str, Tensor] | None = None,
    ) -> Path:
        """Write the checkpoint of a step, then let the oldest go; `state` is kept as JSON, `memory` beside.

        Raises TrainingError when the disk is full or not writable; earlier checkpoints stay.
        """
        target = self.folder / f"step-{step:08d}"
        with (
            reported(target, TrainingError, self.describe_last()),
            whole_folder(target) as unfinished,
            library_errors(),
        ):
            tensors = {f"{name}/{key}": each for name, part in trained.items() for key, each in _model(part)}
            moments = {
                f"{name}/{key}": each for name, part in trained.items() for key, each in _optimizer(part)
            }
            save_file(tensors, unfinished / "model.safetensors")
            save_file(moments, unfinished / "optimizer.safetensors")
            if memory:
                save_file({key: _stored(each) for key, each in memory.items()}, unfinished / _MEMORY)
            content = {"dfprompt": _VERSION, "step": step, "state": dict(state)}
            write_text(unfinished / "state.json", json.dumps(content) + "\n")
        for old in self.steps()[: -self.keep]:
            with suppress(OSError):  # one too many does no harm
                remove(self.folder / f"step-{old:08d}")
        return target

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in names if match)

    def load(self, trained: Mapping[str, Trained], step: int | None = None) -> tuple[int, dict[str, Any]]:
        """Put the latest checkpoint, or that of a step, into models and optimisers; returns step and state.

        Raises LoadError for a checkpoint that is damaged or belongs to another model.
        """
        known = self.steps()
        if not known or (step is not None and step not in known):
            raise LoadError(f"{self.folder}: no checkpoint{'' if step is None else f' of step {step}'}")
        folder = self.folder / f"step-{known[-1] if step is None else step:08d}"
        with _reading(folder):
            content = read_json(folder / "state.json")
            tensors = load_file(folder / "model.safetensors")
            moments = load_file(folder / "optimizer.safetensors")
            for name, part in trained.items():
                _restore_model(part, _below(tensors, name))
                _restore_optimizer(part, _below(moments, name))
            return int(content["step"]), dict(content["state"])

    @contextmanager
    def putting_back(self) -> Iterator[None]:
        """For what is made of the latest checkpoint's state: whatever is wrong there is a LoadError too."""
        with _reading(self.folder / f"step-{self.steps()[-1]:08d}"):
            yield

    def load_memory(self) -> dict[str, Tensor]:
        """The further tensors of the latest checkpoint; none where it has none. Raises LoadError."""
        known = self.steps()
        path = self.folder / f"step-{known[-1]:08d}" / _MEMORY if known else None
        if path is None or not path.is_file():
            return {}
        with _reading(path.parent):
            return dict(load_file(path))

    def describe_last(self) -> str:
        """Say in a sentence which checkpoint a stopped run can go on from."""
        known = self.steps()
        if not known:
            return "there is no checkpoint yet"
        return f"the checkpoint of step {known[-1]} is safe, and --resume goes on from it"


def best_so_far(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The step whose policy was best, and its `name`, a reward or a loss, of a checkpoint's state."""
    best = state["best"]
    return {"step": int(best["step"]), name: float(best[name])}


def _reading(folder: Path) -> AbstractContextManager[None]:
    """Whatever reading a checkpoint raises, as a LoadError that names it."""
    return load_errors(f"{folder}: this checkpoint cannot be read", "delete it to go on from an earlier one")


def _model(part: Trained) -> list[tuple[str, Tensor]]:
    return [(name, _stored(each)) for name, each in part.parameters().items()]


def _optimizer(part: Trained) -> list[tuple[str, Tensor]]:
    found = []
    for name, parameter in part.parameters().items():
        for key, value in part.optimizer.state.get(parameter, {}).items():
            found.append((f"{name}/{key}", _stored(torch.as_tensor(value))))
    return found


def _stored(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}/"
    return {key[len(start) :]: each for key, each in tensors.items() if key.startswith(start)}


def _restore_model(part: Trained, tensors: Mapping[str, Tensor]) -> None:
    parameters = part.parameters()
    if odd := set(parameters) ^ set(tensors):
        raise ValueError(f"it is of another model: {sorted(odd)[0]} is only on one side")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != tensors[name].shape:
                raise ValueError(f"it is of another model: {name} has another shape")
            parameter.copy_(tensors[name])


def _restore_optimizer(part: Trained, tensors: Mapping[str, Tensor]) -> None:
    part.optimizer.state.clear()
    states = {name: _below(tensors, name) for name in part.parameters()}
    if len({frozenset(state) for state in states.values() if state}) > 1:
        raise ValueError("its optimizer does not hold the same of every parameter")
    for name, parameter in part.parameters().items():
        if state := states[name]:
            # AdamW counts its steps on the CPU; its moments lie where the parameter does.
            part.optimizer.state[parameter] = {
                key: each if key == "step" else each.to(parameter.device) for key, each in state.items()
            }
