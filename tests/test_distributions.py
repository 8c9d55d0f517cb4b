"""The two distributions of the one source: each file in one of them, and the language needs nothing else."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
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


@pytest.mark.parametrize("base", ["https://example.org/files/", ""])
def test_an_indexs_copy_of_the_readme_has_no_relative_address(script: ModuleType, base: str) -> None:
    text = script.index_readme((ROOT / "README.md").read_text(encoding="utf-8"), base)
    addresses = re.findall(r'src="([^"]*)"|\]\(([^)]*)\)', text)
    assert all("".join(each).startswith("https://") for each in addresses)
    assert bool(addresses) == bool(base)
    for each in addresses:
        assert (ROOT / "".join(each).removeprefix(base)).exists()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the sdist and the wheel hold, built as pip builds them."""
    pytest.importorskip("hatchling")
    place = tmp_path_factory.mktemp("dist")
    program = (
        "import sys; from hatchling.build import *; print(build_sdist(sys.argv[1]), build_wheel(sys.argv[1]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(place)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    sdist, wheel = (place / line for line in ran.stdout.split()[-2:])
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    with zipfile.ZipFile(wheel) as archive:
        return {"sdist": names, "wheel": archive.namelist()}


@pytest.mark.slow
@pytest.mark.nightly
def test_the_sdist_is_complete_and_clean(built: dict[str, list[str]]) -> None:
    """It holds what git holds, and nothing else: no caches, no outputs, nothing of an editor."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("needs git")
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    assert set(built["sdist"]) - tracked == {"PKG-INFO"}
    assert {name for name in tracked if not name.startswith(".git")} - set(built["sdist"]) == set()


@pytest.mark.slow
@pytest.mark.nightly
def test_the_wheel_holds_recipes_weights_and_nothing_beside_the_package(built: dict[str, list[str]]) -> None:
    names = built["wheel"]
    assert {f"dfprompt/recipes/{file.name}" for file in (ROOT / "recipes").glob("*.toml")} <= set(names)
    assert "dfprompt/py.typed" in names
    assert any(name.startswith("dfprompt/mini/weights/") for name in names)
    assert {name.partition("/")[0].split("-")[0] for name in names} == {"dfprompt"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".partial"))]
