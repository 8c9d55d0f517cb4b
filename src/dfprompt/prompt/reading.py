"""Reading a prompt the way a user says it is written: native, plain words, or another dialect."""

from __future__ import annotations

import warnings
from collections.abc import Collection

from dfprompt.errors import ConversionError, DFPromptWarning, InputError, ParseError
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.dialects import import_prompt
from dfprompt.prompt.parser import parse_prompt
from dfprompt.prompt.tags import explain_tag

NATIVE = "native"


def read_prompt(
    text: str,
    *,
    dialect: str = NATIVE,
    plain: bool = False,
    strict: bool = False,
    num_inference_steps: int | None = None,
    second_pass: bool = False,
    loaded: Collection[str] = (),
) -> DFPrompt:
    """Return the prompt a text means in a dialect; `plain` takes every character as words.

    What a dialect's importer had to assume or could not express is warned about, and so are network
    tags; with `strict` a loss or a tag raises ConversionError. `num_inference_steps` is needed where
    a dialect counts steps, and for `[a|b]`; `second_pass` reads what A1111's second ("hires") pass
    reads. Nothing is said of tags whose names are `loaded`.

    >>> read_prompt("a [sic] sign", plain=True).is_plain
    True
    """
    if plain and dialect != NATIVE:
        raise InputError(f"plain words have no dialect; leave out --plain or --dialect {dialect}")
    if plain:
        return DFPrompt.from_plain(text)
    if dialect == NATIVE:
        prompt = parse_prompt(text, strict=strict, num_inference_steps=num_inference_steps)
        report_tags(prompt, strict=strict, loaded=loaded)
        return prompt
    imported = import_prompt(text, dialect, num_inference_steps, second_pass=second_pass)
    if strict and imported.lost:
        raise ConversionError(f"from {dialect}: " + "; ".join(imported.lost))
    for kind, remarks in (("assumed", imported.assumed), ("lost", imported.lost)):
        for remark in remarks:
            warnings.warn(f"from {dialect}, {kind}: {remark}", DFPromptWarning, stacklevel=2)
    report_tags(imported.prompt, strict=strict, loaded=loaded)
    return imported.prompt


def report_tags(prompt: DFPrompt, *, strict: bool = False, loaded: Collection[str] = ()) -> None:
    """Warn of every network tag, which no encoder gets to see; with `strict` raise ConversionError.

    Tags whose names are in `loaded` are in use, and nothing is said of them.
    """
    tags = dict.fromkeys(span.tag for span in prompt.tags)
    lost = [explain_tag(tag) for tag in tags if tag is not None and tag.name not in loaded]
    if strict and lost:
        raise ConversionError("; ".join(lost))
    for sentence in lost:
        warnings.warn(sentence, DFPromptWarning, stacklevel=3)


def holds_spans(text: str) -> bool:
    """Return whether a text would hold spans, were it read as a DF-Prompt.

    >>> holds_spans("a cat, [snow:late]"), holds_spans("a [sic] sign"), holds_spans("a cat")
    (True, False, False)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)
        try:
            return any(not (span.tag and span.is_neutral) for span in parse_prompt(text).controls)
        except ParseError:
            return False
