"""No page is out of reach, no link leads nowhere or away, and the changelog is dated."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

import dfprompt

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in links(page) if not (page.parent / link).exists()]
    assert missing == []


def test_every_page_is_in_reach_of_the_first() -> None:
    reached, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [page.parent / link for link in links(page)]
    assert {page.resolve() for page in DOCS} <= reached


def test_every_recipe_is_on_a_page() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS)
    assert [path.stem for path in (ROOT / "recipes").iterdir() if path.stem not in text] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda page: page.name)
def test_no_page_needs_another_projects_page(page: Path) -> None:
    """What a reader must know stands here: no page sends to another site."""
    text = re.sub(
        r"^```.*?^```$|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    assert re.findall(r"\]\(\w+://[^)]*\)|<https?://[^>]*>", text) == []
    assert "see the documentation of" not in text.lower()


def test_the_newest_version_of_the_changelog_is_this_one_and_dated() -> None:
    heads = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    newest = next(head for head in heads if head != "Unreleased")
    found = re.fullmatch(r"(\S+) \((\d{4}-\d{2}-\d{2})\)", newest)
    assert found is not None, newest
    assert found[1] == dfprompt.__version__
    assert datetime.date.fromisoformat(found[2])
