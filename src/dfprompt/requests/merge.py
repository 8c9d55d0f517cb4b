"""What `dfprompt merge` is asked: the folders of a run's parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from dfprompt.requests.base import Flag, Request, Things


class MergeRequest(Request):
    """What `dfprompt merge` puts together."""

    folders: Annotated[Things, Flag(metavar="FOLDER...", argument=True, kind=str)]
    """The folders of all parts of one `evaluate` or `curate`, in any order."""
    output: Annotated[str | Path, Flag(metavar="DIR", kind=Path)]
    """Where the whole goes: a new folder."""
