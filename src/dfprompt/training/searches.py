"""What searches and evaluations have shown, read from their logs: words, controls, and what they brought.

A picture of a rewrite and the plain picture of the same noise are one answer: by how much the reward differs.
Words are compared as bags of words: no language model is needed to learn from a folder of searches.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfprompt.errors import DFPromptError
from dfprompt.measurement.rows import Row
from dfprompt.policy.bans import split_words
from dfprompt.policy.tables import ControlTables
from dfprompt.prompt import Span
from dfprompt.prompt.parser import read_back
from dfprompt.training.phrases import Phrases


@dataclass(frozen=True)
class Answer:
    """What a rewrite's picture brought over the plain one's of the same noise."""

    prompt: str
    modifiers: tuple[Span, ...]
    gain: float


def read_answers(
    rows: Iterable[Row], reward: str, tables: ControlTables
) -> tuple[list[Answer], Counter[str]]:
    """Return what rows of a log show in the score `reward`, and how many could not be read, by why.

    Left out are rows without the score or without a plain picture of their noise, rewrites that are more than
    the prompt with modifiers behind it, and controls that are none of the table's.
    """
    listed = [row for row in rows if reward in row.scores and row.df_prompt is not None]
    plain = {
        (row.prompt, row.noise): row.scores[reward]
        for row in listed
        if _modifiers(row.prompt, str(row.df_prompt)) == ()
    }
    found: list[Answer] = []
    left: Counter[str] = Counter()
    for row in listed:
        spans = _modifiers(row.prompt, str(row.df_prompt))
        if spans == ():
            continue
        base = plain.get((row.prompt, row.noise))
        if spans is None:
            left["other words than modifiers behind the prompt"] += 1
        elif base is None:
            left["no plain picture of the same noise"] += 1
        elif not all(_in(tables, span) for span in spans):
            left["ranges or weights of no table"] += 1
        else:
            found.append(Answer(row.prompt, spans, row.scores[reward] - base))
    return found, left


def _modifiers(plain: str, written: str) -> tuple[Span, ...] | None:
    """The modifiers behind a prompt's words; None where the words are others."""
    try:
        prompt = read_back(written)
    except DFPromptError:
        return None
    if prompt.plain_text[: len(plain)] != plain:
        return None
    found: list[Span] = []
    left = len(plain)
    for piece in prompt.spans:
        text = piece if isinstance(piece, str) else piece.text
        words, left = text[left:] if left else text, max(0, left - len(text))
        if isinstance(piece, Span):
            if words != piece.text:
                return None
            found.append(piece)
        else:
            found += [Span(each.strip()) for each in words.replace(";", ",").split(",") if each.strip()]
    return tuple(found)


def _in(tables: ControlTables, span: Span) -> bool:
    return span.effect_range in tables.ranges and span.weight in tables.weights


class WordBags:
    """Features of prompts and modifiers: bags of words of length 1, rare words of prompts weighing more.

    `phrases` are the modifiers known; `weights` of a prompt's words say how much each tells.
    """

    def __init__(self, phrases: Sequence[str], weights: Mapping[str, float]) -> None:
        self.phrases, self.weights = tuple(phrases), dict(weights)
        self._of_prompts = {word: place for place, word in enumerate(self.weights)}
        words = dict.fromkeys(word for phrase in self.phrases for word in split_words(phrase))
        self._of_phrases = {word: place for place, word in enumerate(words)}
        self.size = max(len(self._of_prompts), len(self._of_phrases), 1)

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> WordBags:
        """Those of everything that was tried; a prompt's word in share s of the prompts weighs log(1 / s)."""
        phrases = dict.fromkeys(span.text for each in answers for span in each.modifiers)
        prompts = [set(split_words(text)) for text in dict.fromkeys(each.prompt for each in answers)]
        counts = Counter(word for words in prompts for word in words)
        return cls(
            list(phrases),
            {word: math.log((1 + len(prompts)) / count) for word, count in sorted(counts.items())},
        )

    def phrase(self, text: str) -> Tensor:
        """A modifier as a vector of length 1, 0 where no word is known."""
        return _bag(split_words(text), self._of_phrases, dict.fromkeys(self._of_phrases, 1.0))

    def prompt(self, text: str) -> Tensor:
        """A prompt as a vector of length 1, 0 where no word is known."""
        return _bag(split_words(text), self._of_prompts, self.weights)

    def describe(self, rows: Sequence[tuple[str, Sequence[str], Sequence[int]]], most: int) -> Phrases:
        """The phrases of rows (prompt, modifiers, controls by number), at most `most` each, as a critic sees
        them."""
        states, words = (torch.zeros(len(rows), most, self.size) for _ in range(2))
        controls, mask = torch.zeros(len(rows), most, dtype=torch.long), torch.zeros(len(rows), most).bool()
        for at, (prompt, phrases, drawn) in enumerate(rows):
            count = len(phrases)
            if count:
                told = self.prompt(prompt)
                states[at, :count, : len(told)] = told
                bags = torch.stack([self.phrase(each) for each in phrases])
                words[at, :count, : bags.shape[1]] = bags
                controls[at, :count] = torch.tensor(drawn)
                mask[at, :count] = True
        company = (words.sum(1, keepdim=True) - words) * mask[..., None]
        return Phrases(
            states, words, company, controls, torch.zeros_like(controls), mask, torch.zeros(len(mask), 0)
        )


def _bag(words: Iterable[str], places: Mapping[str, int], weights: Mapping[str, float]) -> Tensor:
    found = torch.zeros(len(places))
    for word in words:
        if word in places:
            found[places[word]] += weights[word]
    return found / found.norm().clamp_min(1e-9)


def control_of(tables: ControlTables, span: Span) -> int:
    """The number of a span's control: range * weights + weight."""
    return tables.ranges.index(span.effect_range) * len(tables.weights) + tables.weights.index(span.weight)
