"""What the mini world brings to an evaluation: held-out prompts with their facts, a judge, modifiers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfprompt.api.world import mini_folder
from dfprompt.data.sets import set_of
from dfprompt.data.settings import SetsSettings
from dfprompt.errors import DFPromptWarning, RewardError
from dfprompt.excerpt import quote
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.rewards.atomic import Atom, AtomicScore

NOTE = (
    "The mini world is small and made by this project: its numbers show that the code learns what this "
    "world contains, and say nothing about real models."
)
_WORD = re.compile(r"[^\W_]+")
FACTS = ("subject", "colour", "scene")
_MOST_LOGS = 60_000  # by then every short prompt has come up
_RENDERS = 8  # per modifier and scene: what a user has seen of it
_LOG_SEED = 880_001  # users of their own, apart from those of the training logs


def make_mini_prompts(
    count: int, *, human: bool = False, seed: int = _LOG_SEED, part: str = "test"
) -> list[PlainPrompt]:
    """Return distinct short prompts no training saw, each with its facts.

    They belong to the test set (`part`: or the validation set) that `dfprompt curate` keeps apart with its
    default shares; where the world has fewer than `count` of them, a DFPromptWarning says how many. With
    `human`, each also has a prompt as a synthetic user who knows its scene would write it (what users know
    is rendered first: a minute of CPU).
    """
    from dfprompt.mini.logs import iter_logs
    from dfprompt.mini.modifiers import MODIFIERS
    from dfprompt.mini.world import SCENES

    shares = SetsSettings()
    found: dict[str, PlainPrompt] = {}
    nothing = {scene: np.zeros(len(MODIFIERS)) for scene in SCENES}  # modifiers are not read here
    for logged in iter_logs(_MOST_LOGS, seed=seed, learnt=nothing):
        if len(found) == count:
            break
        if set_of(logged.short, validation=shares.validation, test=shares.test) == part:
            record = {fact: getattr(logged, fact) for fact in FACTS}
            found.setdefault(logged.short, PlainPrompt(logged.short, record=record))
    if len(found) < count:
        warnings.warn(
            f"the mini world has {len(found)} {part} prompts, not {count}; all of them are used",
            DFPromptWarning,
            stacklevel=2,
        )
    return _with_users(list(found.values()), seed + 1) if human else list(found.values())


def _with_users(prompts: Sequence[PlainPrompt], seed: int) -> list[PlainPrompt]:
    """Give each prompt the modifiers a user chose for its scene; users choose by the scene alone."""
    from dfprompt.mini.logs import iter_logs

    waiting: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        waiting.setdefault(prompt.record["scene"], []).append(index)
    written = list(prompts)
    for logged in iter_logs(_MOST_LOGS, seed=seed, learnt=_experience()):
        if not any(waiting.values()):
            break
        if indices := waiting.get(logged.scene):
            index = indices.pop(0)
            plain = prompts[index]
            text = ", ".join([plain.text, *logged.modifiers])
            written[index] = PlainPrompt(plain.text, plain.id, {**plain.record, "human": text})
    return written


@cache
def _experience() -> dict[str, npt.NDArray[np.float64]]:
    from dfprompt.mini.logs import experience

    return experience(_RENDERS)


@cache
def _phrases() -> dict[str, dict[str, str]]:
    """Every phrase that names a fact, by kind of fact, with the fact it names."""
    from dfprompt.mini.world import COLOURS, SCENES, SUBJECTS

    scenes = {phrase: scene for scene, phrases in SCENES.items() for phrase in phrases}
    return {
        "subject": {name: name for name in SUBJECTS},
        "colour": {name: name for name in COLOURS},
        "scene": scenes,
    }


def find_facts(text: str) -> dict[str, str]:
    """Return what a plain prompt asks for in the mini world's words; scenes first, for they hold a colour.

    >>> find_facts("a red cat on a green hill")
    {'scene': 'hill', 'subject': 'cat', 'colour': 'red'}
    """
    left, facts = f" {' '.join(_WORD.findall(text.lower()))} ", {}
    for fact in ("scene", "subject", "colour"):
        for phrase, name in sorted(_phrases()[fact].items(), key=lambda item: -len(item[0])):
            if f" {phrase} " in left:
                facts[fact] = name
                left = left.replace(f" {phrase} ", " ", 1)
                break
    return facts


class MiniFidelity:
    """The mini judge as a score: the share of what was asked (subject, colour, scene) that is in the picture.

    Facts come from the records, else from the prompt's words. The judge was trained on renders and their
    facts, never on captions, generated pictures or ratings, and is in no reward.
    """

    __name__ = measures = "fidelity"

    def __init__(self) -> None:
        from dfprompt.mini.judge import Judge

        self._judge = Judge.load(mini_folder("judge"))

    def __call__(
        self, images: Tensor, prompts: Sequence[str], records: Sequence[Mapping[str, Any]] | None = None
    ) -> Tensor:
        """Score pictures (B,3,64,64); raises RewardError for a prompt that names nothing the judge knows."""
        asked = [
            facts_of(prompt, record)
            for prompt, record in zip(prompts, records or [{}] * len(prompts), strict=True)
        ]
        for prompt, facts in zip(prompts, asked, strict=True):
            if not facts:
                raise RewardError(f"{quote(prompt)} names no subject, colour or scene of the mini world")
        logits = self._read(images)
        return torch.tensor([_share_right(logits, row, facts) for row, facts in enumerate(asked)])

    @torch.no_grad()
    def _read(self, images: Tensor) -> dict[str, Tensor]:
        return dict(self._judge(images.float().cpu() * 2 - 1))


class MiniTaste:
    """The raters' formula as a score: what the mini world's population would rate, 1..10, without its noise.

    The rewards were learnt from its noisy ratings, so it is the gold standard they stand for and no
    independent taste. Scenes come from the records, else from the prompt's words.
    """

    __name__ = "taste"

    def __call__(
        self, images: Tensor, prompts: Sequence[str], records: Sequence[Mapping[str, Any]] | None = None
    ) -> Tensor:
        """Rate pictures (B,3,64,64); raises RewardError for a prompt that names no scene."""
        from dfprompt.mini.raters import taste

        asked = zip(prompts, records or [{}] * len(prompts), strict=True)
        scenes = [facts_of(prompt, record).get("scene") for prompt, record in asked]
        for prompt, scene in zip(prompts, scenes, strict=True):
            if scene is None:
                raise RewardError(f"{quote(prompt)} names no scene of the mini world")
        return taste(images.float().cpu(), [str(scene) for scene in scenes])


class MiniAnswers:
    """The mini judge as a model that answers questions: "Is there a red house?"

    The probability that everything a question names (subject, colour, scene) is in the picture. Raises
    RewardError for a question that names nothing of the mini world, or that is not answered by yes or no.
    """

    __name__ = "mini"

    def __init__(self) -> None:
        from dfprompt.mini.judge import Judge

        self._judge = Judge.load(mini_folder("judge"))

    @torch.no_grad()
    def __call__(self, images: Tensor, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Answer questions about pictures (B,3,64,64)."""
        from dfprompt.mini.judge import CLASSES

        chances = {
            name: logits.softmax(1) for name, logits in self._judge(images.float().cpu() * 2 - 1).items()
        }
        found = []
        for row, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            facts = find_facts(question)
            if not facts or answer.lower() not in ("yes", "no"):
                raise RewardError(f"the mini judge cannot answer {quote(question)} with {quote(answer)}")
            places = ((fact, CLASSES[fact].index(name)) for fact, name in facts.items())
            yes = torch.stack([chances[fact][row, place] for fact, place in places]).prod()
            found.append(yes if answer.lower() == "yes" else 1 - yes)
        return torch.stack(found)


class MiniAtoms(AtomicScore):
    """The mini world's fidelity by atoms: subject, colour of the subject, scene, asked one by one."""

    def __init__(self) -> None:
        super().__init__(MiniAnswers(), "atoms")

    def atoms(self, prompt: str, record: Mapping[str, Any]) -> list[Atom]:
        """Return the questions of the record, else those about the facts of record or prompt."""
        if record.keys() & {"questions", "vqa_list", "qid2question"}:
            return super().atoms(prompt, record)
        facts = facts_of(prompt, record)
        if not facts:
            raise RewardError(f"{quote(prompt)} names no subject, colour or scene of the mini world")
        asked = []
        for fact, name in facts.items():
            phrase = next(phrase for phrase, known in _phrases()[fact].items() if known == name)
            parents = ("subject",) if fact == "colour" and "subject" in facts else ()
            asked.append(Atom(f"Is there {phrase}?", name=fact, parents=parents))
        return asked


def _share_right(logits: Mapping[str, Tensor], row: int, facts: Mapping[str, str]) -> float:
    from dfprompt.mini.judge import CLASSES

    right = [CLASSES[fact][int(logits[fact][row].argmax())] == name for fact, name in facts.items()]
    return sum(right) / len(right)


def facts_of(prompt: str, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts a record states, or those its prompt names."""
    stated = {fact: record[fact] for fact in FACTS if record.get(fact) in _phrases()[fact].values()}
    return stated or find_facts(prompt)
