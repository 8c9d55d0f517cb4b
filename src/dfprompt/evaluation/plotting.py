"""Whether plots can be drawn here."""

from __future__ import annotations

from importlib.util import find_spec

from dfprompt.errors import ConfigError


def check_plotting() -> None:
    """Raise ConfigError where matplotlib is missing, before anything is drawn."""
    if find_spec("matplotlib") is None:
        raise ConfigError("plots are drawn with matplotlib; install it: pip install dfprompt[plot]")
