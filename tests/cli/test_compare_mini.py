"""`dfprompt compare` as a stranger runs it: the packaged mini world, its policy and judge, no option."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

PROMPT = "an orange mushroom in a forest"


class _Outward(HTMLParser):
    """Scripts, and what a page would ask another place for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed"):
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (value or "").startswith(("http:", "https:", "//", "javascript:")):
                self.found.append(f"{tag} {name}={value}")


@pytest.mark.slow
def test_compare_on_mini_needs_no_option_and_what_it_names_opens(
    cli: Callable[..., object], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    ran = cli("compare", PROMPT, "--seeds", "2", "--output", str(output), "--json")
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["dfprompt"] == 1
    named = [Path(value) for value in _strings(answer) if value.startswith(str(output))]
    assert {path.suffix for path in named} >= {".png", ".html"}
    for path in named:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
                assert min(picture.size) >= 64
    page = _Outward()
    page.feed((output / "report.html").read_text(encoding="utf-8"))
    assert page.found == []
    rewrites = {value for value in _strings(answer) if value.startswith(PROMPT + ", ")}
    assert rewrites, "the mini policy adds something to this prompt"


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [each for one in value.values() for each in _strings(one)]
    if isinstance(value, list):
        return [each for one in value for each in _strings(one)]
    return []
