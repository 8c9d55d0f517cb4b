"""The vectors of other tools, and what dfprompt makes of them: same, refused for a reason, or different."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from dfprompt.errors import DFPromptError
from dfprompt.prompt import DFPrompt, make_plan, parse_prompt
from dfprompt.prompt.dialects import import_prompt

FOLDER = Path(__file__).parent / "vectors"
DIALECTS = ("a1111", "comfyui", "swarmui", "compel")
Letters = list[tuple[str, float]]

# A refusal has one of these reasons, and each is true of the text it is given for.
REASONS = {
    "several prompts or pictures": ("AND cannot", "conditioning of several", ".blend()", ".and()", ".swap()"),
    "a function or a macro": (
        *("is a function", "leave out the whole prompt", "in a macro", "the macro's name", "needs it"),
    ),
    "a weight beyond 10": ("go from -10 to 10", "beyond 1,000,000"),
    "a number that the tool stops at": ("not a number", "stops at"),
    "the tool's grammar has two readings": ("may take the schedule for words",),
    "BREAK inside brackets": ("out of the brackets",),
    "inner control as words": (
        "square brackets are",
        "a backslash before",
        "a tag within",
        "eats backslashes",
    ),
    "left out by the tool": ("leaves out a <fromto>",),
}


@cache
def load(dialect: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head of a file and its vectors."""
    lines = (FOLDER / f"{dialect}.jsonl").read_text(encoding="utf-8").splitlines()
    head, *vectors = map(json.loads, lines)
    return head, vectors


def letters(pieces: list[tuple[str, float]]) -> Letters:
    """Every letter with its weight, spaces, separators and empty brackets aside; weight 0 is no letter."""
    found: Letters = []
    for text, weight in pieces:
        for letter in text:
            if abs(weight) <= 1e-6 or letter.isspace() or letter in ",;.":
                continue
            if found and found[-1][0] + letter in ("()", "[]", "{}"):
                found.pop()
            else:
                found.append((letter, weight))
    return found


def steps_of(prompt: DFPrompt, steps: int) -> list[Letters]:
    """What runs at every step of a prompt."""
    table = []
    for planned in make_plan(prompt, steps).steps:
        weights = [1.0] * len(planned.text)
        for part in planned.weights:
            weights[part.start : part.end] = [float(part.weight)] * (part.end - part.start)
        table.append(letters(list(zip(planned.text, weights, strict=True))))
    return table


def same(ours: list[Letters], vector: dict[str, Any]) -> bool:
    """Whether every step has the vector's letters, and its weights to four places."""
    rows = iter(vector["read"])
    last, pieces = next(rows)
    theirs = letters(pieces)
    for step, found in enumerate(ours):
        while step > last:
            last, pieces = next(rows)
            theirs = letters(pieces)
        if [letter for letter, _ in found] != [letter for letter, _ in theirs]:
            return False
        if any(abs(x - y) > 1e-4 for (_, x), (_, y) in zip(found, theirs, strict=True)):
            return False
    return True


def read(dialect: str, vector: dict[str, Any]) -> DFPrompt:
    """What dfprompt reads; prompt-control was asked without a number of steps."""
    return import_prompt(vector["text"], dialect, None if dialect == "comfyui" else vector["steps"]).prompt


def outcome(dialect: str, vector: dict[str, Any]) -> str:
    """`same`, the reason of a refusal, or what went wrong."""
    if "prompt" in vector:
        return _written(vector)
    try:
        prompt = read(dialect, vector)
    except DFPromptError as error:
        fitting = [name for name, marks in REASONS.items() if any(mark in str(error) for mark in marks)]
        return fitting[0] if fitting else f"refused without a true reason: {error}"
    if "read" not in vector:
        return f"read, though it is {vector['not_one_prompt']} to the tool"
    return "same" if same(steps_of(prompt, vector["steps"]), vector) else "different"


def _written(vector: dict[str, Any]) -> str:
    """A DF-Prompt that was written with nothing lost, and what the tool read in the text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prompt = parse_prompt(vector["prompt"])
    if "read" not in vector:
        return f"written, though it is {vector['not_one_prompt']} to the tool"
    return "same" if same(steps_of(prompt, vector["steps"]), vector) else "different"


def count(dialect: str) -> tuple[Counter[str], Counter[str]]:
    """The outcomes of reading and of writing."""
    _, vectors = load(dialect)
    read: Counter[str] = Counter()
    written: Counter[str] = Counter()
    for vector in vectors:
        (written if "prompt" in vector else read)[outcome(dialect, vector)] += 1
    return read, written
