"""The house: no circle between modules, not even for type checkers, and a drawing that is what is checked."""

from __future__ import annotations

import ast
import graphlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "dfprompt"
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the repository")


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str, modules: set[str]) -> set[str]:
    """Every module of ours that a module imports anywhere: at its top, in a function, for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & modules) | ({node.module} if inner - modules else set())
    return found & modules


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of imports; empty where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    paths = {module_name(path): path for path in SOURCE.rglob("*.py")}
    # The package's own __init__ hands out names on first use and imports nothing itself.
    names = set(paths) - {"dfprompt"}
    return {name: imported(paths[name].read_text(encoding="utf-8"), names) - {name} for name in names}


def test_the_guard_sees_a_circle_wherever_it_hides() -> None:
    modules = {"p.a", "p.b", "p.c"}
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.b import B\n"
    assert imported(hidden, modules) == {"p.b"}
    assert imported("def f():\n    from p import c\n", modules) == {"p.c"}
    assert set(circle({"p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}})) == {"p.a", "p.b", "p.c"}
    assert circle({"p.a": {"p.b", "p.c"}, "p.b": {"p.c"}, "p.c": set()}) == []


def test_no_module_is_part_of_a_circle(graph: dict[str, set[str]]) -> None:
    assert len(graph) > 200
    assert circle(graph) == []


MOST_PARAMETERS = 12
DOORS = {"dfprompt.conditioning.run.run"}  # public, and a mirror of a request


def parameters(source: str) -> dict[str, int]:
    """How many parameters each function and method takes, by name; `self` and `cls` are none."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            named = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            count = len([name for name in named if name not in ("self", "cls")])
            found[node.name] = max(found.get(node.name, 0), count + bool(given.vararg) + bool(given.kwarg))
    return found


def test_parameters_are_counted_wherever_they_stand() -> None:
    source = "class A:\n    def f(self, a, /, b, *c, d, **e):\n        async def g(cls): ...\n"
    assert parameters(source) == {"f": 5, "g": 0}


def test_no_function_takes_a_crowd_of_parameters() -> None:
    crowds = {
        f"{module_name(path)}.{name}": count
        for path in SOURCE.rglob("*.py")
        for name, count in parameters(path.read_text(encoding="utf-8")).items()
        if count > MOST_PARAMETERS
    }
    assert crowds.keys() <= DOORS, "group them into the request they belong to"


def test_the_front_doors_mirror_their_request() -> None:
    """`run` takes what `prepare` and `attach` take, with the same defaults, and adapters beside it."""
    from dfprompt.conditioning.call import CallRequest
    from dfprompt.conditioning.run import run

    asked = inspect.signature(CallRequest).parameters
    taken = {name: each for name, each in inspect.signature(run).parameters.items() if name != "prompt"}
    assert taken.keys() - asked.keys() == {"loras", "call"}
    for name in taken.keys() & asked.keys():
        assert taken[name].default is asked[name].default, name


def test_the_drawing_is_what_the_linter_checks() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    checked = [{name.strip().removeprefix("dfprompt.") for name in layer.split("|")} for layer in layers]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"## The floors\n.*?```\n(.*?)```", page, re.DOTALL)
    drawn = [set(re.split(r"\s*\|\s*", line.split("  ")[0].strip())) for line in drawing.splitlines()]
    assert drawn == checked


def rooms() -> set[str]:
    """The folders of the package, and the modules beside them."""
    inside = [path for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return {path.stem for path in inside if not path.stem.startswith("__")}


AT_HOME = {
    "diffusers": {"conditioning", "pipeline"},
    "matplotlib": {"evaluation"},
    "starlette": {"web"},
    "ray": {"executor"},
}


@pytest.mark.parametrize("library", AT_HOME)
def test_a_library_is_kept_out_of_every_room_but_its_own(library: str) -> None:
    """A list in pyproject.toml that lags behind the rooms would let a new one in."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    wide = (each for each in contracts if library in each.get("forbidden_modules", ()))
    listed = max((each["source_modules"] for each in wide), key=len)
    named = {name.removeprefix("dfprompt.") for name in listed if name.startswith("dfprompt.")}
    assert named == rooms() - AT_HOME[library]


def test_every_room_has_its_part_of_the_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^### (.*)$", page, re.MULTILINE))))
    assert rooms() <= headings


@pytest.mark.few(3)
@pytest.mark.parametrize("case", range(7))
def test_a_few_of_many_cases_are_left_to_make_test(request: pytest.FixtureRequest, case: int) -> None:
    assert (request.node.get_closest_marker("nightly") is None) == (case in (0, 2, 4))
    assert request.node.get_closest_marker("slow") is None  # other versions of the libraries try them all


@pytest.mark.few("sd1", "sdxl")
@pytest.mark.parametrize("case", ["sd1-img2img", "sd15", "sdxl", "flux"])
def test_cases_are_left_by_their_names(request: pytest.FixtureRequest, case: str) -> None:
    assert (request.node.get_closest_marker("nightly") is None) == (case in ("sd1-img2img", "sdxl"))
