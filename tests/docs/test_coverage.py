"""Every public name and every command appears on a page, and the help on paper is the help on screen."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import dfprompt

ROOT = Path(__file__).resolve().parents[2]
DOCS = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("name", [name for name in dfprompt.__all__ if not name.startswith("_")])
def test_every_public_name_is_on_a_page(name: str) -> None:
    assert re.search(rf"\b{name}\b", DOCS), f"{name} is public and no page of docs/ names it"


@pytest.mark.parametrize("name", dfprompt.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(dfprompt, name) is not None
    assert name in dir(dfprompt)


def test_an_unknown_name_is_an_attribute_error_that_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dfprompt.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'parse_prompt'"):
        dfprompt.parse_promt  # noqa: B018


def test_the_whole_error_tree_is_public() -> None:
    from dfprompt import errors

    kinds = {
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, dfprompt.DFPromptError)
    }
    assert kinds <= set(dfprompt.__all__)


def test_a_type_checker_sees_real_names_only() -> None:
    source = (ROOT / "src" / "dfprompt" / "__init__.py").read_text(encoding="utf-8")
    for name in dfprompt.__all__:
        if name != "__version__":
            assert f" import {name} as {name}\n" in source
    assert re.search(r"^if not TYPE_CHECKING:.*\n\n    def __getattr__", source, re.MULTILINE)


@pytest.mark.parametrize("call", ["load_pipeline", "generate_images", "load_policy", "load_reward"])
def test_unknown_keywords_are_answered_with_the_nearest(call: str) -> None:
    with pytest.raises(dfprompt.ConfigError, match=f"{call} takes no devise; did you mean"):
        getattr(dfprompt, call)("mini", devise="cpu")


def test_the_logger_tells_what_is_loaded_only_to_who_asks(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    assert [type(each) for each in logging.getLogger("dfprompt").handlers] == [logging.NullHandler]
    with caplog.at_level(logging.INFO, logger="dfprompt"):
        dfprompt.generate_images("a red house in the snow", seeds=[0], settings={"num_inference_steps": 1})
    said = [record.getMessage() for record in caplog.records if record.name.startswith("dfprompt")]
    assert any("drew 1 pictures with mini" in each for each in said)


@pytest.mark.parametrize(
    ("page", "target"),
    [("cli", "cli-page"), ("settings", "settings-page"), ("api", "api-page"), ("gallery", "pictures")],
    ids=["cli", "settings", "api", "gallery"],
)
def test_pages_that_are_written_by_the_code_are_as_it_writes_them(page: str, target: str) -> None:
    location = next((ROOT / ".ci").glob(f"write_{page}*.py"))
    spec = importlib.util.spec_from_file_location(location.stem, location)
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    written = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert written == writer.page(), f"docs/{page}.md is out of date: make {target}"


def test_the_picture_on_the_front_page_is_the_programs_own(cli, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    prompt = page.split("```text\n", 1)[1].split("\n", 1)[0]
    drawn = tmp_path / "plan.svg"
    assert cli("plan", prompt, "--steps", "10", "--svg", str(drawn)).returncode == 0
    kept = (ROOT / "docs" / "images" / "plan.svg").read_text(encoding="utf-8")
    assert kept == drawn.read_text(encoding="utf-8")
