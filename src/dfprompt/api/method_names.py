"""The names of methods, looked at before what makes them is imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from dfprompt.config import nearest
from dfprompt.errors import ConfigError, InputError
from dfprompt.excerpt import quote


def check_methods(specs: Sequence[str]) -> None:
    """Refuse the name of a method that there is not, and a source that is neither a file nor a folder."""
    from dfprompt.requests.evaluate import METHOD_NAMES  # each command imports its own request alone

    entered = getattr(sys.modules.get("dfprompt.api.methods"), "METHODS", ())  # whoever adds one imports it
    known = dict.fromkeys([*METHOD_NAMES, *entered])
    own = {name: source for name, equals, source in (each.partition("=") for each in specs) if equals}
    for name, source in own.items():
        if not Path(source).exists():
            raise InputError(f"the method {name}: there is no file of rewrites and no policy at {source}")
    for spec in specs:
        parts = () if "=" in spec else spec.split(":")
        for part in (each.partition("@")[0] for each in parts):
            if part not in own and re.sub(r"-\d+$", "-N", part) not in known:
                raise ConfigError(
                    f"there is no method {quote(spec)}; {nearest(part, list(known))} A file: NAME=FILE.jsonl"
                )
