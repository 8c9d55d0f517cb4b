"""Every kind of file that a command reads from strangers, and how one such file is made, tried and judged."""

from __future__ import annotations

import os
import random
import resource
import shlex
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from crash_commands import COMMANDS
from crash_machine import run
from hostile_files import (
    hostile_file,
    hostile_folder,
    hostile_picture,
    hostile_recipe,
    hostile_table,
    hostile_text,
)
from hostile_goods import Goods

SECONDS, MINUTES, GIGABYTE = 10, 3, 2**30
# "failed: ...": a row whose picture could not be judged is kept as such, and the command ends with 1.
# Lines are answered one by one, in JSON, mistakes too.
ANSWERS = ("error:", "failed: ", '"error":')


class Made(NamedTuple):
    """What a hostile file is made of: good things, a place, chance, and what code would touch."""

    good: Goods
    place: Path
    chance: random.Random
    marker: Path


Make = Callable[[Made], Path]


def _table(made: Made) -> Path:
    return hostile_table(made.place / "x", made.chance)


def _recipe(made: Made) -> Path:
    return hostile_recipe(made.place / "x.toml", made.chance)


def _picture(made: Made) -> Path:
    return hostile_picture(made.place / "x.png", made.chance)


def _text(made: Made) -> Path:
    return hostile_text(made.place / "x.txt", made.chance)


def _folder(name: str, *beside: str) -> Make:
    """A folder with one file changed; links to what lies beside it, where it names that."""

    def make(made: Made) -> Path:
        for each in beside:
            (made.place / each).symlink_to(made.good[name].parent / each)
        return hostile_folder(made.good[name], made.place / "x", made.chance, made.marker)

    return make


def _file(name: str) -> Make:
    def make(made: Made) -> Path:
        return hostile_file(made.good[name], made.place, made.chance)

    return make


def _defaults(made: Made) -> Path:
    (made.place / "run").mkdir()
    return hostile_recipe(made.place / "run" / "dfprompt.toml", made.chance)


# Made of nothing but chance: the rest are good things with something changed.
FROM_NOTHING = {_table, _recipe, _picture, _text, _defaults}


def _begun(name: str) -> Make:
    """A run that was killed halfway, one of its files changed since, beside what it reads."""

    def make(made: Made) -> Path:
        for each in made.good["place"].iterdir():
            if each.name != "run":
                (made.place / each.name).symlink_to(each)
        target = made.place / "run"
        return hostile_folder(made.good[f"begun {name}"], target, made.chance, made.marker)

    return make


_EVALUATE = "evaluate --methods plain --steps 1 --seeds 1 --validation-images 0 --reward clip:mini --output o"
_ONE_STEP = "--set device=cpu --set optimizer.steps=1 --set validation.samples=1 --output o"
_STAGE_TWO = f"{_ONE_STEP} --set rollout.rows=4 --set validation.rows=1 --set pictures.num_inference_steps=2"
_PAIRS = "--pairs 2 --participants 2 --per-participant 2 --gold 0 --practice 0 --repeats 0 --output o"
_PLAN = "study plan {} --methods plain,secret-method {}" + _PAIRS
CASES: dict[str, tuple[Make, str]] = {
    "policy": (_folder("policy"), "optimize 'a red cat' --policy {x}"),
    "pipeline": (_folder("pipeline"), "generate 'a red cat' --steps 1 --pipeline {x} --output o"),
    "reward": (_folder("clip"), "score {picture} --prompt 'a cat' --reward clip:{x}"),
    "inspect": (_picture, "inspect {x}"),
    "score": (_picture, "score {x} --prompt 'a cat' --reward clip:mini"),
    "curate": (_table, "curate {x} --no-images --output o"),
    "recipe": (_recipe, "train sft --recipe {x} --output o --set optimizer.steps=1"),
    "adapter": (_folder("adapter", "policy"), "optimize 'a red cat' --policy {x}"),
    "lora": (_file("lora"), "generate 'a cat' --steps 1 --pipeline {pipeline} --output o --lora x={x}"),
    "prompts": (_table, _EVALUATE + " --prompts {x}"),
    "rewrites": (_table, _EVALUATE + " --prompts {prompts} --methods a={x}"),
    "with-file": (_table, "compare --with-file {x} --reward none --steps 1 --seeds 1 --output o"),
    "modifiers": (_table, "tune 'a cat' --modifiers {x} --images 12 --steps 1 --reward clip:mini --output o"),
    "reward recipe": (_recipe, "score {picture} --prompt 'a cat' --reward {x}"),
    "lines to parse": (_text, "parse - <{x}"),
    "lines to plan": (_text, "plan - <{x}"),
    "lines to convert": (_text, "convert - --from a1111 --to comfyui --steps 20 <{x}"),
    "lines to optimize": (_text, "optimize - --policy starter <{x}"),
    "lines to score": (_text, "score - --reward clip:mini <{x}"),
    "dfprompt.toml": (_defaults, "parse 'a cat'"),
    "pipeline to plan": (_folder("pipeline"), "plan 'a [cat:late]' --pipeline {x}"),
    "pipeline to start": (_folder("pipeline"), "start 'a cat' --pipeline {x} --plan --yes"),
    "capabilities": (_folder("pipeline"), "capabilities --pipeline {x}"),
    "single file": (
        _file("single file"),
        "generate 'a cat' --steps 1 --pipeline {x} --config {sd1} --output o",
    ),
    "gguf": (_file("gguf"), "generate 'a cat' --steps 1 --pipeline {x} --config {sd1} --output o"),
    "vae": (_file("vae"), "generate 'a cat' --steps 1 --pipeline {pipeline} --vae {x} --output o"),
    "inspect again": (_picture, "inspect {x} --pipeline mini"),
    "inspect of others": (_file("of others"), "inspect {x}"),
    "aesthetic": (_folder("aesthetic", "clip"), "score {picture} --prompt 'a cat' --reward aesthetic:{x}"),
    "published head": (
        _file("published head"),
        "score {picture} --prompt 'a cat' --reward '{head recipe}' --set models.aesthetic={x}",
    ),
    "pictures' prompts": (_file("named"), "score {pictures} --prompts {x} --reward clip:mini"),
    "pictures that tell": (_folder("telling"), "score {x} --reward clip:mini"),
    "pictures to curate": (_folder("with recipes"), "curate {x} --no-images --output o"),
    "taste": (_folder("taste"), "score {picture} --prompt 'a cat' --reward taste:{x}"),
    "choices": (_file("pairs"), "taste --choices {x} --reward clip:mini --output o"),
    "choices before": (_folder("taste"), "taste --choices {pairs} --reward clip:mini --output {x}"),
    "pictures to choose": (
        _folder("drawn twice"),
        "taste --from {x} --reward clip:mini --output o <{answers}",
    ),
    "pairs": (_file("pairs"), "judge-check --pairs {x} --judge clip:mini --output o"),
    "checks": (_file("checks"), _EVALUATE + " --prompts {prompts} --checks {x}"),
    "reference": (_folder("pictures"), _EVALUATE + " --prompts {prompts} --reference {x} --embedder {clip}"),
    "embedder": (_folder("clip"), _EVALUATE + " --prompts {prompts} --reference {pictures} --embedder {x}"),
    "validation": (
        _table,
        _EVALUATE.replace("plain", "suffix").replace("images 0", "images 4")
        + " --prompts {prompts} --validation {x}",
    ),
    "calibrate": (_table, "calibrate --prompts {x} --seeds 4 --pipeline mini --steps 1 --output r.toml"),
    "reward to calibrate": (
        _recipe,
        "calibrate --prompts {prompts} --seeds 4 --reward {x} --steps 1 --output r.toml",
    ),
    "ablate": (_table, "ablate weight --prompts {x} --modifiers 8k --seeds 1 --steps 1 --output o"),
    "words to ablate": (
        _table,
        "ablate range --prompts {prompts} --modifiers {x} --seeds 1 --steps 1 --output o",
    ),
    "learn": (_folder("searched"), "learn {x} --output o"),
    "learned policy": (_folder("learned"), "optimize 'a cat' --policy {x}"),
    "plot": (_folder("trained"), "plot {x} --output o"),
    "merge": (_folder("part"), "merge {x} {place}/parts/2 --output o"),
    "evaluation to plan": (_folder("drawn"), _PLAN.format("{x}", "")),
    "consent": (_table, _PLAN.format("{drawn}", "--consent {x} ")),
    "study to report": (_folder("study"), "study report {x} --output o"),
    "study to export": (_folder("study"), "study export {x} --output o.csv"),
    "study to forget in": (_folder("answered"), "study forget {x} --platform-id p1"),
    "study to serve": (_folder("answered"), "study serve {x} --port 0"),
    "studio": (_folder("studio"), "studio --no-browser --port 0 --pipeline mini --output {x}"),
    "token to serve": (_text, "serve --port 0 --pipeline mini --token-file {x}"),
    "token of a reward": (_text, "serve-reward clip:mini --port 0 --token-file {x}"),
    "policy to restrain": (
        _folder("mini policy"),
        "restrain {x} --risk --count 6 --seeds 2 --steps 1 --output o",
    ),
    "data of sft": (_folder("data"), f"train sft {_ONE_STEP} --set model.base=mini --set data.folder={{x}}"),
    "base of sft": (
        _folder("lm"),
        f"train sft {_ONE_STEP} --set data.folder={{data}} --set model.base={{x}}",
    ),
    "data of ppo": (
        _folder("data"),
        f"train ppo {_STAGE_TWO} --set model.base=mini-sft --set data.folder={{x}}",
    ),
    "base of grpo": (
        _folder("policy"),
        f"train grpo {_STAGE_TWO} --set model.base={{x}} --set data.folder={{data}} --set group.size=4",
    ),
    **{
        f"begun {name}": (_begun(name), shlex.join([*COMMANDS[name].parts, *COMMANDS[name].again]))
        for name in ("compare", "evaluate", "curate", "train sft", "tune", "ablate range", "train grpo")
    },
}
LONG = {"policy to restrain", "data of ppo", "base of grpo", "begun tune", "begun ablate range"}
LONG |= {"begun train grpo", "ablate", "words to ablate", "validation", "data of sft", "base of sft"}


def _limit(stdin: str | None) -> None:
    """Ten seconds of the processor, three minutes in all, one gigabyte more than this process has; servers
    end when they begin.
    """
    import socketserver

    import uvicorn

    socketserver.BaseServer.serve_forever = lambda *_, **__: None  # type: ignore[method-assign]
    uvicorn.Server.run = lambda *_, **__: None  # type: ignore[method-assign]
    if stdin is not None:
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + GIGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + SECONDS, spent + SECONDS + 1))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.alarm(60 * MINUTES)  # what waits uses no processor


class Tried(NamedTuple):
    """How a command ended at a hostile file, what it said, and what was wrong with that ("": nothing)."""

    code: int
    said: str
    wrong: str


def try_one(
    name: str, number: int, good: Goods, place: Path, spoil: Callable[[Path], None] | None = None
) -> Tried:
    """Make the hostile file of a kind and number in a new folder, run its command there, and judge it.

    `spoil` puts something else in its place first.
    """
    make, typed = CASES[name]
    place.mkdir()
    marker = place / "RAN"
    hostile = make(Made(good, place, random.Random(f"{name} {number}"), marker))
    if spoil is not None:
        spoil(hostile)
    words = [word.format_map(Named(good, hostile)) for word in shlex.split(typed)]
    stdin = words.pop()[1:] if words[-1].startswith("<") else None
    ended = run(words, place / "run", limit=partial(_limit, stdin))
    said = ended.out + ended.err
    wrong = ""
    if ended.code not in (0, 1, 2):
        wrong = f"ended with {ended.code}"
    elif ended.code and not any(each in said for each in ANSWERS):
        wrong = f"ended with {ended.code} and no word"
    for fault in ("Traceback", "fault of dfprompt", "[y/N]"):
        if fault in said:
            wrong = fault
    if marker.exists():
        wrong = "ran its code"
    if "\x1b" in ended.err:
        wrong = "moved the terminal"
    return Tried(ended.code, said, wrong)


class Named(dict[str, str]):
    """What a command's words name in braces: the hostile file as x, and things that are in order."""

    def __init__(self, good: Mapping[str, Path], hostile: Path) -> None:
        super().__init__(x=str(hostile))
        self.good = good

    def __missing__(self, name: str) -> str:
        return str(self.good[name])
