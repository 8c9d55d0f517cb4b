"""The rewrites of every method, kept beside the rows: a resumed run draws the same words again."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfprompt.errors import EvaluationError
from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.methods import Method, is_free, rewrite_checked
from dfprompt.measurement.places import file_name
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.prompt import DFPrompt
from dfprompt.storage import read_json, undamaged


@dataclass
class Rewrites:
    """One method's rewrites by prompt id, what failed, and the seconds it took to write them."""

    prompts: dict[str, DFPrompt] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class RewriteStore:
    """Keeps a JSON file per method in a folder; what failed is tried again by the next run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, method: Method, prompts: Sequence[PlainPrompt], seed: int) -> Rewrites:
        """Return a rewrite or a failure for every prompt, asking the method for what is not kept yet.

        Of a method whose rewrites are known by their own words, what it says now holds.
        """
        path = self.folder / f"{file_name(method.name)}.json"
        kept = Rewrites(seconds=_read(path).seconds) if is_free(method) else _read(path)
        new = [prompt for prompt in prompts if prompt.id not in kept.prompts]
        if not new:
            return kept
        if at_once := int(getattr(method, "at_once", 0)):  # dear to ask: each answer is on the disk at once
            for start in range(0, len(new), at_once):
                self._ask(method, path, kept, new[start : start + at_once], seed)
            return kept
        # What a method does over all prompts, it does over all of them: of some it would be another method.
        asked = list(prompts) if getattr(method, "whole_set", False) else new
        self._ask(method, path, kept, asked, seed)
        return kept

    def _ask(
        self, method: Method, path: Path, kept: Rewrites, asked: Sequence[PlainPrompt], seed: int
    ) -> None:
        """Put what a method says into `kept` and onto the disk."""
        started = time.perf_counter()
        try:
            made = rewrite_checked(method, asked, seed)
            _check_same(method, kept, asked, made)
        except EvaluationError as error:
            new = (prompt for prompt in asked if prompt.id not in kept.prompts)
            kept.failed |= {prompt.id: str(error) for prompt in new}
            return
        kept.seconds += time.perf_counter() - started
        for prompt, rewrite in zip(asked, made, strict=True):
            if isinstance(rewrite, DFPrompt):
                kept.prompts[prompt.id] = rewrite
            else:
                kept.failed[prompt.id] = str(rewrite)
        _write(path, kept)


def _check_same(
    method: Method, kept: Rewrites, asked: Sequence[PlainPrompt], made: Sequence[DFPrompt | EvaluationError]
) -> None:
    """Raise EvaluationError where prompts that were added change the rewrites of those that stand."""
    for prompt, rewrite in zip(asked, made, strict=True):
        if prompt.id in kept.prompts and kept.prompts[prompt.id] != rewrite:
            raise EvaluationError(
                f"{method.name} was chosen over fewer prompts, and over these it is another; evaluate it in "
                "another --output"
            )


def _read(path: Path) -> Rewrites:
    if not path.exists():
        return Rewrites()
    with undamaged(path, "remove it together with the method's rows"):
        values = read_json(path)
        prompts = {key: DFPrompt.from_json(value) for key, value in values["rewrites"].items()}
        return Rewrites(prompts, {}, float(values["seconds"]))


def _write(path: Path, rewrites: Rewrites) -> None:
    values: dict[str, Any] = {
        "dfprompt": 1,
        "seconds": rewrites.seconds,
        "rewrites": {key: prompt.to_json() for key, prompt in rewrites.prompts.items()},
    }
    write_text(path, json.dumps(values) + "\n")
