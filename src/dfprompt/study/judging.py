"""How often the scores of the evaluation agree with people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfprompt.evaluation.judge_check import JudgeCheck, Pair, check_judge
from dfprompt.measurement.log import ROWS, read_rows
from dfprompt.study.votes import QUESTIONS, Opened, Vote


@dataclass(frozen=True)
class Judged:
    """One score against the answers to one question."""

    question: str
    check: JudgeCheck


def judge_scores(opened: Opened, folder: Path, left_out: Sequence[int] = ()) -> list[Judged]:
    """Return the agreement of every score that all shown pictures have; none where the rows are gone.

    A score agrees with an answer that chose the picture it scored higher; its ties count half, answers of no
    difference are left out. Intervals are over people and prompts both.
    """
    shown = {(row.method, row.prompt_id, row.seed): row.scores for row in read_rows(folder / ROWS)}
    scores = {
        picture: shown.get((str(row["method"]), str(row["prompt_id"]), int(str(row["seed"]))), {})
        for picture, row in opened.shown.items()
    }
    votes = [vote for vote in opened.main if vote.person not in left_out]
    pictures = {picture for vote in votes for picture in vote.pictures}
    every = dict.fromkeys(name for each in scores.values() for name in each)
    names = [name for name in every if all(name in scores[picture] for picture in pictures)]
    found = []
    for question in QUESTIONS:
        pairs = [_pair(vote, question) for vote in votes]
        if all(pair.choice == "tie" for pair in pairs):
            continue
        for name in names:
            values = [(scores[vote.pictures[0]][name], scores[vote.pictures[1]][name]) for vote in votes]
            check = check_judge(name, pairs, values, values, pairs_file=opened.study.folder.name)
            found.append(Judged(question, check))
    return found


def _pair(vote: Vote, question: str) -> Pair:
    choice = {1.0: "a", 0.0: "b"}.get(vote.value(question), "tie")
    places = Path(vote.pictures[0]), Path(vote.pictures[1])
    return Pair(vote.said.trial.prompt, *places, choice, vote.prompt_id, None, str(vote.person), {})
