"""Guards of the repository: packages that must stay out, names nobody finds, paths of one machine."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# torchvision without its own build breaks transformers' image processors by being there; the
# others bring it along.
UNWANTED = ("torchvision", "open_clip", "timm", "hpsv2")
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}

# Functions that call the loader they are given with trust_remote_code=False, or on the package's own weights.
GUARDED_LOADERS = {"_guarded", "_whole", "open_piece"}

_IMPORT = re.compile(r"^\s*(?:import|from)\s+(" + "|".join(UNWANTED) + r")\b", re.MULTILINE)
# Spelled in pieces, so that this file does not find itself.
_MACHINE = re.compile(
    "|".join(["/" + "work/", "/" + "home/[a-z]", "/" + "Users/[A-Za-z]", "/" + "root/", r"\.\./" + "shared"])
)

_UNMERGED = ("<" * 7 + " ", ">" * 7 + " ")


def tracked_files() -> Iterator[Path]:
    """Yield every file that belongs to the repository, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        skipped = {".git", ".venv", "site", "build", "dist"}
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        yield from (path for path in paths if not skipped & set(path.parts))
        return
    yield from (path for line in listed.stdout.splitlines() if (ROOT / (path := Path(line))).is_file())


def problems() -> Iterator[str]:
    """Yield one line per finding."""
    for package in UNWANTED:
        if importlib.util.find_spec(package) is not None:
            yield f"{package} is installed; it breaks transformers' image processors: pip uninstall {package}"
    for path in tracked_files():
        if vague := VAGUE & {Path(part).stem for part in path.parts}:
            yield f"{path}: nobody finds anything under the name {vague.pop()}; say what it holds"
        content = (ROOT / path).read_bytes()
        if b"\0" in content[:8000]:
            continue
        text = content.decode("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith(_UNMERGED):
                yield f"{path}:{number}: a conflict of a merge that nobody resolved"
            if found := _MACHINE.search(line):
                yield f"{path}:{number}: {found[0]} is a path of one machine"
        if path.suffix == ".py" and (found := _IMPORT.search(text)):
            yield f"{path}: imports {found[1]}, which must stay out"
        if path.suffix == ".py" and path.is_relative_to("src"):
            yield from (f"{path}:{line}: {what}" for line, what in loading_problems(ast.parse(text)))


def loading_problems(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and finding for every loader that might run Python code out of a folder.

    Without `trust_remote_code=False` transformers asks on stdin whether to run it, and a list of prompts may
    answer. A loader that is handed on must go to a function that says it (`GUARDED_LOADERS`).

    >>> list(loading_problems(ast.parse("AutoConfig.from_pretrained(folder)")))
    [(1, 'from_pretrained without trust_remote_code=False')]
    >>> list(loading_problems(ast.parse("_guarded(folder, AutoConfig.from_pretrained, folder)")))
    []
    """
    called: set[ast.AST] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in GUARDED_LOADERS:
            called.update(node.args)
        if isinstance(node.func, ast.Attribute) and _loads(node.func):
            called.add(node.func)
            said = {word.arg: word.value for word in node.keywords}.get("trust_remote_code")
            if not (isinstance(said, ast.Constant) and said.value is False):
                yield node.lineno, f"{node.func.attr} without trust_remote_code=False"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _loads(node) and node not in called:
            yield node.lineno, f"{node.attr} handed to a function that is not known to be safe"


def _loads(node: ast.Attribute) -> bool:
    owner = ast.unparse(node.value)
    return node.attr == "from_pretrained" or (node.attr == "from_config" and owner.startswith("Auto"))


def main() -> int:
    """Print the findings; 1 if there are any."""
    found = list(problems())
    sys.stdout.writelines(f"{line}\n" for line in found)
    sys.stdout.write(f"guards: {len(found)} findings\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
