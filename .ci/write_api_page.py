"""Write docs/api.md: every public name of the package with its signature, its text and every argument."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import dfprompt
from dfprompt import errors
from dfprompt.requests.base import Request
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.requests.render import DialectRequest, RenderRequest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
WIDTH = 88

HEAD = """# Python

Every public name, from `import dfprompt` (0.02 s, without torch: names are loaded when they are first used).
A keyword that a function does not take is answered with the nearest one that it does.

What is loaded, drawn and downloaded is told to the logger `dfprompt`; it is silent until you add a handler.

```python
import logging

logging.getLogger("dfprompt").setLevel(logging.INFO)
```

Types: the package is typed (`py.typed`), and a type checker sees exactly the names below.

**Threads and memory.** One pipeline draws for one thread at a time; hooks of a run belong to that run, thread
and pipeline, and end with it. Encodings are kept in a cache of 256 MB for the whole process; `cache.clear()`
of `dfprompt.conditioning.cache.SHARED_CACHE` empties it, and `run`, `prepare` and `attach` take a cache of
your own.
"""
GROUPS = {
    "Run a pipeline": ("run", "prepare", "attach", "load_pipeline", "generate_images"),
    "Prompts": ("DFPrompt", "Span", "parse_prompt", "format_prompt", "convert_prompt"),
    "Rewrite, score, compare": (
        "load_policy",
        "optimize_prompt",
        "load_reward",
        "score_images",
        "evaluate",
        "push_to_hub",
    ),
}
# Functions of one request: their arguments are its fields, each with its own line of meaning.
REQUESTS: dict[str, type[Request]] = {"evaluate": EvaluateRequest}
# Arguments that are no field of a request, by function ("" for all).
OWN = {
    ("", "pipe"): "The stock diffusers pipeline.",
    ("push_to_hub", "source"): "The folder of a policy, a training run or a set of scores, or a recipe.",
    ("", "to"): "owner/name on the hub, or a Path: a local folder in its place.",
    ("", "base"): "The base model's name for the card; by default what the files say.",
    ("", "data"): "What it was trained on, for the card; by default what the files say.",
    ("", "licence"): "An identifier such as apache-2.0, for the card.",
    ("", "evaluation"): "The folder of a `dfprompt evaluate`; the card quotes its table.",
    ("", "private"): "Whether a new repository is seen by you alone.",
    ("", "token"): "The hub's token; by default the one you logged in with.",
    ("", "prompt"): "One prompt or a list, as text or DFPrompt.",
    ("", "prompts"): "One prompt or one per row, as text or DFPrompt.",
    ("score_images", "prompts"): "The plain prompt: one for all pictures, or one per picture.",
    ("", "encode_batch_size"): "How many texts are encoded at once.",
    ("", "cache"): "Where encodings are kept; by default one of the process.",
    ("run", "loras"): "Adapters for this call, by the names that words use.",
    ("", "timesteps"): "The stock call's own timesteps.",
    ("", "sigmas"): "The stock call's own sigmas.",
    ("", "strength"): "Image-to-image: the share of the run that is made, at its end.",
    ("", "denoising_start"): "SDXL: the share of the run that another pipeline has made.",
    ("", "denoising_end"): "SDXL: the share of the run after which another pipeline goes on.",
    ("", "num_images_per_prompt"): "Pictures per prompt, as in the stock call.",
    ("", "callback_on_step_end"): "Your own callback; it is called as by the pipeline.",
    ("", "callback_on_step_end_tensor_inputs"): "The tensors your callback asks for.",
    ("", "lora_scale"): "The scale of adapters that the call is given.",
    ("", "source"): "A name, a folder, a file or a hub id.",
    ("", "seeds"): "One seed per picture; a single one serves all prompts.",
    ("", "pipeline"): "A name, or a pipeline that is loaded already.",
    ("optimize_prompt", "pipeline"): "The pipeline the text is for: its tokenizers count the budget.",
    ("", "settings"): "RenderSettings, or a mapping of its fields.",
    ("", "share"): "Compute what pictures have in common only once.",
    ("", "progress"): "Show a bar, or call this with (done, of all).",
    ("", "spans"): "Plain texts and spans, in order.",
    ("", "text"): "The words.",
    ("parse_prompt", "text"): "A DF-Prompt.",
    ("optimize_prompt", "text"): "Plain words, or several of them.",
    ("convert_prompt", "text"): "A prompt in the first dialect.",
    ("convert_prompt", "source"): "The dialect it is written in; by default it is guessed.",
    ("", "target"): "The dialect to write.",
    ("", "num_inference_steps"): "Steps of the run, where a dialect counts them.",
    ("", "effect_range"): "When the words act: early, late, full or START->END in time left.",
    ("", "weight"): "How strongly the words act, -10 to 10, or a ramp.",
    ("", "companions"): "What the pipeline brings along: the words of its world.",
    ("", "policy"): "A name, a folder, or a loaded policy.",
    ("", "candidates"): "Different rewrites of each prompt.",
    ("", "seed"): "The same seed, the same rewrites.",
    ("", "sampling"): "SamplingSettings: temperature, bans, lengths.",
    ("", "df"): "Keep spans already written in the text.",
    ("", "batch_size"): "Pictures scored at once.",
    ("", "allow_code"): "Let a recipe or FILE.py:FUNCTION bring code, which is run.",
    ("", "assignments"): "`section.key=value` on top of a recipe.",
    ("", "images"): "A tensor (B,3,H,W) in [0, 1], or files, PIL images and tensors.",
    ("", "reward"): "A reward, or several, as load_reward takes them.",
    ("", "records"): "Further facts per picture, for judges that read them.",
    ("", "seen"): "Called with each picture that was read, without its pixels.",
}
MEANT = {
    "InputError": "400: the caller's mistake; the parent of five",
    "ParseError": "400: a prompt; `offset`, `expected`, `suggestion` and `to_json()` for an answer",
    "PromptValueError": "400: a range, weight or step count",
    "ConversionError": "422: the dialect cannot say it",
    "ConfigError": "400: an argument, a recipe or a `--set`",
    "ImageFileError": "415: no readable picture",
    "LoadError": "404: weights or folders that are missing or damaged",
    "UnsupportedPipelineError": "501: this pipeline cannot; the message names what can",
    "RewardError": "502: a score failed; it is never a number",
    "RewardServerError": "503: the server of a reward is lost; what is done is kept",
    "EndpointError": "502: a chat endpoint failed",
    "ExecutorError": "503: the workers that draw cannot be had, or are gone",
    "WorkerLostError": "500: a row ended worker after worker; it is named",
    "GenerationError": "500: drawing failed, as out of memory",
    "TrainingError": "500: a training stopped; the last good checkpoint is named",
    "EvaluationError": "500: a method failed, or a folder belongs to something else",
    "StudyError": "400: a study's folder or plan that is refused",
    "ParticipantError": "409: a link or an answer that is refused; its message is for whoever takes part",
    "StudyDiskError": "503: the disk took no answer; it may be sent again",
}


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts.append(f"\n## {title}\n")
        parts += [describe(name) for name in names]
    parts.append(_errors())
    return "".join(parts)


def describe(name: str) -> str:
    """Return one name: signature, text, arguments with their meaning where the code has a line for each."""
    thing = getattr(dfprompt, name)
    text = inspect.getdoc(thing) or ""
    said, _, example = text.partition("\n>>> ")
    lines = [f"\n### {name}\n", "```text", signature(name, thing), "```\n", said.strip()]
    meanings = arguments(name, thing)
    if meanings:
        lines += ["", "| argument | meaning |", "|---|---|"]
        lines += [f"| `{argument}` | {_bars(meaning)} |" for argument, meaning in meanings.items()]
    if example:
        lines += ["", "```text", f">>> {example}".replace(">>> # ", ">>> "), "```"]
    return "\n".join(lines) + "\n"


def arguments(name: str, thing: Any) -> dict[str, str]:
    """Return every argument with its meaning: a request's own line, or one written down here."""
    if name in REQUESTS:
        kind = REQUESTS[name]
        return {field: kind.model_fields[field].description or "" for field in kind.fields()}
    lines = {name: field.description or "" for name, field in RenderRequest.model_fields.items()}
    lines |= {name: field.description or "" for name, field in DialectRequest.model_fields.items()}
    shown = [
        each for each in inspect.signature(thing).parameters.values() if each.kind is not each.VAR_KEYWORD
    ]
    return {
        each.name: OWN.get((name, each.name)) or lines.get(each.name) or OWN["", each.name] for each in shown
    }


def signature(name: str, thing: Any) -> str:
    """Return the signature, an argument a line where it is longer than the page."""
    shown = inspect.signature(thing)
    parts = [_parameter(each) for each in shown.parameters.values() if each.kind is not each.VAR_KEYWORD]
    star = next(
        (i for i, each in enumerate(shown.parameters.values()) if each.kind is each.KEYWORD_ONLY), None
    )
    if star is not None:
        parts.insert(star, "*")
    if any(each.kind is each.VAR_KEYWORD for each in shown.parameters.values()) and name == "run":
        parts.append("**call")
    whole = f"{name}({', '.join(parts)})"
    return whole if len(whole) <= WIDTH else "\n".join([f"{name}(", *(f"    {part}," for part in parts), ")"])


def _parameter(each: inspect.Parameter) -> str:
    default = "" if each.default is each.empty else f"={_value(each.default)}"
    kind = each.annotation if isinstance(each.annotation, str) else ""
    short = f"{each.name}: {kind}{' ' if default else ''}{default.replace('=', '= ', 1)}" if kind else ""
    return short if short and len(short) < WIDTH - 6 else f"{each.name}{default}"


def _value(value: Any) -> str:
    shown = repr(value)
    return "..." if " at 0x" in shown or len(shown) > 40 else shown


def _errors() -> str:
    tree = re.sub(r" \(exits with \d\)", "", (errors.__doc__ or "").split("\n\n")[1])
    tree = tree.replace("   ", "  ")
    rows = "\n".join(f"| `{name}` | {meant} |" for name, meant in MEANT.items())
    return "\n".join(
        [
            "\n## Errors\n",
            "Everything raised on purpose is a `DFPromptError`; its message says what, which value, where",
            "and what to do. Warnings are `DFPromptWarning`. All of these are names of `dfprompt` itself.\n",
            f"```text\n{tree}\n```\n",
            "What each means to a service, as HTTP would say it:\n",
            "| error | status |\n|---|---|",
            rows,
            "",
        ]
    )


def _bars(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
