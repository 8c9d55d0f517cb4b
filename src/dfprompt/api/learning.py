"""`dfprompt learn`: a policy from the logs of searches and evaluations, without any training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.errors import ConfigError, InputError, LoadError
from dfprompt.excerpt import quote
from dfprompt.measurement.log import ROWS, read_asked, read_rows
from dfprompt.policy.tables import RANGES, WEIGHTS, make_tables
from dfprompt.prompt import Span
from dfprompt.requests.doors import front_door
from dfprompt.requests.learn import LearnRequest
from dfprompt.storage import writing_into
from dfprompt.training.learned import LearnedPolicy, is_learned
from dfprompt.training.searches import Answer, read_answers


@dataclass(frozen=True, eq=False)
class LearnRun:
    """What was learnt, from how much, and where it lies."""

    policy: LearnedPolicy
    folder: Path
    reward: str
    logs: int
    pictures: int
    prompts: tuple[str, ...]
    left_out: Counter[str]

    def best_words(self, most: int = 10) -> list[tuple[Span, float]]:
        """The words that bring most on average over the prompts searched, at their best control."""
        return self.policy.best_words(self.prompts)[:most]

    def to_json(self) -> dict[str, Any]:
        """Return policy, reward, logs, pictures, prompts, left_out (by reason) and words (span, gain)."""
        words = [{"span": str(span), "gain": round(gain, 6)} for span, gain in self.best_words()]
        return {
            "policy": str(self.folder),
            "reward": self.reward,
            "logs": self.logs,
            "pictures": self.pictures,
            "prompts": len(self.prompts),
            "left_out": dict(self.left_out),
            "words": words,
        }


@front_door(LearnRequest, "folders", "output")
def learn_policy(request: LearnRequest) -> LearnRun:
    """Fit the critic of controls to everything that folders of `tune` and `evaluate` have drawn.

    `folders` are such folders, or folders above them; `reward` the score learnt from, by default the first
    reward of the first log. Raises InputError for folders without logs, ConfigError for logs of several
    pipelines, of other rewards, or too few pictures; EvaluationError for a damaged log.

    >>> # run = learn_policy(["dfprompt-out"], "my-policy")
    >>> # run.best_words()
    """
    logs = list(find_logs(request.folders))
    asked = [read_asked(log) for log in logs]
    _check_one_pipeline(logs, asked)
    reward = request.reward or _first_reward(asked[0], logs[0])
    folder = Path(request.output)
    if folder.is_dir() and any(folder.iterdir()) and not _is_of_searches(folder):
        raise InputError(f"{folder} holds no policy of searches; choose another --output")
    tables, answers, left = make_tables(RANGES, WEIGHTS), list[Answer](), Counter[str]()
    for log, each in zip(logs, asked, strict=True):
        if "scores" in each and reward not in _table(each, "scores"):
            raise ConfigError(
                f"{log} has no score {quote(reward)} (it has {', '.join(_table(each, 'scores'))}); name one "
                "that all logs have with --reward, or leave the log out"
            )
        found, unread = read_answers(read_rows(log), reward, tables)
        answers += found
        left += unread
    policy = LearnedPolicy.fit(answers, name=folder.resolve().name)
    with writing_into(folder.parent, ConfigError):
        policy.save(folder)
    prompts = tuple(dict.fromkeys(each.prompt for each in answers))
    return LearnRun(policy, folder, reward, len(logs), len(answers), prompts, left)


def find_logs(folders: Sequence[str | Path]) -> Iterator[Path]:
    """Yield the logs in folders and below, each once."""
    seen = set()
    for each in map(Path, folders):
        found = sorted(each.rglob(ROWS)) if each.is_dir() else []
        if not found:
            raise InputError(
                f"{each} holds no {ROWS}; name folders of `dfprompt tune` or `dfprompt evaluate`"
            )
        for log in found:
            if log.resolve() not in seen:
                seen.add(log.resolve())
                yield log


def _is_of_searches(folder: Path) -> bool:
    try:
        return is_learned(folder)
    except LoadError:
        return False


def _check_one_pipeline(logs: Sequence[Path], asked: Sequence[dict[str, Any]]) -> None:
    """Refuse pictures of different pipelines: what pleases on one is no answer for another."""
    drawn: dict[str, Path] = {}
    for log, each in zip(logs, asked, strict=True):
        model = _table(each, "model")
        drawn.setdefault(f"{model.get('name')} {model.get('hash')}", log)
    if len(drawn) > 1:
        told = "; ".join(f"{log} by {name}" for name, log in drawn.items())
        raise ConfigError(f"the pictures are of {len(drawn)} pipelines, learn from one at a time: {told}")


def _table(asked: dict[str, Any], name: str) -> dict[str, Any]:
    """What a log says under a name, nothing where it is damaged."""
    said = asked.get(name)
    return said if isinstance(said, dict) else {}


def _first_reward(asked: dict[str, Any], log: Path) -> str:
    scores = _table(asked, "scores")
    found = next((str(name) for name, role in scores.items() if role == "reward"), None)
    if found is None:
        raise ConfigError(f"{log} has no reward; name the score to learn from with --reward")
    return found
