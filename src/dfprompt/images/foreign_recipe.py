"""The recipe another program put into a picture, as far as it can be said here; nothing in it is trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dfprompt.errors import ConversionError, DFPromptError, ImageFileError
from dfprompt.images.comfyui_graph import GraphRecipe, GraphText, read_graph, read_workflow
from dfprompt.images.infotext import parse_infotext
from dfprompt.images.sampler_names import name_from_a1111, name_from_comfyui
from dfprompt.prompt import DFPrompt, import_prompt
from dfprompt.prompt.clocks import MAX_STEPS
from dfprompt.prompt.dialects import DIALECTS

INFOTEXT, GRAPH, WORKFLOW = "parameters", "prompt", "workflow"
MOST_CHARACTERS = 1_000_000  # of a chunk
_LONGEST_PROMPT = 50_000
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,20})?")


@dataclass(frozen=True)
class ForeignRecipe:
    """Prompt, negative prompt and settings of another program's picture.

    `prompt` and `negative_prompt` are as written there, `df_prompt` and `df_negative_prompt` what they say
    here (None where no DF-Prompt can; `remarks` says why). `settings` have our names, `others` are the rest.
    """

    program: str
    prompt: str
    df_prompt: DFPrompt | None
    negative_prompt: str
    df_negative_prompt: DFPrompt | None
    settings: Mapping[str, str | int | float]
    others: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        both = {"df_prompt": self.df_prompt, "df_negative_prompt": self.df_negative_prompt}
        return {
            "program": self.program,
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            **{name: None if prompt is None else str(prompt) for name, prompt in both.items()},
            "settings": dict(self.settings),
            "others": dict(self.others),
            "remarks": list(self.remarks),
        }


def find_foreign_recipe(chunks: Mapping[str, str], name: str = "the picture") -> ForeignRecipe | None:
    """Return what another program's text chunks say; None where there are none that are known.

    Raises ImageFileError for chunks too large to be read.

    >>> chunk = "a cat, [snow:0.5]" + chr(10) + "Steps: 20, Sampler: Euler a, Seed: 7"
    >>> found = find_foreign_recipe({"parameters": chunk})
    >>> str(found.df_prompt), found.settings["scheduler"]
    ('a cat, [snow:0.45->0]', 'euler_a')
    """
    for keyword in (INFOTEXT, GRAPH, WORKFLOW):
        if len(chunks.get(keyword, "")) > MOST_CHARACTERS:
            raise ImageFileError(f"{name}: its {keyword} has more than {MOST_CHARACTERS:,} characters")
    if INFOTEXT in chunks:
        return _from_infotext(chunks[INFOTEXT])
    graph = read_graph(chunks.get(GRAPH, "")) or read_workflow(chunks.get(WORKFLOW, ""))
    return None if graph is None else _from_graph(graph)


def _from_infotext(chunk: str) -> ForeignRecipe:
    text = parse_infotext(chunk)
    left = dict(text.settings)
    settings: dict[str, str | int | float] = {}
    for theirs, ours in (("Steps", "num_inference_steps"), ("CFG scale", "guidance_scale"), ("Seed", "seed")):
        number = _number(left.get(theirs))
        if number is not None:
            settings[ours] = number
            del left[theirs]
    if size := _SIZE.fullmatch(left.get("Size", "")):
        settings |= {"width": int(size[1]), "height": int(size[2])}
        del left["Size"]
    skipped = _number(left.get("Clip skip"))
    if isinstance(skipped, int) and skipped > 0:
        settings |= {"clip_skip": skipped - 1} if skipped > 1 else {}  # 1 leaves out nothing there
        del left["Clip skip"]
    scheduler = name_from_a1111(left.get("Sampler", ""), left.get("Schedule type"))
    if scheduler is not None:
        settings["scheduler"] = scheduler
        left = {key: value for key, value in left.items() if key not in ("Sampler", "Schedule type")}
    version = left.get("Version", "")
    program = (
        "dfprompt"
        if version.startswith("dfprompt")
        else "Forge"
        if version.startswith("f")
        else "AUTOMATIC1111"
    )
    remarks: dict[str, None] = {}
    return ForeignRecipe(
        program,
        text.prompt,
        _read(text.prompt, "a1111", settings, remarks),
        text.negative,
        _read(text.negative, "a1111", settings, remarks),
        settings,
        left,
        tuple(remarks),
    )


def _from_graph(found: GraphRecipe) -> ForeignRecipe:
    settings: dict[str, str | int | float] = {}
    names = {
        "steps": "num_inference_steps",
        "cfg": "guidance_scale",
        "seed": "seed",
        "noise_seed": "seed",
        **{name: name for name in ("width", "height")},
    }
    for theirs, ours in names.items():
        value = found.settings.get(theirs)
        if isinstance(value, int | float) and not isinstance(value, bool):
            settings[ours] = value
    sampler = name_from_comfyui(str(found.settings.get("sampler_name", "")), found.settings.get("scheduler"))
    if sampler is not None:
        settings["scheduler"] = sampler
    left = {name: str(value) for name, value in found.settings.items() if name not in names}
    remarks: dict[str, None] = {}
    if any(text.node == "DFPromptSuggest" for text in found.positive):
        remarks["DF-Prompt Suggest adds words when it runs; the picture holds those it was given"] = None
    if len(found.positive) > 1:
        remarks["several texts reach the sampler; the first is taken"] = None
    positive = found.positive[0]
    negative = found.negative[0] if found.negative else GraphText("", "")
    return ForeignRecipe(
        "ComfyUI",
        positive.text,
        _read_node(positive, settings, remarks),
        negative.text,
        _read_node(negative, settings, remarks),
        settings,
        left,
        tuple(remarks),
    )


def _read_node(found: GraphText, settings: Mapping[str, Any], remarks: dict[str, None]) -> DFPrompt | None:
    """Read a node's text: the core knows emphasis alone, prompt-control schedules too, ours its dialect."""
    text = found.text
    if found.node.startswith("DFPrompt"):
        return _read(text, found.dialect if found.dialect in DIALECTS else "native", settings, remarks)
    if not found.node.startswith(("PC", "PromptControl", "ScheduleToCond")):
        text = re.sub(r"(?<!\\)([\[\]#])", r"\\\1", text)
    return _read(text, "comfyui", settings, remarks)


def _read(text: str, dialect: str, settings: Mapping[str, Any], remarks: dict[str, None]) -> DFPrompt | None:
    if len(text) > _LONGEST_PROMPT:
        remarks[f"a prompt of more than {_LONGEST_PROMPT:,} characters is not read"] = None
        return None
    steps = settings.get("num_inference_steps")
    run = int(steps) if isinstance(steps, int | float) and 1 <= steps <= MAX_STEPS else None
    try:
        found = import_prompt(text, dialect, run)
    except ConversionError as error:
        remarks[str(error)] = None
        return None
    except DFPromptError as error:  # a text that is none of the dialect's
        remarks[str(error).splitlines()[0]] = None
        return None
    remarks.update(dict.fromkeys([*found.assumed, *found.lost]))
    return found.prompt


def _number(written: str | None) -> int | float | None:
    if written is None or not _NUMBER.fullmatch(written):
        return None
    return float(written) if "." in written else int(written)
