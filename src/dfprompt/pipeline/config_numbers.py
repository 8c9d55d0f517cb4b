"""What stands in the configurations of a pipeline's parts, which diffusers takes as it is until it draws."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfprompt.errors import LoadError
from dfprompt.excerpt import quote


def check_numbers(pipe: Any, source: str | Path) -> None:
    """Raise LoadError for a picture's size or a scale of latents that is none, and for objects for values."""
    for part, component in pipe.components.items():
        _check_objects(part, component, source)
    for part in ("unet", "transformer"):
        size = _config(pipe, part).get("sample_size")
        sides = size if isinstance(size, list | tuple) else [size, size]
        if size is not None and not (len(sides) == 2 and all(type(side) is int for side in sides)):
            raise _wrong(source, part, "sample_size", size, "a whole number, or two")
    latents = _config(pipe, "vae")
    for name in ("scaling_factor", "shift_factor"):
        if name in latents and not _is_scale(latents[name], needed=name == "scaling_factor"):
            raise _wrong(source, "vae", name, latents[name], "a number")
    for name in ("latents_mean", "latents_std"):
        value = latents.get(name)
        if value is not None and not (isinstance(value, list | tuple) and all(map(_is_scale, value))):
            raise _wrong(source, "vae", name, value, "a list of numbers")


def _check_objects(part: str, component: Any, source: str | Path) -> None:
    """Refuse an object where the part's class has a number, a text or a list; a scheduler in a scheduler."""
    config = getattr(component, "config", None)
    if not isinstance(config, Mapping):
        return
    usual = inspect.signature(type(component).__init__).parameters
    for name, value in config.items():
        default = usual[name].default if name in usual else None
        if isinstance(value, dict) and isinstance(default, int | float | str | list | tuple):
            raise _wrong(source, part, name, value, f"as {default!r} is")
        if name == "solver_p" and value is not None:
            raise _wrong(source, part, name, value, "null")


def _config(pipe: Any, part: str) -> dict[str, Any]:
    return dict(getattr(getattr(pipe, part, None), "config", None) or {})


def _is_scale(value: Any, *, needed: bool = True) -> bool:
    return type(value) in (int, float) or (value is None and not needed)


def _wrong(source: str | Path, part: str, name: str, value: object, expected: str) -> LoadError:
    return LoadError(
        f"{source}: {name} in the configuration of its {part} must be {expected}, not {quote(str(value))}; "
        "download or save it again"
    )
