"""The freeze: digests of what decides every result here, committed before the first training on rewards.

Whoever changes the renderer, the couplings, the raters, the pipeline or the judges after it starts the
experiments anew.
A digest covers code without comments, docstrings and layout, so that tidying up is no change.
"""

from __future__ import annotations

import ast
import hashlib
import json
from importlib.resources import files
from pathlib import Path

from dfprompt.errors import LoadError

# What each digest covers: modules of dfprompt.mini.
PARTS = {
    "renderer": ("world", "canvas", "subjects", "backgrounds", "surfaces", "renderer"),
    "couplings": ("modifiers", "captions"),
    "raters": ("measures", "raters"),
}
FILE_NAME = "frozen.json"


def compute_digests(weights: Path) -> dict[str, str]:
    """Digests of the renderer, couplings, raters, pipeline (its sampler too) and judges, 16 hex digits each.

    >>> sorted(PARTS)
    ['couplings', 'raters', 'renderer']
    """
    from worlds.mini.build import digest

    out = {part: digest_modules(names) for part, names in PARTS.items()}
    return out | {"pipeline": digest(weights / "pipeline"), "judges": digest(weights / "judge")}


def read_frozen() -> dict[str, str]:
    """The committed digests; raises LoadError while this world is not frozen yet."""
    path = Path(__file__).with_name(FILE_NAME)
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["digests"]
    except FileNotFoundError as error:
        raise LoadError("this mini world is not frozen yet; see docs/mini-world.md") from error
    return found


def changed_since_freeze(weights: Path) -> list[str]:
    """The parts whose digest is no longer the committed one; results from before do not hold for them."""
    frozen, now = read_frozen(), compute_digests(weights)
    return [part for part in now if frozen.get(part) != now[part]]


def digest_modules(names: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for name in names:
        source = (Path(str(files("dfprompt.mini"))) / f"{name}.py").read_text(encoding="utf-8")
        total.update(name.encode() + b"\0" + essence(source).encode() + b"\0")
    return total.hexdigest()[:16]


def essence(source: str) -> str:
    """Python source without comments, docstrings and layout.

    >>> essence('def f():\\n    "Doc."\\n    return  1  # one')
    'def f():\\n    return 1'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
