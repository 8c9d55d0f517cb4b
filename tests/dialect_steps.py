"""Step tables to compare dialects by: at every step the words that run, each with its weight."""

from __future__ import annotations

import re

from dfprompt.prompt import DFPrompt, make_plan

Step = list[tuple[str, float]]


def steps_of(prompt: DFPrompt, steps: int) -> list[Step]:
    """The words of a DF-Prompt's plan; separators are left aside."""
    table = []
    for planned in make_plan(prompt, steps).steps:
        weights = [1.0] * len(planned.text)
        for part in planned.weights:
            weights[part.start : part.end] = [float(part.weight)] * (part.end - part.start)
        table.append(words_of([(planned.text[i], weights[i]) for i in range(len(weights))]))
    return table


def words_of(pieces: list[tuple[str, float]]) -> Step:
    """Words out of weighted pieces of text: a word has the weight of its first letter."""
    letters = [(letter, weight) for text, weight in pieces for letter in text]
    return [
        (match[0], round(letters[match.start()][1], 5))
        for match in re.finditer(r"[^\s,;.]+", "".join(letter for letter, _ in letters))
    ]
