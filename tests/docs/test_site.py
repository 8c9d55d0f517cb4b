"""The documentation as a site: it builds strictly, and every page fits a phone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsing import CHROMIUM, browser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(page.stem for page in (ROOT / "docs").glob("*.md"))
PHONE = {"width": 390, "height": 844}
# What stands past the edge of a page that scrolls sideways; boxes of their own may.
TOO_WIDE = """() => {
    const wide = document.documentElement.scrollWidth;
    if (wide <= innerWidth) return [];
    const past = [...document.querySelectorAll("article *")].filter(
        (each) => each.getBoundingClientRect().right > innerWidth + 1
            && !each.closest("pre, .md-typeset__scrollwrap"));
    return [`${wide} px`, ...past.slice(0, 3).map((each) => each.outerHTML.slice(0, 160))];
}"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the docs extra"),
    pytest.mark.skipif(not (ROOT / "mkdocs.yml").exists(), reason="needs the repository"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a link or an anchor that leads nowhere stops the build."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return place


def test_the_documentation_builds_strictly(site: Path) -> None:
    assert (site / "index.html").exists()


def test_a_link_to_an_anchor_that_is_not_there_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Here\n\n[there](#nowhere)\n")
    rules = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nvalidation:")[2]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nvalidation:{rules}")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "#nowhere" in ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def phone(site: Path) -> Iterator[Any]:
    with browser() as opened:
        page = opened.new_context(viewport=PHONE, device_scale_factor=1).new_page()
        yield page


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.enable_socket
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.few(6)
def test_a_page_fits_a_phone(name: str, site: Path, phone: Any) -> None:
    """Nothing makes the page scroll sideways; tables and code scroll in boxes of their own."""
    path = site / "index.html" if name == "index" else site / name / "index.html"
    phone.goto(path.as_uri(), wait_until="load")
    assert phone.evaluate("document.querySelector('article').innerText.length") > 200
    assert phone.evaluate(TOO_WIDE) == [], f"{name} is wider than a phone"
    phone.evaluate("document.querySelector('article p').style.width = '900px'")
    assert phone.evaluate(TOO_WIDE)[0] != f"{PHONE['width']} px"  # it would have been seen
