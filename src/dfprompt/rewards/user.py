"""Rewards and judges of the user's own: any callable, named by import path, run only with permission."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dfprompt.errors import ConfigError, LoadError, RewardError
from dfprompt.excerpt import quote
from dfprompt.rewards.contract import Records, Reward
from dfprompt.rewards.scores import Score
from dfprompt.rewards.tower import ImageBatch


class UserScore(Score):
    """A callable as a score: its crash becomes a RewardError naming it, its result is checked.

    It may return a tensor, an array or a list of B numbers.

    >>> brightness = UserScore("brightness", lambda images, prompts, records=None: images.mean((1, 2, 3)))
    >>> brightness(torch.ones(2, 3, 4, 4), ["a", "b"])
    tensor([1., 1.])
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__(name)
        self.function = function
        self.measures = str(getattr(function, "measures", ""))

    @property
    def family(self) -> str:
        """Every function is a family of its own."""
        return f"function {self.name}"

    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """Call it on copies of the lists, so that it cannot change what others read."""
        try:
            result = self.function(batch.images.clone(), list(prompts), records)
        except Exception as error:  # foreign code may raise anything; it is raised again, chained
            raise RewardError(f"the reward {self.name!r} crashed: {type(error).__name__}: {error}") from error
        try:
            return torch.as_tensor(result)
        except (TypeError, ValueError, RuntimeError) as error:
            raise RewardError(
                f"the reward {self.name!r} must return one number per image, got {quote(result)}"
            ) from error


def as_score(reward: Reward, name: str | None = None) -> Score:
    """Any reward as a Score: ours as it is, a plain callable wrapped under its own name."""
    if isinstance(reward, Score):
        return reward
    own = getattr(reward, "__name__", None) or type(reward).__name__
    return UserScore(name or str(own), reward)


def load_user_score(name: str, path: str, *, allow_code: bool, base: Path = Path()) -> UserScore:
    """Import `package.module:function` or `file.py:function`; runs code, so `allow_code` must be given.

    A class is called without arguments to make the reward. A relative file starts at `base`.
    Raises ConfigError without permission or for a path of another form, LoadError when the import fails.
    """
    place, colon, attribute = path.rpartition(":")
    if not colon or not place or not attribute.isidentifier():
        raise ConfigError(f"{quote(path)}: expected package.module:function or file.py:function")
    if not allow_code:
        raise ConfigError(f"the reward {name!r} runs code from {path}; pass --allow-code if you trust it")
    module = _import_file(base / place, path) if place.endswith(".py") else _import_module(place, path)
    if not hasattr(module, attribute):
        raise LoadError(f"{path}: {place} has no {attribute!r}")
    function = getattr(module, attribute)
    try:
        function = function() if inspect.isclass(function) else function
    except Exception as error:
        raise LoadError(f"{path}: {attribute}() failed: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise LoadError(f"{path}: {attribute} is a {type(function).__name__}, not callable")
    return UserScore(name, function)


def _import_module(name: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise LoadError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error


def _import_file(source: Path, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"dfprompt_user_{source.stem}", source)
    if not source.is_file() or spec is None or spec.loader is None:
        raise LoadError(f"{path}: no such file as {source}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise LoadError(f"{path}: cannot be run: {type(error).__name__}: {error}") from error
    return module
