"""The requirements of pyproject.toml at one end of their ranges: `version_ranges.py newest|lowest`.

The lowest versions of the core are asked for exactly; torch is the pinned one, for older ones lack builds for
every Python; what only tests need is pinned by constraints.txt as elsewhere.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("pytest", "pytest-timeout", "pytest-socket", "pytest-xdist", "hypothesis", "scipy", "sentencepiece")
_LOWEST = re.compile(r"^([A-Za-z0-9_.-]+).*?>=\s*([0-9][0-9.]*)")


def read_requirements() -> list[str]:
    """The core requirements as they stand in pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return [str(each) for each in tomllib.load(file)["project"]["dependencies"]]


def read_pins() -> dict[str, str]:
    """The versions of constraints.txt by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def choose(requirements: list[str], pins: dict[str, str], kind: str) -> list[str]:
    """Lines for pip at one end of the ranges.

    >>> choose(["torch>=2.6", "peft>=0.18,<1"], {"torch": "2.13.0"}, "lowest")[:2]
    ['torch==2.13.0', 'peft==0.18']
    >>> choose(["torch>=2.6", "peft>=0.18,<1"], {"torch": "2.13.0"}, "newest")[:2]
    ['torch==2.13.0', 'peft>=0.18,<1']
    """
    lines = []
    for each in requirements:
        found = _LOWEST.match(each)
        if each.startswith("torch>"):
            lines.append(f"torch=={pins['torch']}")
        elif kind == "lowest" and found:
            lines.append(f"{found[1]}=={found[2]}")
        else:
            lines.append(each)
    return lines + [f"{name}=={pins[name]}" for name in TESTS if name in pins]


def main() -> int:
    """Print the lines."""
    if len(sys.argv) != 2 or sys.argv[1] not in ("newest", "lowest"):
        sys.stderr.write((__doc__ or "").splitlines()[0] + "\n")
        return 2
    sys.stdout.write("\n".join(choose(read_requirements(), read_pins(), sys.argv[1])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
