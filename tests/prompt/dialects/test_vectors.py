"""What other tools read in 4,200 prompts, by their own parsers, against what dfprompt reads and writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.errors import DFPromptError
from dfprompt.prompt import parse_prompt
from dfprompt.prompt.dialects import export_prompt, import_prompt
from vector_files import DIALECTS, REASONS, count, load, outcome, read, same, steps_of

pytestmark = pytest.mark.filterwarnings("ignore::dfprompt.errors.DFPromptWarning")
DOCS = Path(__file__).parents[3] / "docs" / "dialects.md"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_text_is_read_as_the_tool_reads_it_or_refused_for_a_true_reason(dialect: str) -> None:
    found, _ = count(dialect)
    assert set(found) <= {"same", *REASONS}, dict(found)
    assert found.total() >= 600
    assert found["same"] > 0.7 * found.total()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_written_is_read_by_the_tool_as_the_prompt_says(dialect: str) -> None:
    _, written = count(dialect)
    assert set(written) == {"same"}
    assert written.total() >= 300


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_texts_of_the_vectors_are_still_what_is_written(dialect: str) -> None:
    """A writer that changes needs vectors made again: the tool has not read its new texts yet."""
    _, vectors = load(dialect)
    for vector in vectors:
        if "prompt" in vector:
            exported = export_prompt(parse_prompt(vector["prompt"]), dialect, 10)
            assert (exported.text, exported.lost) == (vector["text"], ())


@pytest.mark.parametrize("dialect", ["a1111", "comfyui", "swarmui"])
@pytest.mark.few("a1111", "comfyui")
def test_a_text_read_and_written_again_says_the_same_or_names_the_loss(dialect: str) -> None:
    _, vectors = load(dialect)
    compared = 0
    for vector in vectors[:400]:
        if "prompt" in vector or "read" not in vector:
            continue
        try:
            prompt = read(dialect, vector)
            exported = export_prompt(prompt, dialect, vector["steps"])
            back = import_prompt(exported.text, dialect, vector["steps"]).prompt
        except DFPromptError:
            continue
        if not exported.lost:
            compared += 1
            assert same(steps_of(back, vector["steps"]), vector), vector["text"]
    assert compared > 150


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_documented_table_is_what_the_vectors_give(dialect: str) -> None:
    found, written = count(dialect)
    refused = found.total() - found["same"]
    row = f"| `{dialect}` | {found.total()} | {found['same']} | {refused} | 0 | {written.total()} | 0 |"
    assert row in DOCS.read_text(encoding="utf-8"), row


def test_a_vector_that_is_changed_is_noticed() -> None:
    _, vectors = load("a1111")
    vector = next(each for each in vectors if "read" in each and each["read"][0][1] and "prompt" not in each)
    last, pieces = vector["read"][0]
    assert outcome("a1111", vector) == "same"
    for changed in (
        [[f"{words}x", weight] for words, weight in pieces],
        [[words, weight + 0.01] for words, weight in pieces],
    ):
        assert outcome("a1111", {**vector, "read": [[last, changed], *vector["read"][1:]]}) == "different"
