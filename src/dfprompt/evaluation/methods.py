"""What is compared: objects that rewrite plain prompts, behind one small protocol."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from dfprompt.errors import ConfigError, EvaluationError, InputError
from dfprompt.excerpt import quote
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN
from dfprompt.policy import Policy, SamplingSettings
from dfprompt.policy.policy import candidate_seed
from dfprompt.policy.rewrite import append_modifiers
from dfprompt.policy.tastes import show_taste
from dfprompt.prompt import DFPrompt, Span, parse_prompt
from dfprompt.storage import parse_lines, parse_object

_SHOWN = 3  # prompts named in an error


@runtime_checkable
class Method(Protocol):
    """A way to rewrite prompts.

    `name` is what rows and tables call it, `definition` says in one line what it does (a resumed run
    refuses another one under the same name), `pictures` is how many it draws for every one it keeps.
    """

    name: str
    definition: str
    pictures: int

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """Return one rewrite per prompt, the same for the same seed; None where the method has none."""
        ...


def is_free(method: Method) -> bool:
    """Return whether each rewrite stands for itself, as a file's lines do: `method.free`.

    Such a method may be mended and made longer: rows whose words are as before stay, others are drawn.
    """
    return bool(getattr(method, "free", False))


def check_complete(method: Method, prompts: Sequence[PlainPrompt], seed: int = 0) -> None:
    """Raise InputError naming the prompts that a method of free rewrites has none for.

    Means over some prompts beside means over all of them would compare unlike things.
    """
    if not is_free(method):
        return
    made = method.rewrite(prompts, seed)
    lacking = [prompt.text for prompt, rewrite in zip(prompts, made, strict=True) if rewrite is None]
    if lacking:
        shown = ", ".join(quote(text) for text in lacking[:_SHOWN])
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        raise InputError(
            f"the method {method.name} has no rewrite of {len(lacking)} of {len(prompts)} prompts: "
            f"{shown}{more}; add them to its file, or leave these prompts out"
        )


@dataclass
class Plain:
    """The user's words as they are."""

    name: str = PLAIN
    definition: str = "the plain prompt"
    pictures: int = 1

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """Every character is words."""
        return [DFPrompt.from_plain(prompt.text) for prompt in prompts]


class FixedSuffix:
    """The same modifiers behind every prompt; `suffix` is a DF-Prompt, `how` says how it was found.

    >>> method = FixedSuffix("8k, [film grain:late]")
    >>> print(method.rewrite([PlainPrompt("a cat")], 0)[0])
    a cat, 8k, [film grain:late]
    """

    pictures = 1

    def __init__(self, suffix: str, name: str = "suffix", how: str = "") -> None:
        self.name, self.definition = name, f"the suffix {suffix}" + (f", {how}" if how else "")
        self._pieces = parse_prompt(suffix).spans
        if not self._pieces:
            raise ConfigError("a fixed suffix needs words")

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """Append it behind a separator."""
        made = []
        for prompt in prompts:
            first = DFPrompt.from_plain(prompt.text).append(self._pieces[0])
            made.append(DFPrompt([*first.spans, *self._pieces[1:]]))
        return made


class RandomModifiers:
    """One to `most` modifiers drawn from a lexicon, with the default control; seeded per prompt."""

    pictures = 1

    def __init__(self, lexicon: Sequence[str], *, most: int = 4, name: str = "random") -> None:
        self._lexicon = tuple(dict.fromkeys(word.strip() for word in lexicon if word.strip()))
        if not 1 <= most <= len(self._lexicon):
            raise ConfigError(
                f"random draws up to {most} modifiers, and the lexicon has {len(self._lexicon)}"
            )
        self._most = most
        digest = _digest("\n".join(self._lexicon).encode("utf-8", "surrogatepass"))
        self.name = name
        self.definition = f"1 to {most} of {len(self._lexicon)} modifiers at random (lexicon {digest})"

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """Draw without replacement, independently of the prompts beside."""
        return [self._rewrite(prompt, seed) for prompt in prompts]

    def _rewrite(self, prompt: PlainPrompt, seed: int) -> DFPrompt:
        generator = np.random.default_rng([seed, _number(prompt.id)])
        count = int(generator.integers(1, self._most + 1))
        chosen = generator.choice(len(self._lexicon), size=count, replace=False)
        spans = [Span(self._lexicon[index]) for index in chosen]
        return append_modifiers(DFPrompt.from_plain(prompt.text), spans)


@dataclass
class Human:
    """What people wrote: the prompt file's field "human", every character of it words."""

    name: str = "human"
    definition: str = 'the prompt file\'s "human" texts'
    pictures: int = 1
    free: bool = True

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """None where the file has no such text."""
        texts = [prompt.record.get("human") for prompt in prompts]
        return [
            DFPrompt.from_plain(text) if isinstance(text, str) and text.strip() else None for text in texts
        ]


class PolicyMethod:
    """A policy's likeliest way: one rewrite per prompt, drawn with a seed of its own."""

    pictures = 1

    def __init__(
        self,
        policy: Policy,
        settings: SamplingSettings | None = None,
        *,
        name: str = "policy",
        num_inference_steps: int | None = None,
    ) -> None:
        self.policy, self.name, self._settings = policy, name, settings or SamplingSettings()
        self._steps = num_inference_steps
        self._acting = policy.model.config.tables.acting(num_inference_steps)
        self._made: dict[tuple[str, int], DFPrompt] = {}  # other arms ask for the same words again
        drawn = self._settings
        chosen = f"temperature {drawn.temperature:g}, top-k {drawn.top_k}, top-p {drawn.top_p:g}"
        of_controls = drawn.control_temperature
        chosen += f", controls at {of_controls:g}" if of_controls else ", likeliest controls"
        chosen += f", end bias {drawn.end_bias:g}" if drawn.end_bias else ""
        chosen += f", restraint {drawn.restraint:g}" if drawn.restraint else ""
        chosen += f", taste {show_taste(drawn.taste)}" if drawn.taste else ""
        digest = f" {policy.digest}" if policy.digest else ""
        self.definition = f"the policy {policy.name}{digest}, {chosen}, seeded per prompt"

    def restrained(self, restraint: float, name: str) -> PolicyMethod:
        """The same policy with a restraint; raises ConfigError where it has no curve."""
        if restraint and self.policy.restraint is None:
            raise ConfigError(
                f"{name}: the policy {self.policy.name} has no restraint curve; measure one with "
                "`dfprompt restrain`"
            )
        settings = dataclasses.replace(self._settings, restraint=restraint)
        return PolicyMethod(self.policy, settings, name=name, num_inference_steps=self._steps)

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """Draw each prompt's rewrite from (seed, prompt), whatever stands beside it."""
        new = [prompt for prompt in prompts if (prompt.id, seed) not in self._made]
        if new:
            seeds = [candidate_seed(seed, _number(prompt.id)) for prompt in new]
            texts = [prompt.text for prompt in new]
            rewrites = self.policy.rewrite(texts, seeds, self._settings, acting=self._acting)
            self._made |= {(prompt.id, seed): each.prompt for prompt, each in zip(new, rewrites, strict=True)}
        return [self._made[prompt.id, seed] for prompt in prompts]


class FileMethod:
    """Rewrites from a file, such as another optimiser's: JSON lines with "prompt" and "rewrite".

    A row names its prompt by "id" or by the plain text under "prompt"; "rewrite" is words, "df_prompt" (in
    its place) a DF-Prompt. Raises InputError naming every line that is wrong.
    """

    pictures = 1
    free = True

    def __init__(self, source: str | Path, name: str) -> None:
        path = Path(source)
        self.name, self.definition = name, f"the rewrites of {path.name}"
        self._rewrites: dict[str, DFPrompt] = {}
        parse_lines(path, self._add, none="no rewrites")

    def _add(self, line: str) -> None:
        key, prompt = _read_rewrite(line)
        if self._rewrites.setdefault(key, prompt) != prompt:
            raise InputError(f"another rewrite of {quote(key)} stands above; keep one of them")

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """None where the file has no row for a prompt."""
        return [self._rewrites.get(prompt.id) or self._rewrites.get(prompt.text) for prompt in prompts]


def _read_rewrite(line: str) -> tuple[str, DFPrompt]:
    row = parse_object(line)
    key = row.get("id", row.get("prompt"))
    if not isinstance(key, str) or not key.strip():
        raise InputError('name the prompt under "id" or "prompt"')
    if isinstance(row.get("df_prompt"), str):
        return key.strip(), parse_prompt(row["df_prompt"])
    if isinstance(row.get("rewrite"), str) and row["rewrite"].strip():
        return key.strip(), DFPrompt.from_plain(row["rewrite"])
    raise InputError('no text under "rewrite" or "df_prompt"')


class BestOf:
    """Draws `count` pictures of another method's rewrite with different noise and keeps the best.

    The first has the noise all methods share. The runner picks by the first reward, never by a judge.
    """

    def __init__(self, count: int, base: Method | None = None, name: str = "") -> None:
        if count < 2:
            raise ConfigError(f"best-of-n needs at least 2 pictures to choose from, not {count}")
        self._base = base or Plain()
        if self._base.pictures != 1:
            raise ConfigError(f"best-of-n of {self._base.name}, which chooses already, is not possible")
        self.pictures, self.free = count, is_free(self._base)
        self.name = name or f"best-of-{count}" + (f":{base.name}" if base else "")
        self.definition = f"the best by reward of {count} pictures of {self._base.definition}"

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """As the base does."""
        return self._base.rewrite(prompts, seed)


def rewrite_checked(
    method: Method, prompts: Sequence[PlainPrompt], seed: int
) -> list[DFPrompt | EvaluationError]:
    """Return a method's rewrites; a prompt it has none for is an error in its place.

    Raises EvaluationError naming the method if it crashes or returns something else.
    """
    try:
        made = list(method.rewrite(list(prompts), seed))
    except Exception as error:  # a method may be anybody's; it is raised again, chained
        raise EvaluationError(
            f"the method {method.name!r} failed to rewrite: {type(error).__name__}: {error}"
        ) from error
    if len(made) != len(prompts):
        raise EvaluationError(
            f"the method {method.name!r} returned {len(made)} rewrites of {len(prompts)} prompts"
        )
    return [_check(method, prompt, rewrite) for prompt, rewrite in zip(prompts, made, strict=True)]


def _check(method: Method, prompt: PlainPrompt, rewrite: object) -> DFPrompt | EvaluationError:
    if isinstance(rewrite, DFPrompt):
        return rewrite
    given = "no rewrite" if rewrite is None else f"a {type(rewrite).__name__}"
    return EvaluationError(f"the method {method.name!r} has {given} of {quote(prompt.text)}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:10]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big")
