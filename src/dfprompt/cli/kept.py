"""What a command that was stopped has left: where, how much of it, and how it goes on."""

from __future__ import annotations

from pathlib import Path

from dfprompt.requests.base import Request
from dfprompt.storage import iter_bytes

_OUTPUT = Path("dfprompt-out")


def describe_kept(request: Request, started: float) -> str:
    """Return what is kept of an interrupted command, and how it goes on, in a line.

    `started` is when it began, in seconds.
    """
    folder = _folder_of(request, started)
    if folder is None or not folder.is_dir():
        return "nothing was written"
    kept = [f"{count} {name}" for name, count in _count(folder).items() if count]
    if not kept:
        return f"nothing is kept in {folder}"
    return f"kept whole in {folder}: {', '.join(kept)}" + _how_it_goes_on(request, folder)


def _how_it_goes_on(request: Request, folder: Path) -> str:
    if request.goes_on:
        return "; the same command goes on"
    if not hasattr(request, "resume"):
        return ""
    named = "" if getattr(request, "output", None) is not None else f" --output {folder}"
    return f"; the same command with --resume{named} goes on"


def _folder_of(request: Request, started: float) -> Path | None:
    output = getattr(request, "output", None)
    if output is not None:
        return Path(output)
    new = [each for each in _OUTPUT.glob("*") if each.is_dir() and each.stat().st_mtime >= started - 1]
    return max(new, key=lambda each: each.stat().st_mtime, default=None)


def _count(folder: Path) -> dict[str, int]:
    logs = [each for each in folder.glob("*.jsonl") if each.is_file()]
    return {
        "pictures": sum(1 for _ in folder.rglob("*.png")),
        "rows": sum(piece.count(b"\n") for each in logs for piece in iter_bytes(each)),
        "checkpoints": sum(1 for _ in folder.glob("checkpoints/step-*")),
    }
