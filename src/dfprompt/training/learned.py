"""A policy that learnt from searches: the critic of controls, asked which words and controls a prompt wants.

No language model is trained. The critic is fitted to what `tune` and `evaluate` have drawn; the policy then
appends, one by one, the words that it expects to bring most, each at its best control beside the others, and
stops where nothing more is expected.

    policy.json             {"dfprompt": 1, "kind": "learned", "name": ..., "phrases": [...], "words": {...}}
    critic.safetensors      the answers it was fitted to
"""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dfprompt.errors import ConfigError, DFPromptWarning, LoadError, load_errors
from dfprompt.excerpt import quote
from dfprompt.modelfiles import read_small_json
from dfprompt.policy.folders import CARD, policy_in, weights_digest
from dfprompt.policy.policy import check_count
from dfprompt.policy.rewrite import Rewrite
from dfprompt.policy.rules import RulePolicy
from dfprompt.policy.settings import SamplingSettings
from dfprompt.policy.tables import RANGES, WEIGHTS, make_tables
from dfprompt.prompt import DFPrompt, Span
from dfprompt.storage import check_ours, save_tensors, whole_folder, write_text
from dfprompt.training.control_critic import ControlCritic
from dfprompt.training.rl_settings import CriticSettings
from dfprompt.training.searches import Answer, WordBags, control_of

KIND = "learned"
MOST = 3
"""Modifiers it appends at most."""
_CRITIC = "critic.safetensors"
_ROWS_AT_ONCE = 500
_FEWEST = 20
# Pictures of a search are as good years later; a pair of pictures is two rows of the critic's.
_SETTINGS = CriticSettings(use=True, memory=1e9, noise=0.2)


class LearnedPolicy(RulePolicy):
    """Appends what a critic of searches expects to bring most; the same prompt has the same rewrite."""

    def __init__(self, bags: WordBags, critic: ControlCritic, *, name: str = KIND, digest: str = "") -> None:
        super().__init__(name, digest=digest, usual=MOST)
        self.bags, self.critic = bags, critic

    @classmethod
    def fit(cls, answers: Sequence[Answer], *, name: str = KIND) -> LearnedPolicy:
        """Fit the critic to answers; raises ConfigError for too few of them."""
        if len(answers) < _FEWEST:
            raise ConfigError(
                f"{len(answers)} pictures with a plain one of the same noise are too few to learn from; "
                f"at least {_FEWEST}, and some hundreds to be of use"
            )
        bags = WordBags.of(answers)
        policy = cls(bags, make_critic(bags), name=name)
        tables = policy.model.config.tables
        most = max(len(each.modifiers) for each in answers)
        for start in range(0, len(answers), _ROWS_AT_ONCE):
            part = answers[start : start + _ROWS_AT_ONCE]
            rows: list[tuple[str, list[str], list[int]]] = []
            for each in part:
                texts = [span.text for span in each.modifiers]
                rows += [(each.prompt, texts, [control_of(tables, span) for span in each.modifiers])]
                rows += [(each.prompt, [], [])]
            gains = torch.tensor([value for each in part for value in (each.gain, 0.0)])
            policy.critic.learn(bags.describe(rows, most), gains[:, None], 2)
        return policy

    def choose(
        self, text: str, seed: int, settings: SamplingSettings, acting: Sequence[bool] | None
    ) -> Sequence[Span]:
        """Return the words and controls expected to bring most, found one by one; none where none is."""
        said = text.casefold()
        allowed = [
            phrase
            for phrase in self.bags.phrases
            if phrase.casefold() not in said and not settings.bans.find_all([phrase])
        ]
        chosen: tuple[str, ...] = ()
        spans: list[Span] = []
        value = 0.0
        for _ in range(settings.max_modifiers or MOST):
            options = [(*chosen, phrase) for phrase in allowed if phrase not in chosen]
            if not options:
                break
            values, controls = self.expect(text, options, acting)
            best = int(values.argmax())
            if float(values[best]) <= value:
                break
            chosen, value = options[best], float(values[best])
            spans = [self._span(*each) for each in zip(chosen, controls[best].tolist(), strict=True)]
        return spans

    def expect(
        self, text: str, options: Sequence[Sequence[str]], acting: Sequence[bool] | None = None
    ) -> tuple[Tensor, Tensor]:
        """What sets of words bring to a prompt at their best controls beside each other: (B,) and (B, K)."""
        most = max(map(len, options))
        rows = [(text, each, [0] * len(each)) for each in options]
        phrases = self.bags.describe(rows, most)
        worth = self.critic.worth(phrases)[..., 0]
        if acting is not None:
            worth[:, :, [not each for each in acting]] = -torch.inf
        values, controls = worth.flatten(2).max(-1)
        return torch.where(phrases.mask, values, 0.0).sum(1), controls

    def candidates(
        self,
        prompts: Sequence[str | DFPrompt],
        count: int,
        seed: int,
        settings: SamplingSettings | None = None,
        *,
        acting: Sequence[bool] | None = None,
        batch_size: int = 32,
    ) -> list[list[Rewrite]]:
        """Up to `count` rewrites of each prompt, the most promising first.

        Each does without the words the ones before it began with. Warns where fewer are expected to bring
        something.
        """
        check_count(count, "candidates")
        found = []
        for prompt in prompts:
            chosen, rewrites = settings or SamplingSettings(), list[Rewrite]()
            while len(rewrites) < count:
                (each,) = self.rewrite([prompt], [seed], chosen, acting=acting)
                if rewrites and not each.changed:
                    break
                rewrites.append(dataclasses.replace(each, candidate=len(rewrites)))
                if not each.changed:
                    break
                words = (*chosen.bans.words, each.modifiers[0].text)
                chosen = dataclasses.replace(chosen, bans=dataclasses.replace(chosen.bans, words=words))
            if len(rewrites) < count:
                warnings.warn(
                    f"{self.name} expects something of {len(rewrites)} rewrites of {quote(str(prompt))}, not "
                    f"of {count}",
                    DFPromptWarning,
                    stacklevel=2,
                )
            found.append(rewrites)
        return found

    def best_words(self, prompts: Sequence[str]) -> list[tuple[Span, float]]:
        """Every word at its best control over all prompts together, with what it brings on average, best
        first."""
        total: Tensor = torch.zeros(())
        for text in prompts:
            rows = [(text, [phrase], [0]) for phrase in self.bags.phrases]
            total = total + self.critic.worth(self.bags.describe(rows, 1))[:, 0, :, :, 0].flatten(1)
        values, controls = (total / len(prompts)).max(-1)
        spans = [self._span(*each) for each in zip(self.bags.phrases, controls.tolist(), strict=True)]
        return sorted(zip(spans, values.tolist(), strict=True), key=lambda each: -each[1])

    def save(self, folder: Path) -> Path:
        """Write it, whole or not at all; it takes the place of the policy that stood there.

        Raises InputError for a folder that holds something else.
        """
        if folder.is_dir() and any(folder.iterdir()):
            check_ours(folder, [each.name for each in folder.iterdir()], CARD, force=False)
        card = {"dfprompt": 1, "kind": KIND, "name": self.name, "phrases": self.bags.phrases}
        with whole_folder(folder) as unfinished:
            save_tensors(self.critic.tensors(), unfinished / _CRITIC)
            write_text(unfinished / CARD, json.dumps({**card, "words": self.bags.weights}, indent=1) + "\n")
        return folder

    def _span(self, text: str, control: int) -> Span:
        tables = self.model.config.tables
        effect_range, weight = divmod(control, len(tables.weights))
        return Span(text, tables.ranges[effect_range], tables.weights[weight])


def is_learned(folder: Path) -> bool:
    """Whether a folder holds a policy that learnt from searches."""
    path = policy_in(folder) / CARD
    return path.is_file() and read_small_json(path).get("kind") == KIND


def load_learned(folder: Path) -> LearnedPolicy:
    """Load what `LearnedPolicy.save` wrote; raises LoadError for what is missing or damaged."""
    folder = policy_in(folder)
    card = read_small_json(folder / CARD)
    phrases, words, name = card.get("phrases"), card.get("words"), card.get("name")
    if not (isinstance(phrases, list) and isinstance(words, dict) and isinstance(name, str)) or not all(
        isinstance(each, str) and each.strip() for each in [*phrases, *words, name]
    ):
        raise LoadError(f"{folder / CARD}: a policy of searches needs phrases, words and name")
    if not all(type(each) is float and math.isfinite(each) and each >= 0 for each in words.values()):
        raise LoadError(f"{folder / CARD}: words must have finite weights of at least 0, not {quote(words)}")
    bags = WordBags(phrases, words)
    policy = LearnedPolicy(bags, make_critic(bags), name=name, digest=weights_digest(folder))
    with load_errors(f"{folder / _CRITIC}: damaged, or not the answers of a search"):
        tensors = load_file(folder / _CRITIC)
        if any(not each.isfinite().all() for each in tensors.values() if each.is_floating_point()):
            raise ValueError("a number is not finite")
        policy.critic.restore(tensors)
        policy.expect("", [phrases[:1]])
    return policy


def make_critic(bags: WordBags) -> ControlCritic:
    """A critic of the tables' controls that takes bags of words as they are."""
    tables = make_tables(RANGES, WEIGHTS)
    critic = ControlCritic(len(tables.ranges), torch.tensor(WEIGHTS), _SETTINGS)
    scale = (torch.zeros(bags.size), torch.full((bags.size,), bags.size**-0.5))
    critic.scale = dict.fromkeys(("states", "words", "company"), scale)
    return critic
