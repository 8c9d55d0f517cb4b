"""What an evaluation's folder holds: evaluation.json, so that a resumed run adds to the same experiment.

evaluation.json    the pipeline, its settings, the scores, what each method is
rows.jsonl         one row per picture kept
rewrites/          every method's rewrites
pictures/          the pictures, by method
tables/            the tables, written anew by every run
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfprompt.config import collect_provenance
from dfprompt.errors import EvaluationError
from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.methods import Method
from dfprompt.excerpt import quote

MANIFEST, ROWS, REWRITES, PICTURES, TABLES = (
    "evaluation.json",
    "rows.jsonl",
    "rewrites",
    "pictures",
    "tables",
)
_FIXED = ("model", "settings", "negative_prompt", "scores", "rewrite_seed")


def open_manifest(folder: Path, asked: Mapping[str, Any], methods: Sequence[Method]) -> None:
    """Begin an evaluation in a folder, or check that the one in it is the same experiment.

    More prompts, seeds and methods may be added to it; another pipeline, setting or score, or another
    method under a known name, raises EvaluationError naming what differs.
    """
    path = folder / MANIFEST
    definitions = {method.name: method.definition for method in methods}
    before = read_manifest(folder)
    if before is None:
        if (folder / ROWS).exists():
            raise EvaluationError(f"{folder} holds rows and no {MANIFEST}; choose another --output")
    else:
        changed = [name for name in _FIXED if before.get(name) != asked.get(name)]
        known: Mapping[str, str] = before.get("methods", {})
        changed += [f"method {name}" for name, text in definitions.items() if known.get(name, text) != text]
        if changed:
            raise EvaluationError(
                f"{folder} holds another evaluation: {', '.join(changed)} differ"
                f"{_example(before, asked, changed[0])}; choose another --output"
            )
        definitions = {**known, **definitions}
        if definitions == dict(known):
            return
    values = {"dfprompt": 1, **asked, "methods": definitions, "provenance": collect_provenance()}
    write_text(path, json.dumps(values, indent=1) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return what evaluation.json says, None where there is none; raises EvaluationError if it is damaged."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EvaluationError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise EvaluationError(f"{path} is damaged: expected an object")
    return values


def _example(before: Mapping[str, Any], asked: Mapping[str, Any], name: str) -> str:
    if name not in _FIXED:
        return ""
    return f" ({name}: {quote(json.dumps(before.get(name)), 80)}, now {quote(json.dumps(asked[name]), 80)})"
