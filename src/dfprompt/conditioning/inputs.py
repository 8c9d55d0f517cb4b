"""What `prepare` returns: keyword arguments for a stock pipeline call, and the step callback in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dfprompt.conditioning.adapter import TextAdapter, execution_device
from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.facts import CallFacts
from dfprompt.errors import GenerationError

StepCallback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any] | None]


class PreparedInputs(MutableMapping[str, Any]):
    """Keyword arguments for one pipeline, to be unpacked into its call: `pipe(**inputs)`.

    Behaves like a dict. Tensors are handed out on the device the pipeline runs on when they are
    asked for, so that offloading may be switched on after preparing. `compiled` is the batch behind
    them, None where the pipeline encodes the plain text itself.
    """

    def __init__(self, pipe: Any, values: Mapping[str, Any], compiled: Compiled | None = None) -> None:
        self._pipe = pipe
        self._values = dict(values)
        self.compiled = compiled

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        return value.to(execution_device(self._pipe)) if isinstance(value, torch.Tensor) else value

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"PreparedInputs({', '.join(self._values)})"


class StepSwap:
    """The callback that puts the next evaluation's tensors in place at the end of each step.

    Diffusers calls it after evaluation i with the tensors it will use for i + 1. It keeps no state,
    so one result serves any number of runs. What the user's own callback returns is taken first:
    whether guidance is on, and so which rows there are, is read off the tensors it leaves.
    """

    def __init__(
        self,
        facts: CallFacts,
        names: Mapping[str, str],
        user: StepCallback | None,
        user_inputs: Sequence[str],
    ) -> None:
        self.facts = facts
        self.compiled = facts.compiled
        self.names = dict(names)
        self.user = user
        self.user_inputs = tuple(user_inputs)

    @property
    def tensor_inputs(self) -> list[str]:
        """What diffusers must pass to the callback: the user's names and ours."""
        return list(dict.fromkeys([*self.user_inputs, *self.names.values()]))

    def __call__(self, pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if index == 0:
            self.facts.check(pipe)
        if self.user is not None:
            asked = {name: tensors[name] for name in self.user_inputs if name in tensors}
            tensors = {**tensors, **(self.user(pipe, index, timestep, asked) or {})}
        following = index + 1
        if following < self.compiled.evaluations and self._must_swap(following, tensors):
            fresh = self.compiled.at(following)
            images = self.facts.images_per_prompt
            for name, called in self.names.items():
                tensors[called] = fit_rows(pipe, self.compiled.adapter, name, fresh, tensors[called], images)
        return tensors

    def _must_swap(self, following: int, tensors: Mapping[str, Any]) -> bool:
        """Whether a text changes, or a callback that cut guidance kept too few rows."""
        rows = self.compiled.rows * self.facts.images_per_prompt
        kept = [len(tensors[called]) for called in self.names.values()]
        return self.compiled.changes(following) or any(each < rows for each in kept)


def fit_rows(
    pipe: Any,
    adapter: TextAdapter,
    name: str,
    fresh: Mapping[str, Tensor],
    running: Tensor,
    images_per_prompt: int,
) -> Tensor:
    """Return fresh rows, repeated per image and stacked as in the running tensor, on its device.

    Raises GenerationError where the running tensor has a number of rows that belongs to no such batch.
    """
    positive = fresh[name].repeat_interleave(images_per_prompt, dim=0)
    rows, running_rows = len(positive), len(running)
    stacked = adapter.capabilities.guidance == "stacked"
    guided = stacked and getattr(pipe, "do_classifier_free_guidance", running_rows == 2 * rows)
    if guided:
        negative = fresh["negative_" + name].repeat_interleave(images_per_prompt, dim=0)
        positive = torch.cat([negative, positive])
    # A callback that cuts guidance may keep one row only; then all positive rows are right.
    if running_rows != len(positive) and (guided or running_rows > rows):
        raise GenerationError(
            f"the pipeline runs {running_rows} rows of {name}, but {rows // images_per_prompt} prompts with "
            f"{images_per_prompt} images each were prepared; pass the prepared arguments unchanged, and "
            "num_images_per_prompt to dfprompt"
        )
    return positive.to(device=running.device, dtype=running.dtype)
