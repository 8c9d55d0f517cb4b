"""A recipe as the text that AUTOMATIC1111 and Forge read: the schedule in their syntax, names in theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from dfprompt.errors import DFPromptError
from dfprompt.images.infotext import Infotext, format_infotext
from dfprompt.images.sampler_names import name_for_a1111
from dfprompt.prompt import DFPrompt, Span, export_prompt
from dfprompt.prompt.exact import format_decimal, round_places
from dfprompt.prompt.parser import read_back
from dfprompt.prompt.tags import read_tag

REMARKS = "DF-Prompt remarks"


class Mark(Protocol):
    """Weights that took part, as a recipe names them."""

    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> str | None: ...
    @property
    def scale(self) -> float | None: ...


class Recipe(Protocol):
    """What of a recipe is said in the text."""

    @property
    def version(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def df_prompt(self) -> str: ...
    @property
    def negative_prompt(self) -> str | None: ...
    @property
    def plain_negative_prompt(self) -> str | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def model(self) -> Mark: ...
    @property
    def loras(self) -> Sequence[Mark]: ...


def write_infotext(recipe: Recipe) -> str:
    """Return the text of a recipe; what cannot be said there is in its setting `DF-Prompt remarks`."""
    lost: dict[str, None] = {}
    steps = recipe.settings.get("num_inference_steps")
    run = steps if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0 else None
    written = _prompt(recipe.df_prompt, recipe.prompt, run, lost, tags=_tags(recipe.loras, lost))
    negative = recipe.negative_prompt or ""
    plain_negative = recipe.plain_negative_prompt
    negative = _prompt(negative, negative if plain_negative is None else plain_negative, run, lost)
    settings = _settings(recipe, lost)
    if lost:
        settings[REMARKS] = "; ".join(lost)
    version = {"Version": f"dfprompt {recipe.version}".strip()}
    return format_infotext(Infotext(written, negative, {**settings, **version}))


def _prompt(
    text: str, plain: str, steps: int | None, lost: dict[str, None], tags: Sequence[Span] = ()
) -> str:
    """A prompt in A1111's syntax; its plain words where the syntax has none for it."""
    if not text.strip():
        return text
    try:
        prompt = _with_tags(read_back(text), tags)
        done = export_prompt(prompt, "a1111", steps)
    except DFPromptError as error:
        lost[f"only the plain words are given: {str(error).splitlines()[0]}"] = None
        done = export_prompt(_with_tags(DFPrompt.from_plain(plain), tags), "a1111")
    lost.update(dict.fromkeys(done.lost))
    return done.text


def _with_tags(prompt: DFPrompt, tags: Sequence[Span]) -> DFPrompt:
    """The prompt and the tags of the networks that it does not name itself."""
    named = {span.tag.name for span in prompt.tags if span.tag}
    new = [span for span in tags if span.tag and span.tag.name not in named]
    return DFPrompt([*prompt.spans, *(piece for span in new for piece in (" ", span))])


def _tags(loras: Sequence[Mark], lost: dict[str, None]) -> list[Span]:
    found = []
    for lora in loras:
        scale = format_decimal(round_places(Decimal(repr(1.0 if lora.scale is None else lora.scale))))
        text = f"<lora:{lora.name}:{scale}>"
        tag = read_tag(text)
        if tag is None or tag.name != lora.name:
            lost[f"the LoRA {lora.name!r}, whose name no tag can hold"] = None
        else:
            found.append(Span(text))
    return found


def _settings(recipe: Recipe, lost: dict[str, None]) -> dict[str, str]:
    """The settings A1111 has a name for, in the order it writes them."""
    ours = recipe.settings
    found: dict[str, Any] = {"Steps": ours.get("num_inference_steps")}
    scheduler = ours.get("scheduler")
    if isinstance(scheduler, str):
        name = name_for_a1111(scheduler)
        found |= {"Sampler": scheduler} if name is None else {"Sampler": name.sampler}
        found |= {} if name is None else {"Schedule type": name.spacing}
        if name is None:
            lost[f"the scheduler {scheduler}, for which A1111 has no sampler"] = None
    found |= {"CFG scale": ours.get("guidance_scale"), "Seed": recipe.seed}
    if {"width", "height"} <= ours.keys():
        found["Size"] = f"{ours['width']}x{ours['height']}"
    found |= {"Model hash": recipe.model.hash, "Model": recipe.model.name}
    if skipped := ours.get("clip_skip"):
        found["Clip skip"] = skipped + 1  # A1111 counts the last layer, which is none left out, as 1
    if ours.get("clock") == "timestep":
        lost["ranges that count sampling time are written as shares of the steps"] = None
    return {name: str(value) for name, value in found.items() if value is not None}
