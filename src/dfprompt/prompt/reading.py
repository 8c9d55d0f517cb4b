"""Reading a prompt the way a user says it is written: native, plain words, or another dialect."""

from __future__ import annotations

import warnings

from dfprompt.errors import ConversionError, DFPromptWarning, InputError, ParseError
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.dialects import import_prompt
from dfprompt.prompt.parser import parse_prompt

NATIVE = "native"


def read_prompt(
    text: str,
    *,
    dialect: str = NATIVE,
    plain: bool = False,
    strict: bool = False,
    num_inference_steps: int | None = None,
) -> DFPrompt:
    """Return the prompt a text means in a dialect; `plain` takes every character as words.

    What a dialect's importer had to assume or could not express is warned about; with `strict`
    a loss raises ConversionError. `num_inference_steps` is needed where a dialect counts steps.

    >>> read_prompt("a [sic] sign", plain=True).is_plain
    True
    """
    if plain and dialect != NATIVE:
        raise InputError(f"plain words have no dialect; leave out --plain or --dialect {dialect}")
    if plain:
        return DFPrompt.from_plain(text)
    if dialect == NATIVE:
        return parse_prompt(text, strict=strict)
    imported = import_prompt(text, dialect, num_inference_steps)
    if strict and imported.lost:
        raise ConversionError(f"from {dialect}: " + "; ".join(imported.lost))
    for kind, remarks in (("assumed", imported.assumed), ("lost", imported.lost)):
        for remark in remarks:
            warnings.warn(f"from {dialect}, {kind}: {remark}", DFPromptWarning, stacklevel=2)
    return imported.prompt


def holds_spans(text: str) -> bool:
    """Return whether a text would hold spans, were it read as a DF-Prompt.

    >>> holds_spans("a cat, [snow:late]"), holds_spans("a [sic] sign"), holds_spans("a cat")
    (True, False, False)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)
        try:
            return bool(parse_prompt(text).controls)
        except ParseError:
            return False
