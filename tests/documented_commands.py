"""Every command that README, docs/ and the help show, and how each is run on a reader's files."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WRITTEN_BY_CODE = {"settings.md", "api.md"}
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in WRITTEN_BY_CODE),
]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(dfprompt [^`]+)`")
_SHORT_TRAININGS = runpy.run_path(str(ROOT / ".ci" / "try_readme.py"))["SHORT"]

# Why a command is not run here, by what it begins with or holds; the tests that run the like of it.
EXCLUDED = {
    "studio": "a server that runs until it is stopped: tests/web",
    "study": "needs an evaluation, people or a server: tests/study, tests/web",
    "serve-reward": "a server that runs until it is stopped: tests/api/test_reward_server.py",
    "start$": "asks its questions at a terminal: tests/cli/test_start_command.py",
    "http://127.0.0.1": "asks a server that must run: tests/rewards/test_remote.py",
    "--resume": "goes on with what a stop has left: tests/training, tests/search, tests/data",
    "curate mini": "draws for a minute: tests/data; .ci/try_readme.py runs it",
    "curate prompts.jsonl --pipeline": "scores with published weights: tests/data",
    "curate prompts.parquet --pipeline": "scores with published weights: tests/data",
    "merge": "needs the parts of a run: tests/api/test_merging.py",
    "--ray": "needs a cluster: tests/executor",
    "my.toml": "needs a recipe of the reader's own: tests/api/test_workers.py",
    "calibrate --pipeline": "calibrates scores with published weights: tests/rewards",
    "learn": "needs a search of some hundred pictures: tests/api/test_learning.py",
    "--restraint": "needs a policy with a measured curve: tests/api/test_restraint.py",
    "--max-risk": "needs a policy with a measured curve: tests/api/test_risk.py",
    "serve": "a server that runs until it is stopped: tests/web",
    "taste": "needs choices of a person: tests/api/test_taste.py",
    "owner/name": "downloads a data set: tests/data",
    "sd15-gpt2-sft": "needs GPT-2's weights: tests/training, on a language model of the same layout",
    "sd14-gpt2-ppo": "needs GPT-2's weights: tests/training, on a language model of the same layout",
    "nowhere/at/all": "is shown for its error, which tests/docs/test_blocks.py compares",
}
# Commands that fail on purpose, with the exit code their page shows.
FAILING = {
    'parse "a red house in the snow, [watercolor:0-0.5:1.5]"': 2,
    'parse "(a red horse:1.2)" --strict': 2,
}
_SCORES = ("tune", "ablate", "evaluate")
_REWARDS = ("clip", "aesthetic", "pickscore", "hps")  # published weights, none of which lies here
_TASTE = "\n\n".join(
    f"def {name}(images, prompts, records=None):\n    return images.float().mean(dim=(1, 2, 3)) * {at + 1}"
    for at, name in enumerate(("mine", *_REWARDS))
)


@dataclass(frozen=True)
class Documented:
    """A command as a page shows it."""

    page: str
    arguments: tuple[str, ...]
    inline: bool = False

    @property
    def name(self) -> str:
        return f"{self.page}: {shlex.join(self.arguments)}"

    @property
    def shape(self) -> tuple[object, ...]:
        """What it shares with commands that differ in values alone."""
        words = [each for each in self.arguments[:2] if each.isalpha()]
        options = sorted({each for each in self.arguments if each.startswith("--")})
        kind = next((each for each in self.arguments if each.startswith("models/")), "mini")
        return (*words, *options, kind, len(self.arguments) > 1 and self.arguments[1] == "-")

    @property
    def stands_for_others(self) -> bool:
        """Whether dots or capitals take the place of values, or it is a command's name in a sentence."""
        named = self.inline and not any(" " in each for each in self.arguments)
        return named or any("..." in each or re.fullmatch(r"[A-Z]+", each) for each in self.arguments)

    @property
    def excluded(self) -> str:
        """Why it is not run, or nothing."""
        said = shlex.join(self.arguments)
        return next((why for what, why in EXCLUDED.items() if _is(what, said)), "")


def to_run() -> dict[str, Documented]:
    """The commands that are run: of those with the same command, options and kind of model, the first."""
    found: dict[tuple[object, ...], Documented] = {}
    for each in documented():
        if not each.excluded and not each.stands_for_others:
            found.setdefault(each.shape, each)
    return {each.name: each for each in found.values()}


def _is(what: str, said: str) -> bool:
    if what.endswith("$"):
        return said == what[:-1]
    return said.startswith(what) or what in said.split(" ", 1)[-1]


def documented() -> list[Documented]:
    """Every `dfprompt ...` of text and console blocks, of help and in backquotes, each once."""
    found: dict[tuple[str, ...], Documented] = {}
    for page, said, inline in _lines():
        words = shlex.split(re.split(r" \| | > ", said)[0], comments=True)[1:]
        if words:
            found.setdefault(tuple(words), Documented(page, tuple(words), inline))
    return list(found.values())


def _lines() -> Iterator[tuple[str, str, bool]]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            if block[1] in ("text", "console", "bash"):
                for line in re.sub(r"\\\n\s*", " ", block[2]).splitlines():
                    said = line.strip().removeprefix("$ ")
                    deep = len(line) - len(line.lstrip()) > 6  # a line of an option's meaning
                    if said.startswith("dfprompt ") and not deep:
                        yield page.name, said, False
        for inline in _INLINE.findall(BLOCK.sub("", text)):
            yield page.name, " ".join(inline.split()), True


def runnable(arguments: tuple[str, ...]) -> list[str]:
    """The command with a reward of the reader's own in place of published weights, and short."""
    made = list(arguments)
    for flag, most in (("--images", 16), ("--seeds", 2)):
        if flag in made:
            at = made.index(flag) + 1
            least = 27 if flag == "--images" and "--best-of-n" in made else 0
            made[at] = str(max(least, min(int(made[at]), most)))
    for at, word in enumerate(arguments[:-1]):
        if word in ("--reward", "--judge") and arguments[at + 1] in _REWARDS:
            made[at + 1] = f"taste.py:{arguments[at + 1]}"
    real = any(word.startswith("models/") for word in made)
    if real and made[0] in _SCORES and "--reward" not in made:
        made += ["--reward", "taste.py:mine"]
    if any(word.startswith("taste.py:") for word in made) and "--allow-code" not in made:
        made.append("--allow-code")
    for name, more in _SHORT.items():
        if " ".join(made).startswith(name):
            made += [word for flag in more if flag[0] not in made for word in flag]
    for name, settings in _SHORT_TRAININGS.items():
        if " ".join(made).startswith(name) and "--no-images" not in made:
            made += [word for setting in (*settings, *_SHORTER.get(name, ())) for word in ("--set", setting)]
    if real and made[0] in ("compare", "generate", "tune", "ablate", "evaluate", "calibrate", "start"):
        made += [word for flag in _TINY if flag[0] not in made for word in flag]
    return made


_SHORTER = {"curate": ("source.limit=16",)}
_SHORT_TRAININGS["train ppo"] = _SHORT_TRAININGS["train grpo"]
_TINY = (("--steps", "4"), ("--size", "16"))
_SHORT: dict[str, tuple[tuple[str, str], ...]] = {
    "compare": (("--seeds", "1"),),
    "start": (("--seeds", "1"),),
    "tune": (("--images", "16"),),
    "evaluate": (("--count", "2"), ("--seeds", "1"), ("--validation-images", "0")),
    "ablate range": (("--count", "2"), ("--seeds", "1")),
    "ablate weight": (("--count", "2"), ("--seeds", "1")),
    "ablate attribution": (("--seeds", "1"),),
    "restrain": (("--count", "6"), ("--seeds", "2")),
    "calibrate": (("--seeds", "4"),),
}


def make_reader(
    place: Path, pipeline: Callable[[str], Path], policy: Path, run: Callable[..., object]
) -> None:
    """Write what a reader of the pages has: models, a policy, prompts, pictures, rewrites, a search."""
    from PIL import Image

    import tiny_pipelines
    from tiny_loras import write_lora

    (place / "models").mkdir()
    for name in ("sd15", "sd14", "sdxl", "my pipeline"):
        (place / "models" / name).symlink_to(pipeline("sdxl" if name == "sdxl" else "sd1"))
    for name in ("my-policy", "runs/sft/policy", "runs/grpo/policy", "run/policy", "stage-2/policy"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(policy, place / name)
    prompts = [
        "a red house in the snow",
        "a blue boat at night",
        "a yellow star at sunset",
        "a green fish in the sea",
    ]
    lines = "".join(f"{each}\n" for each in prompts)
    records = "".join(json.dumps({"prompt": each}) + "\n" for each in prompts)
    rewrites = "".join(
        json.dumps({"prompt": each, "rewrite": f"{each}, watercolor"}) + "\n" for each in prompts
    )
    modified = "".join(f"{each}, watercolor, film grain\n" for each in prompts * 3)
    for name, text in {
        "p.txt": lines,
        "plain.txt": lines * 1,
        "p.jsonl": records,
        "rewrites.jsonl": rewrites,
        "their.jsonl": rewrites,
        "prompts.csv": "prompt\n" + "".join(f'"{line}"\n' for line in modified.splitlines()),
        "prompts.jsonl": "".join(
            json.dumps({"image": "a.png", "prompt": each}) + "\n" for each in prompts[:1]
        ),
        "my-words.txt": "watercolor\nfilm grain\ngolden hour\n",
        "taste.py": _TASTE + "\n",
        "token.txt": "a token of thirty two characters!\n",
    }.items():
        (place / name).write_text(text, encoding="utf-8")
    (place / "pictures").mkdir()
    for at, name in enumerate(("cat.png", "a.png", "b.png", "pictures/a.png")):
        Image.new("RGB", (64, 64), (200, 40 * at, 60)).save(place / name)
    pairs = [
        {"prompt": prompts[0], "a": "a.png", "b": "b.png", "choice": "a", "who": f"{k}"} for k in range(4)
    ]
    (place / "pairs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in pairs))
    run("generate", prompts[0], "--output", str(place / "drawn"), "--seed", "7")
    drawn = next((place / "drawn").glob("*.png"))
    shutil.copy(drawn, place / "picture.png")
    sd15 = str(place / "models" / "sd15")
    castle = ("generate", "a castle", "--pipeline", sd15, "--steps", "4", "--size", "16", "--seed", "7")
    run(*castle, "--output", str(place / "castle"))
    next((place / "castle").glob("*.png")).rename(place / "castle" / "001-a-castle-seed7.png")
    write_lora(tiny_pipelines.load(pipeline("sd1")), place).rename(place / "ink.safetensors")
    judge = ("--judge", f"{place / 'taste.py'}:hps", "--allow-code")
    run("judge-check", "--pairs", str(place / "pairs.jsonl"), *judge, "--output", str(place / "checked"))
    run("tune", prompts[0], "--images", "16", "--output", str(place / "dfprompt-out" / "house"))
    recipes = ROOT / "recipes"
    (place / "data").mkdir()
    rows = [{"short": each, "modifiers": ["watercolor", "vignette"], "kept": True} for each in prompts * 4]
    for split in ("train", "validation", "test"):
        lines = "".join(
            json.dumps({**row, "confidence": 1.0, "where": f"prompts.txt:{at}"}) + "\n"
            for at, row in enumerate(rows)
        )
        (place / "data" / f"{split}.jsonl").write_text(lines)
    short = [word for setting in _SHORT_TRAININGS["train sft"] for word in ("--set", setting)]
    data = ["--set", f"data.folder={place / 'data'}", "--output", str(place / "stage-1")]
    run("train", "sft", "--recipe", str(recipes / "mini-sft.toml"), *short, *data)
    shutil.copytree(place / "stage-1", place / "runs" / "mini")
