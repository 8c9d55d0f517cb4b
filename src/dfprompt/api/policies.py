"""Policies by name, and plain words rewritten with them: "mini", a folder, a language model, a hub id."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dfprompt.api.companions import MINI, usual_lexicon
from dfprompt.api.world import MINI_POLICIES, mini_folder, reading_mini
from dfprompt.api.written import read_base as read_base
from dfprompt.config.keywords import names_keywords
from dfprompt.domain import Domain
from dfprompt.errors import DFPromptWarning, LoadError
from dfprompt.excerpt import quote
from dfprompt.pipeline.companions import NOTHING, Companions
from dfprompt.policy.bans import Bans
from dfprompt.policy.budget import TokenBudget
from dfprompt.policy.policy import Policy, check_count
from dfprompt.policy.settings import SamplingSettings
from dfprompt.policy.tastes import strengths_of
from dfprompt.prompt import DFPrompt
from dfprompt.search.starter import NAME as STARTER
from dfprompt.search.starter import StarterPolicy
from dfprompt.search.styles import find_style
from dfprompt.sources import pick_device

_TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")


@names_keywords
def load_policy(
    source: str | Path = MINI, *, device: str = "auto", companions: Companions = NOTHING
) -> Policy:
    """Load a policy by name: "mini", "mini-sft", a folder that `dfprompt train` wrote, or a language model.

    "mini-sft" is what stage 1 made of the mini world's language model, before any reward. "starter" is rules
    over a list of modifiers, not learned; with `companions` of a pipeline over the words of its world;
    "starter:photo" takes the words of a style. What `dfprompt learn` wrote is a policy too.
    A plain causal language model (a folder or hub id) writes words with the default control, so that
    other expansion models can be compared. Raises LoadError naming what is missing or damaged.

    >>> load_policy("starter:photo").name
    'starter (rules, not learned), style photo'
    """
    name, colon, style = str(source).partition(":")
    if name == STARTER:
        return StarterPolicy(usual_lexicon(companions), style=find_style(style) if colon else None)
    packaged = str(source) in MINI_POLICIES and source != MINI
    folder = mini_folder(MINI_POLICIES[str(source)]) if packaged else _find(source)
    from dfprompt.training.learned import is_learned, load_learned

    if is_learned(folder):
        return load_learned(folder)
    from dfprompt.policy.folders import load_policy_folder

    with reading_mini(folder) if str(source) in MINI_POLICIES else nullcontext():
        return load_policy_folder(folder, device=pick_device(device))


@names_keywords
def optimize_prompt(
    text: str | DFPrompt | Sequence[str | DFPrompt],
    policy: str | Path | Policy = MINI,
    *,
    candidates: int = 1,
    seed: int = 0,
    sampling: SamplingSettings | None = None,
    pipeline: Any | None = None,
    df: bool = False,
    device: str = "auto",
) -> Any:
    """Rewrite plain words: up to `candidates` different DF-Prompts each, the likeliest first.

    Returns a list of Rewrite for one text, and a list of such lists for several.

    The user's characters come first, as they are; `df` reads spans already written, a DFPrompt keeps its
    own. `pipeline` is the (stock) pipeline the text is for: its tokenizers count the token budget. Warns
    of words outside the policy's world and of banned words in the user's own text, which stay. Raises
    InputError for an empty text, ConfigError for counts and seeds, LoadError for a policy that cannot be
    loaded.

    >>> best, *others = optimize_prompt("a red house in the snow", "starter", candidates=3, seed=7)
    >>> best.prompt.plain_text.startswith("a red house in the snow, "), len(others)
    (True, 2)
    """
    single = isinstance(text, str | DFPrompt)
    texts: Sequence[str | DFPrompt] = [text] if isinstance(text, str | DFPrompt) else text
    bases = [read_base(each, df=df) for each in texts]
    check_count(candidates, "candidates")
    settings = sampling or SamplingSettings()
    name_banned([base.plain_text for base in bases], settings.bans)
    writer = policy if isinstance(policy, Policy) else load_policy(policy, device=device)
    strengths_of(settings.taste, getattr(writer.model.config, "tastes", ()), writer.name)
    if writer.domain is not None:
        _name_strangers(writer.domain, bases)
    if pipeline is not None and settings.budget is None:
        counting = tokenizers_of(pipeline) or tuple(writer.budget.tokenizers)
        settings = dataclasses.replace(settings, budget=TokenBudget(writer.budget.limit, counting))
    found = writer.candidates(bases, candidates, seed, settings)
    return found[0] if single else found


def name_banned(texts: Sequence[str], bans: Bans) -> None:
    """Warn of bans the user's own words break: they stay, for they are the user's."""
    found = bans.find_all(texts)
    if found:
        shown = ", ".join(map(quote, found))
        warnings.warn(
            f"banned, but in the prompt itself, so left there: {shown}; bans hold for appended words",
            DFPromptWarning,
            stacklevel=3,
        )


def tokenizers_of(pipeline: Any) -> tuple[Any, ...]:
    """The tokenizers of a stock diffusers pipeline, or of an ImagePipeline around one."""
    pipe = getattr(pipeline, "pipe", pipeline)
    found = (getattr(pipe, name, None) for name in _TOKENIZERS)
    return tuple(tokenizer for tokenizer in found if tokenizer is not None)


def _find(source: str | Path) -> Path:
    if str(source).startswith("hub:"):
        from dfprompt.api.hub import find_shared

        return find_shared(str(source))
    if source != MINI:
        from dfprompt.rewards.weights import find_source

        return find_source(str(source), Path())
    try:
        return mini_folder("policy")
    except LoadError as error:
        raise LoadError(
            "the mini policy is not in this installation; train one with "
            '"dfprompt train sft --recipe mini-sft --output runs/mini" and pass '
            "--policy runs/mini/policy"
        ) from error


def _name_strangers(domain: Domain, bases: Sequence[DFPrompt]) -> None:
    strangers = domain.strangers([words for base in bases for words in base.runs])
    if strangers:
        shown = ", ".join(map(quote, strangers))
        warnings.warn(
            f"this policy knows the {domain.name} world only, not {shown}: what it adds means little here",
            DFPromptWarning,
            stacklevel=3,
        )
