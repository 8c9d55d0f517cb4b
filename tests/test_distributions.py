"""The two distributions of the one source: each file in one of them, and the language needs nothing else."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / ".ci" / "build_distributions.py"
SOURCE = ROOT / "src" / "dfprompt"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="needs the repository")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_distributions", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imports(path: Path) -> set[str]:
    """The names of modules a file imports anywhere but for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_language_imports_itself_and_the_standard_library(script: ModuleType) -> None:
    import sys

    parts = [SOURCE / name for name in script.LANGUAGE]
    assert all(part.exists() for part in parts)
    files = [file for part in parts for file in ([part] if part.is_file() else part.rglob("*.py"))]
    ours = {f"dfprompt.{name.removesuffix('.py')}" for name in script.LANGUAGE} | {"dfprompt"}
    for file in files:
        for name in imports(file) if file.suffix == ".py" else ():
            if name.partition(".")[0] == "dfprompt":
                assert any(name == each or name.startswith(f"{each}.") for each in ours - {"dfprompt"}), (
                    file,
                    name,
                )
            else:
                assert name.partition(".")[0] in sys.stdlib_module_names, (file, name)


def test_the_whole_needs_the_language_of_its_own_version(script: ModuleType) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    described = script.whole(project, "9.9")["project"]
    assert described["dependencies"] == ["dfprompt-language==9.9", *project["project"]["dependencies"]]
    alone = script.language(project)["project"]
    assert (alone["name"], alone["dependencies"]) == ("dfprompt-language", [])
    assert alone["requires-python"] == project["project"]["requires-python"]
