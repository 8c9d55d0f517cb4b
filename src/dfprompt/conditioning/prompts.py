"""What users pass as prompts, read into DF-Prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.reading import read_prompt, report_tags

Prompts = str | DFPrompt | Sequence[str | DFPrompt]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How prompt text is read: the dialect, verbatim if `plain`, other tools' marks refused if `strict`.

    `loaded` names the adapters that network tags may name: they are in use and not left out.
    """

    name: str = "native"
    plain: bool = False
    strict: bool = False
    loaded: frozenset[str] = frozenset()


def read_prompts(
    prompts: Prompts, dialect: Dialect, *, num_inference_steps: int | None = None
) -> list[DFPrompt]:
    """Return the prompts of a batch; a str is read in the dialect, a DFPrompt stays as it is.

    Raises ParseError for text that is no prompt, ConfigError for anything else, and for half a
    character (a lone surrogate), which no tokenizer reads.
    """
    listed = prompts if isinstance(prompts, Iterable) and not isinstance(prompts, str) else [prompts]
    read = [_read(prompt, dialect, num_inference_steps) for prompt in listed]
    for prompt in dict.fromkeys(read):
        _check_characters(prompt)
    return read


def _check_characters(prompt: DFPrompt) -> None:
    text = str(prompt)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{quote(text)} holds half a character at {error.start} (a lone surrogate), which no tokenizer "
            "reads; save the text as UTF-8"
        ) from error


def _read(prompt: str | DFPrompt, dialect: Dialect, steps: int | None) -> DFPrompt:
    if isinstance(prompt, DFPrompt):
        report_tags(prompt, strict=dialect.strict, loaded=dialect.loaded)
        return prompt
    if not isinstance(prompt, str):
        raise ConfigError(f"a prompt must be a string or a DFPrompt, not {quote(prompt)}")
    return read_prompt(
        prompt,
        dialect=dialect.name,
        plain=dialect.plain,
        strict=dialect.strict,
        num_inference_steps=steps,
        loaded=dialect.loaded,
    )


def spread_negatives(negatives: Sequence[DFPrompt], rows: int) -> list[DFPrompt]:
    """Return one negative prompt per row; one alone serves all. Raises ConfigError otherwise."""
    if len(negatives) == 1:
        return list(negatives) * rows
    if len(negatives) != rows:
        raise ConfigError(
            f"{len(negatives)} negative prompts for {rows} prompts; pass one for all, or one for each"
        )
    return list(negatives)
