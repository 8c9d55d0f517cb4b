"""Methods of an evaluation by name: what `--methods` takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from dfprompt.api.baselines import BaselineSearch
from dfprompt.api.companions import usual_lexicon
from dfprompt.config import nearest
from dfprompt.errors import ConfigError, DFPromptError, InputError
from dfprompt.evaluation.control_methods import Constant, Control, Shuffled, Stripped
from dfprompt.evaluation.keeping import Keeping
from dfprompt.evaluation.lexicon import SUFFIX
from dfprompt.evaluation.methods import (
    BestOf,
    FileMethod,
    FixedSuffix,
    Human,
    Method,
    Plain,
    PolicyMethod,
    RandomModifiers,
)
from dfprompt.evaluation.rewriters import VendorMethod, make_llm
from dfprompt.excerpt import quote
from dfprompt.measurement.rows import PLAIN
from dfprompt.pipeline.companions import NOTHING, Companions
from dfprompt.pipeline.vendor import find_vendor
from dfprompt.policy import Policy, SamplingSettings
from dfprompt.prompt import parse_prompt
from dfprompt.search.lexicon import built_in_lexicon

_SEARCHED_WORDS = 24  # of the built-in list: every word costs validation images
_NAME = re.compile(r"[\w.\-]{1,60}")
_NUMBERED = re.compile(r"(.+)-(\d{1,4})")
_OWN = ("policy", "sft")  # built-in names that may be given another folder
_RESTRAINED = re.compile(r"(.+)@([0-9.]+)")


@dataclass(frozen=True)
class MethodChoices:
    """What methods by name are made of.

    `load_policy` gets "policy", "sft", "starter" or a folder; `suffix` is a DF-Prompt, `lexicon` words for
    random modifiers, `constant` the control of the constant arm, as "late:1.25". Where suffix or constant
    is not given, `baselines` finds it on validation prompts. `pipe` is the stock pipeline whose own rewriter
    the method vendor asks, for pictures of `size` (height, width); `llm` the command or address of the method
    llm, which says `llm_model`. `keep` are words no rewrite may drop, move or weight.
    """

    load_policy: Callable[[str], Policy]
    companions: Companions = NOTHING
    suffix: str | None = None
    lexicon: Sequence[str] | None = None
    constant: str | None = None
    sampling: Callable[[Policy], SamplingSettings] | None = None
    num_inference_steps: int | None = None
    baselines: BaselineSearch | None = None
    pipe: Any = None
    size: tuple[int, int] | None = None
    llm: str | None = None
    llm_model: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A built-in method asked for by `name`; `words` is whose words it takes, `number` the N of its name."""

    name: str
    choices: MethodChoices
    words: Method
    number: int


class Entry(NamedTuple):
    """What makes a method, whose words it takes if no `NAME:OTHER` says, and whether it is searched for."""

    make: Callable[[Asked], Method]
    words: str
    searched: bool


METHODS: dict[str, Entry] = {}
"""The built-in methods by name, a name in -N for any number; `named` is all that a new one needs."""


def named(
    name: str, *, words: str = "", searched: bool = False
) -> Callable[[Callable[[Asked], Method]], Callable[[Asked], Method]]:
    """Give the method that a function makes a name in `--methods`; what is searched for is made last."""

    def enter(make: Callable[[Asked], Method]) -> Callable[[Asked], Method]:
        METHODS[name] = Entry(make, words, searched)
        return make

    return enter


def load_methods(specs: Sequence[str], choices: MethodChoices) -> list[Method]:
    """Return the methods that names stand for, in their order.

    A name is one of METHODS, NAME=FILE.jsonl or NAME=POLICY_FOLDER; an arm and best-of-N may say whose words
    they take: stripped:NAME, best-of-4:policy (arms take the policy's by default); NAME@R is a policy with
    restraint R. What is searched for (suffix, constant) is made when everything else is there. Raises
    ConfigError for a name there is not or used twice, LoadError for a missing policy.
    """
    made: dict[str, Method] = {}

    def get(spec: str) -> Method:
        if spec not in made:
            made[spec] = _make(spec, choices, get, known)
        return made[spec]

    known = {spec.partition("=")[0]: spec for spec in specs if "=" in spec}
    if twice := sorted({spec for spec in specs if list(specs).count(spec) > 1}):
        raise ConfigError(f"the method {', '.join(twice)} is named twice")
    for spec in sorted(specs, key=_is_searched):
        get(spec)
    kept = choices.keep
    return [Keeping(made[spec], kept) if kept and spec != PLAIN else made[spec] for spec in specs]


def _is_searched(spec: str) -> bool:
    parts = () if "=" in spec else spec.split(":")
    return any(entry.searched for part in parts if (entry := METHODS.get(_split(part)[0])))


def _split(name: str) -> tuple[str, int]:
    """Split off the number of a name that takes one: ("best-of-N", 4)."""
    numbered = _NUMBERED.fullmatch(name)
    if name not in METHODS and numbered and f"{numbered[1]}-N" in METHODS:
        return f"{numbered[1]}-N", int(numbered[2])
    return name, 0


def _make(spec: str, choices: MethodChoices, get: Callable[[str], Method], known: dict[str, str]) -> Method:
    name, equals, source = spec.partition("=")
    if equals:
        return _from_source(name, source, choices)
    if spec in known:
        return get(known[spec])
    if restrained := _RESTRAINED.fullmatch(spec):
        return _restrain(get(restrained[1]), restrained[2], spec)
    own, colon, other = spec.partition(":")
    own, number = _split(own)
    entry = METHODS.get(own)
    if entry is None or (colon and not (other and entry.words)):
        raise ConfigError(
            f"there is no method {quote(spec)}; {nearest(spec, [*METHODS])} A file: NAME=FILE.jsonl"
        )
    words = get(other or entry.words) if entry.words else Plain()
    return entry.make(Asked(spec, choices, words, number))


@named(PLAIN)
def _plain(asked: Asked) -> Method:
    return Plain()


@named("suffix", searched=True)
def _suffix(asked: Asked) -> Method:
    """Return the suffix that was given, else the best words of a search, else the usual words."""
    choices = asked.choices
    if choices.suffix is not None:
        return FixedSuffix(choices.suffix, how="as given")
    if choices.baselines is None:
        return FixedSuffix(choices.companions.suffix or SUFFIX, how="not searched for")
    found = choices.baselines.find_suffix(_suffix_words(choices))
    return FixedSuffix(found.text, how=found.how)


@named("suffix-controls", searched=True)
def _controlled_suffix(asked: Asked) -> Method:
    """Return the suffix's words with the best fixed range and weight of each."""
    choices = asked.choices
    if choices.baselines is None:
        raise ConfigError(
            "suffix-controls finds its controls on validation prompts: name them by --validation"
        )
    words = choices.suffix
    if words is None:
        words = choices.baselines.find_suffix(_suffix_words(choices)).text
    found = choices.baselines.find_controls(words)
    return FixedSuffix(found.text, "suffix-controls", how=found.how)


@named("random")
def _random(asked: Asked) -> Method:
    return RandomModifiers(_lexicon(asked.choices))


@named("human")
def _human(asked: Asked) -> Method:
    return Human()


@named("starter")
@named("sft")
@named("policy")
def _own_policy(asked: Asked) -> Method:
    return _policy(asked.name, asked.name, asked.choices)


@named("stripped", words="policy")
def _stripped(asked: Asked) -> Method:
    return Stripped(asked.words, asked.name)


@named("shuffled", words="policy")
def _shuffled(asked: Asked) -> Method:
    return Shuffled(asked.words, asked.name)


@named("constant", words="policy", searched=True)
def _constant(asked: Asked) -> Method:
    """All words with one control: as given, else found on validation prompts, else its own commonest."""
    words, choices = asked.words, asked.choices
    if choices.constant is not None:
        return Constant(words, _control(choices.constant), asked.name, "as given")
    found = None if choices.baselines is None else choices.baselines.find_constant(words)
    return Constant(words, *((_control(found.text), asked.name, found.how) if found else (None, asked.name)))


@named("best-of-N", words=PLAIN)
def _best_of(asked: Asked) -> Method:
    return BestOf(asked.number, asked.words if ":" in asked.name else None)


@named("vendor")
def _vendor(asked: Asked) -> Method:
    """The pipeline's own rewriter."""
    rewriter = find_vendor(asked.choices.pipe)
    if rewriter is None:
        raise ConfigError(
            "the method vendor asks the pipeline's own rewriter, and this pipeline has none, or its "
            "component is not loaded"
        )
    height, width = asked.choices.size or (None, None)
    return VendorMethod(rewriter, height, width)


@named("llm")
def _llm(asked: Asked) -> Method:
    """A language model behind a command or a chat endpoint."""
    if not asked.choices.llm:
        raise ConfigError("the method llm needs --llm: a command, or the address of a chat endpoint")
    return make_llm(asked.choices.llm, model=asked.choices.llm_model)


def _restrain(base: Method, share: str, name: str) -> Method:
    """A policy's method with a restraint: policy@0.3 gives up three tenths of the gain."""
    try:
        restraint = float(share)
    except ValueError as error:
        raise ConfigError(f"{quote(name)}: the restraint behind @ must be a number from 0 to 1") from error
    if not isinstance(base, PolicyMethod):
        raise ConfigError(f"{quote(name)}: only a policy can be restrained, and {base.name} is none")
    return base.restrained(restraint, name)


def _from_source(name: str, source: str, choices: MethodChoices) -> Method:
    path = Path(source)
    own = name in _OWN and not path.is_file()
    if not _NAME.fullmatch(name) or (_split(name)[0] in METHODS and not own):
        raise ConfigError(
            f"{quote(name)} cannot name a method: use letters, digits, - and ., and no built-in name"
        )
    if path.is_dir():
        return _policy(name, source, choices)
    if path.is_file():
        return FileMethod(path, name)
    raise InputError(f"the method {name}: {source} is neither a file of rewrites nor a folder with a policy")


def _policy(name: str, source: str, choices: MethodChoices) -> Method:
    policy = choices.load_policy(source)
    return PolicyMethod(
        policy,
        choices.sampling(policy) if choices.sampling else None,
        name=name,
        num_inference_steps=choices.num_inference_steps,
    )


def _lexicon(choices: MethodChoices) -> Sequence[str]:
    if choices.lexicon is not None:
        return choices.lexicon
    return [entry.text for entry in usual_lexicon(choices.companions).entries]


def _suffix_words(choices: MethodChoices) -> Sequence[str]:
    """Return what a suffix is searched among: of the built-in list the first words of every category."""
    lexicon = usual_lexicon(choices.companions)
    if choices.lexicon is not None or lexicon.name != built_in_lexicon().name:
        return _lexicon(choices)
    ranks = zip_longest(*lexicon.categories().values())
    return [entry.text for rank in ranks for entry in rank if entry is not None][:_SEARCHED_WORDS]


def _control(text: str) -> Control:
    """Read "late:1.25" as the control of one span."""
    try:
        controls = parse_prompt(f"[x:{text}]").controls
    except DFPromptError as error:
        raise ConfigError(f"{quote(text)} is no control; write RANGE:WEIGHT, such as late:1.25") from error
    return controls[0].effect_range, controls[0].weight
