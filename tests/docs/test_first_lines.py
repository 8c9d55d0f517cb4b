"""The pages by which people come in from other programs begin with a picture and the first command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOORS = [
    "docs/dialects.md",
    "docs/forge.md",
    "docs/hub.md",
    "docs/install.md",
    "docs/language.md",
    "docs/serve.md",
    "docs/studio.md",
    "integrations/comfyui/dfprompt-nodes/README.md",
    "integrations/diffusers/README.md",
]
_PICTURE = re.compile(r"!\[[^]]+\]\(([^)]+)\)")
_COMMAND = re.compile(r"`(dfprompt\s\w[^`]*|pip install [^`]+|dfprompt\.\w+\([^`]+\))`")


@pytest.mark.parametrize("door", DOORS)
def test_a_picture_and_the_first_command_stand_in_the_first_five_lines(door: str) -> None:
    page = ROOT / door
    first = "\n".join(page.read_text(encoding="utf-8").splitlines()[:5])
    pictures = _PICTURE.findall(first)
    assert len(pictures) == 1, first
    assert (page.parent / pictures[0]).is_file()
    assert _COMMAND.search(first), first


def test_every_door_among_the_integrations_is_named() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "integrations").rglob("README.md")}
    assert found <= set(DOORS)
