"""Fidelity by atoms: yes/no questions about a picture, asked one by one, and the share that is shown.

Questions come with a prompt's record, in three forms: GenEval 2's ("vqa_list": pairs of question and answer),
DSG's ("qid2question" and "qid2dependency", as its code has them; its table of annotations is read by
`read_dsg`), and ours ("questions": texts, or {"question", "answer", "id", "dependency"}).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dfprompt.errors import InputError, RewardError
from dfprompt.excerpt import quote
from dfprompt.rewards.contract import Records, check_scores
from dfprompt.rewards.scores import Score
from dfprompt.rewards.tower import ImageBatch
from dfprompt.storage import iter_user_lines

YES = "yes"
_SHOWN = 0.5  # from this probability on an atom counts as shown for those that depend on it
_DSG = ("item_id", "text", "proposition_id", "dependency", "question_natural_language")


@dataclass(frozen=True)
class Atom:
    """One question and the answer that shows what was asked; `parents` are atoms it depends on."""

    question: str
    answer: str = YES
    name: str = ""
    parents: tuple[str, ...] = ()


class VisualAnswers(Protocol):
    """Any model that answers questions about pictures.

    images: (B, 3, H, W) in [0, 1]; questions and answers: B texts. Returns (B,): how probable each answer is.
    """

    def __call__(self, images: Tensor, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Return the probability of each answer to its own question about its own picture."""
        ...


def atoms_of(record: Mapping[str, Any]) -> list[Atom]:
    """Return a record's atoms; raises RewardError for a record without any, and for one that is damaged.

    >>> atoms_of({"vqa_list": [["How many pigs are in the image?", "one"]]})[0].answer
    'one'
    """
    try:
        atoms = _read(record)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise RewardError(f"the questions of a prompt cannot be read: {error}") from error
    if not atoms:
        raise RewardError('a prompt has no questions: neither "questions", "vqa_list" nor "qid2question"')
    known = {atom.name for atom in atoms}
    for atom in atoms:
        if not atom.question.strip() or not atom.answer.strip():
            raise RewardError(f"a question without text or answer: {quote(atom.question)}")
        if lost := [parent for parent in atom.parents if parent not in known]:
            raise RewardError(f"{quote(atom.question)} depends on {quote(lost[0])}, which is no question")
    return atoms


def _read(record: Mapping[str, Any]) -> list[Atom]:
    if "vqa_list" in record:
        return [Atom(str(q), str(a), str(at)) for at, (q, a) in enumerate(record["vqa_list"])]
    if "qid2question" in record:
        needs = {str(key): value for key, value in record.get("qid2dependency", {}).items()}
        return [
            Atom(str(text), YES, str(key), _parents(needs.get(str(key), ())))
            for key, text in record["qid2question"].items()
        ]
    found = []
    for at, each in enumerate(record.get("questions", ()), 1):
        if isinstance(each, str):
            found.append(Atom(each, YES, str(at)))
            continue
        name, answer = str(each.get("id", at)), str(each.get("answer", YES))
        found.append(Atom(str(each["question"]), answer, name, _parents(each.get("dependency", ()))))
    return found


def _parents(told: Any) -> tuple[str, ...]:
    """Read what an atom depends on: a list, or DSG's text "1,3"; 0 is none."""
    parts = str(told).split(",") if isinstance(told, str | int) else [str(each) for each in told]
    return tuple(part.strip() for part in parts if part.strip() not in ("", "0"))


class AtomicScore(Score):
    """The share of a prompt's atoms that a picture shows, in [0, 1], by any model that answers questions.

    The mean probability of the right answers (Soft-TIFA, GenEval 2); an atom counts 0 where one it depends on
    is not shown (DSG: the red of a house that is not there). A prompt's questions are in its record.
    """

    measures = "fidelity"

    def __init__(self, answers: VisualAnswers, name: str = "atoms", batch_size: int = 32) -> None:
        super().__init__(name)
        self.answers, self.batch_size = answers, batch_size

    @property
    def family(self) -> str:
        """What answers: another model is another family."""
        return f"atoms by {getattr(self.answers, '__name__', type(self.answers).__name__)}"

    def bounds(self) -> tuple[float, float]:
        """A share's."""
        return 0.0, 1.0

    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """Ask every question of every row, a few at a time."""
        told = zip(prompts, records or [{}] * len(prompts), strict=True)
        atoms = [self.atoms(prompt, record) for prompt, record in told]
        asked = [(row, atom) for row, listed in enumerate(atoms) for atom in listed]
        found: list[float] = []
        for start in range(0, len(asked), self.batch_size):
            found += self._ask(batch.images, asked[start : start + self.batch_size])
        given = iter(found)
        return torch.tensor([_share(listed, [next(given) for _ in listed]) for listed in atoms])

    def atoms(self, prompt: str, record: Mapping[str, Any]) -> list[Atom]:
        """Return what is asked about the pictures of a prompt."""
        try:
            return atoms_of(record)
        except RewardError as error:
            raise RewardError(f"{quote(prompt)}: {error}") from error

    def _ask(self, images: Tensor, asked: Sequence[tuple[int, Atom]]) -> list[float]:
        some = images[[row for row, _ in asked]]
        texts, answers = [atom.question for _, atom in asked], [atom.answer for _, atom in asked]
        try:
            given = torch.as_tensor(self.answers(some.clone(), texts, answers))
        except RewardError:
            raise
        except Exception as error:  # foreign code may raise anything; it is raised again, chained
            raise RewardError(f"{self.family} crashed: {type(error).__name__}: {error}") from error
        return [float(each) for each in check_scores(given, some, self.family, low=0.0, high=1.0)]


def _share(atoms: Sequence[Atom], given: Sequence[float]) -> float:
    shown = {atom.name: value >= _SHOWN for atom, value in zip(atoms, given, strict=True)}
    counted = (
        value if all(shown[parent] for parent in atom.parents) else 0.0
        for atom, value in zip(atoms, given, strict=True)
    )
    return sum(counted) / len(atoms)


def read_dsg(source: str | Path) -> list[dict[str, Any]]:
    """Read DSG's table of annotations as rows {"prompt", "id", "questions"} of a prompt file.

    Raises InputError for a table of another kind.
    """
    path = Path(source)
    try:
        rows = list(csv.DictReader(iter_user_lines(path, newline="")))
    except csv.Error as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not rows or any(name not in rows[0] for name in _DSG):
        raise InputError(
            f"{path} is no table of DSG: it needs the columns {', '.join(_DSG)} "
            "(prompts alone: one per line of a .txt file)"
        )
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        new: dict[str, Any] = {"prompt": row["text"], "id": row["item_id"], "questions": []}
        entry = found.setdefault(row["item_id"], new)
        entry["questions"].append(
            {
                "question": row["question_natural_language"],
                "id": row["proposition_id"],
                "dependency": row["dependency"],
            }
        )
    return list(found.values())
