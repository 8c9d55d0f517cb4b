"""A prompt for elsewhere: other tools' texts with what they cannot say, our own command line and Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from dfprompt.errors import DFPromptError
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.dialects import export_prompt
from dfprompt.prompt.parser import read_back
from dfprompt.requests.compare import CompareRequest
from dfprompt.requests.render import RenderRequest, RenderSettings
from dfprompt.web.document import plain_words

DIALECTS = {"a1111": "AUTOMATIC1111, Forge", "comfyui": "ComfyUI (prompt control)", "swarmui": "SwarmUI"}


def export_all(
    text: str,
    negative: str | None,
    steps: int,
    settings: RenderSettings,
    pipeline: str,
    policy: str,
    seeds: Sequence[int],
) -> dict[str, Any]:
    """Return a prompt in every form a page offers (name, text, negative, what it loses), and as commands."""
    prompts = read_back(text, steps), None if not negative else read_back(negative, steps)
    forms = [_form(name, shown, prompts, steps) for name, shown in DIALECTS.items()]
    command = _command(text, prompts[0], negative, settings, pipeline, seeds)
    python = {"name": "Python", "text": _python(text, negative, settings), "lost": [], "assumed": []}
    commands = {
        "draw": command,
        "suggest": shlex.join(
            ["dfprompt", "optimize", text, "--df", "--candidates", "3", "--policy", policy]
        ),
        "tune": shlex.join(["dfprompt", "tune", text, "--df", "--pipeline", pipeline, *_options(settings)]),
    }
    line = {"name": "Command line", "text": command, "lost": [], "assumed": []}
    return {"forms": [*forms, line, python], "commands": commands}


def _form(dialect: str, name: str, prompts: tuple[DFPrompt, DFPrompt | None], steps: int) -> dict[str, Any]:
    form: dict[str, Any] = {"name": name, "text": "", "negative": "", "lost": [], "assumed": []}
    for key, prompt in zip(("text", "negative"), prompts, strict=True):
        if prompt is None:
            continue
        try:
            found = export_prompt(prompt, dialect, steps)
        except DFPromptError as error:
            return {**form, "error": str(error)}
        form[key] = found.text
        form["lost"] += [each for each in found.lost if each not in form["lost"]]
        form["assumed"] += [each for each in found.assumed if each not in form["assumed"]]
    return form


def _command(
    text: str,
    prompt: DFPrompt,
    negative: str | None,
    settings: RenderSettings,
    pipeline: str,
    seeds: Sequence[int],
) -> str:
    """Return the command that draws the same: `dfprompt compare` beside the plain words."""
    words = ["dfprompt", "compare", plain_words(text)]
    if not prompt.is_plain:
        words += ["--with", str(prompt)]
    words += ["--pipeline", pipeline, "--seed", str(seeds[0]), "--seeds", str(len(seeds))]
    if negative:
        words += [CompareRequest.option("negative_prompt"), negative]
    return shlex.join([*words, *_options(settings)])


def _options(settings: RenderSettings) -> list[str]:
    """Return what is not the default as options of the command line."""
    given = settings.model_dump(exclude_defaults=True, exclude={"width", "height"})
    words: list[str] = []
    for name, value in given.items():
        words += [RenderRequest.option(name)] + ([] if value is True else [str(value)])
    if settings.width and settings.height:
        words += ["--size", f"{settings.width}x{settings.height}"]
    return words


def _python(text: str, negative: str | None, settings: RenderSettings) -> str:
    """Return a call for a stock pipeline in hand."""
    given: Mapping[str, Any] = settings.model_dump(
        exclude_defaults=True, include={"num_inference_steps", "guidance_scale", "width", "height", "clock"}
    )
    arguments = [f"pipe, {text!r}"]
    arguments += [f"negative_prompt={negative!r}"] if negative else []
    arguments += [f"{name}={value!r}" for name, value in given.items()]
    return f"import dfprompt\n\nimage = dfprompt.run({', '.join(arguments)}).images[0]"
