"""Build the two wheels of one source: `dfprompt-language`, pure Python, and `dfprompt`, which depends on it.

    python .ci/build_distributions.py dist

An index shows README without the repository: pictures and links of its copy are absolute (`index_readme`).
They share nothing but their version: each file of src/dfprompt is in one of them. An install from a checkout
(`pip install .`) needs no such split and holds everything.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).resolve().parent.parent
# What is pure Python and needs no other distribution; everything else is dfprompt's.
LANGUAGE = ("__init__.py", "errors.py", "excerpt.py", "py.typed", "prompt")
NAME = "dfprompt-language"
_IGNORED = shutil.ignore_patterns("__pycache__")


def main() -> int:
    """Write both wheels into the folder named."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    only = sys.argv[2:] or [NAME, "dfprompt"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    source = (ROOT / "src" / "dfprompt" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"', source, re.MULTILINE)
    assert version is not None
    for name in only:
        described = language(project) if name == NAME else whole(project, version[1])
        described["project"] |= {"version": version[1]}
        described["project"].pop("dynamic", None)
        build(described, language=name == NAME, out=out)
    return 0


def files_at() -> str:
    """The address that README's files have on the web, or nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["tool"]["dfprompt"]["files"])


def index_readme(text: str, base: str) -> str:
    """README as an index shows it: absolute pictures and links; without an address no pictures, and words.

    >>> index_readme("See [one](docs/a.md).", "https://a.org/"), index_readme("See [one](docs/a.md).", "")
    ('See [one](https://a.org/docs/a.md).', 'See one.')
    """
    if not base:
        text = re.sub(r"^<img [^>]*>\n+", "", text, flags=re.MULTILINE)
        return re.sub(r"!?\[([^]]*)\]\((?!\w+:)[^)]*\)", r"\1", text)
    text = re.sub(r'(<img src=")(?!\w+:)', rf"\g<1>{base}", text)
    return re.sub(r"(\]\()(?!\w+:|#)", rf"\g<1>{base}", text)


def language(project: dict[str, Any]) -> dict[str, Any]:
    """The description of the language alone: no dependencies, no commands."""
    kept = ("readme", "license", "license-files", "requires-python", "authors", "keywords", "classifiers")
    said = {key: project["project"][key] for key in kept}
    said |= {
        "name": NAME,
        "description": "The DF-Prompt language of dfprompt: parse, plan, convert; pure Python.",
    }
    return {"build-system": project["build-system"], "project": {**said, "dependencies": []}, **_wheel()}


def whole(project: dict[str, Any], version: str) -> dict[str, Any]:
    """The description of dfprompt, whose language comes from the other wheel."""
    said = dict(project["project"])
    said["dependencies"] = [f"{NAME}=={version}", *said["dependencies"]]
    return {"build-system": project["build-system"], "project": said, **_wheel()}


def _wheel() -> dict[str, Any]:
    # `dfprompt` without its __init__.py is a folder like any other to the builder.
    return {
        "tool": {
            "hatch": {"build": {"targets": {"wheel": {"only-include": ["src/dfprompt"], "sources": ["src"]}}}}
        }
    }


def build(described: dict[str, Any], *, language: bool, out: Path) -> None:
    """Put the files of one distribution side by side and build its wheel."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "pyproject.toml").write_text(tomli_w.dumps(described), encoding="utf-8")
        readme = index_readme((ROOT / "README.md").read_text(encoding="utf-8"), files_at())
        (place / "README.md").write_text(readme, encoding="utf-8")
        shutil.copy2(ROOT / "LICENSE", place / "LICENSE")
        if not language:
            shutil.copytree(ROOT / "recipes", place / "src" / "dfprompt" / "recipes", ignore=_IGNORED)
        for path in sorted((ROOT / "src" / "dfprompt").iterdir()):
            if path.name == "__pycache__" or (path.name in LANGUAGE) != language:
                continue
            target = place / "src" / "dfprompt" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, ignore=_IGNORED)
            else:
                shutil.copy2(path, target)
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(out),
            str(place),
        ]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
