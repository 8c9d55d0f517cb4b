"""Weight files that everyone may read who may read the rest of their folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def match_permissions(beside: Path) -> None:
    """Give the weight files beside `beside`, a file written by ordinary means, its permissions.

    safetensors 0.8 writes every file for its owner alone, whatever the umask says: a policy trained by one
    would not open for another. Raises OSError where permissions cannot be set.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("config.json", "model.safetensors"):
    ...     (folder / name).touch(mode=0o600 if name.startswith("model") else 0o644)
    >>> match_permissions(folder / "config.json")
    >>> oct((folder / "model.safetensors").stat().st_mode) == oct((folder / "config.json").stat().st_mode)
    True
    """
    mode = stat.S_IMODE(beside.stat().st_mode)
    for file in beside.parent.glob("*.safetensors"):
        os.chmod(file, mode)
