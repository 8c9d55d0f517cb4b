"""What the commands answered on the mini world before the house was rebuilt, and whether they still do.

    python tests/golden/record.py            compare with what was recorded, and say what differs
    python tests/golden/record.py --write    record anew (only where a mended defect moves a number)
    python tests/golden/record.py CASE ...   some cases alone

Each case is one command in a process of its own, on one thread. Recorded are its numbers, whatever form
they are printed in: the readers below name them, so a new form of an answer needs a new reader and no new
record. On the processor they were recorded on they are compared bit for bit, pictures by a digest of their
pixels; on others pictures are left out and numbers compared to a tolerance.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORD = HERE / "mini.json"
TOLERANCE = 0.02  # on another processor, of 1 + the number
Numbers = dict[str, Any]

MUSHROOM, HOUSE = "an orange mushroom in a forest", "a red house in the snow"
VALIDATION = "a green tree at night\na white boat under the sea\na yellow star on a hill\n"
LOGS = [
    ("a blue heart underwater", ["award winning", "vignette"]),
    ("an orange moon on a hill", ["oil painting", "trending"]),
    ("a red fish in a forest", ["golden hour", "vivid colors"]),
    ("a green tree in the desert", ["soft focus", "masterpiece"]),
    ("a white boat at night", ["film grain", "watercolor"]),
    ("a purple star on a hill", ["centered composition", "masterpiece"]),
    ("a yellow house in the snow", ["vivid colors", "centered composition"]),
    ("a red mushroom in a forest", ["golden hour", "masterpiece"]),
]
THEIRS = [
    {"prompt": HOUSE, "df_prompt": f"{HOUSE}, [golden hour:late]"},
    {"prompt": MUSHROOM, "rewrite": f"{MUSHROOM}, vignette"},
]
SMALL_RL = (
    "rollout.rows=4 rollout.max_new_tokens=12 rollout.batch_size=4 optimizer.steps=2 optimizer.batch_size=4 "
    "optimizer.micro_batch_size=4 optimizer.warmup_steps=0 surrogate.epochs=1 validation.interval=2 "
    "validation.rows=2 validation.samples=1 checkpoints.interval=2 data.folder=data"
).split()


def settings(values: Sequence[str]) -> list[str]:
    """The values as --set options."""
    return [word for value in values for word in ("--set", value)]


SFT = [
    "optimizer.steps=20",
    "optimizer.batch_size=8",
    "optimizer.micro_batch_size=8",
    "validation.interval=10",
]
RECIPES = HERE.parent.parent / "recipes"
EVALUATE = ["--prompts", "prompts.txt", "--seeds", "2"]
MODIFIERS = ["--modifiers", "golden hour, vignette", "--seeds", "2"]
CASES: dict[str, list[str]] = {
    "optimize": ["optimize", MUSHROOM, "a white boat at night", "--candidates", "3", "--temperature", "1.2"],
    "compare": ["compare", MUSHROOM, "--with", f"{MUSHROOM}, [vignette:late:1.25]", "--seeds", "2"],
    "tune": ["tune", HOUSE, "--images", "32", "--modifiers", "words.txt", "--best-of-n"],
    "evaluate": [
        *("evaluate", *EVALUATE, "--validation", "validation.txt", "--validation-images", "120"),
        *("--modifiers", "words.txt"),
        *("--methods", "suffix,random,policy,stripped,constant,best-of-2,theirs=theirs.jsonl"),
    ],
    "range": ["ablate", "range", *EVALUATE[:2], *MODIFIERS, "--steps", "8"],
    "weight": ["ablate", "weight", *EVALUATE[:2], *MODIFIERS],
    "attribution": ["ablate", "attribution", f"{HOUSE}, [golden hour:late], [vignette::0.5]", "--seeds", "2"],
    "calibrate": ["calibrate", "--prompts", "validation.txt", "--seeds", "3"],
    "curate": ["curate", "logs.jsonl", "--pipeline", "mini", "--set", "confidence.seeds=2"],
    "sft": [
        "train",
        "sft",
        "--recipe",
        str(RECIPES / "mini-sft.toml"),
        *settings([*SFT, "data.folder=data"]),
    ],
    "ppo": ["train", "ppo", "--recipe", str(RECIPES / "mini-ppo.toml"), *settings(SMALL_RL)],
    "grpo": [
        *("train", "grpo", "--recipe", str(RECIPES / "mini-grpo.toml")),
        *settings([*SMALL_RL, "group.size=2", "rollout.control_draws=1"]),
    ],
}


def prepare() -> None:
    """Write what the commands read into the current folder."""
    Path("prompts.txt").write_text(f"{HOUSE}\n{MUSHROOM}\n", encoding="utf-8")
    Path("validation.txt").write_text(VALIDATION, encoding="utf-8")
    words = ["golden hour", "vignette", "vivid colors", "film grain"]
    Path("words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    _write_lines(Path("theirs.jsonl"), THEIRS)
    logs = [{"short": short, "modifiers": words} for short, words in LOGS]
    _write_lines(
        Path("logs.jsonl"), [{"prompt": ", ".join([row["short"], *row["modifiers"]])} for row in logs]
    )
    Path("data").mkdir()
    for name, part in (("train", logs[:6]), ("validation", logs[6:])):
        rows = [
            {**row, "kept": number % 3 > 0, "confidence": 1.0, "where": f"x:{number}"}
            for number, row in enumerate(part)
        ]
        _write_lines(Path("data") / f"{name}.jsonl", rows)


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run(case: str, output: str) -> str:
    """Run a case's command in this process; returns what it printed."""
    from dfprompt.cli.main import app

    arguments = list(CASES[case])
    if case != "optimize":
        arguments += ["--output", output]
    if case not in ("sft", "ppo", "grpo"):
        arguments.append("--json")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        app(arguments, standalone_mode=False)
    return said.getvalue()


# Readers: what a command answered -> its numbers by name.


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file."""
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def pixels(path: Path) -> str:
    """Return a digest of a picture's pixels, whatever else stands in its file."""
    from PIL import Image

    with Image.open(path) as picture:
        return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()[:16]


def read_optimize(said: str, output: Path) -> Numbers:
    """The rewrites."""
    prompts = json.loads(said)["prompts"]
    return {"said": [each["text"] for row in prompts for each in row["candidates"]]}


def read_compare(said: str, output: Path) -> Numbers:
    """Pictures, their scores, and how each rewrite compares with plain."""
    answer, found = json.loads(said), {}
    for prompt in answer["prompts"]:
        for rewrite in prompt["rewrites"]:
            label = rewrite["label"]
            found[f"{label}: df_prompt"] = rewrite["df_prompt"]
            for image in rewrite["images"]:
                name = f"{label} {image['seed']}"
                found[f"{name}: pixels"] = pixels(Path(image["file"]))
                found |= {f"{name}: {score}": value for score, value in image["scores"].items()}
        for line in prompt["standings"]:
            found |= _compared(f"{line['label']} {line['score']}", line["mean"], line["to_plain"])
    return found


def _compared(name: str, mean: float | None, found: Mapping[str, Any] | None) -> Numbers:
    numbers: Numbers = {f"{name}: mean": mean}
    for key in ("difference", "interval", "p", "pairs"):
        if found is not None:
            numbers[f"{name}: {key}"] = found[key]
    return numbers


def read_tune(said: str, output: Path) -> Numbers:
    """The answer, what was tried with its scores, the fresh seeds and best-of-n."""
    answer = json.loads(said)
    found: Numbers = {name: answer[name] for name in ("df_prompt", "answer", "reason", "finalist", "origin")}
    found["images"] = answer["images"]["measured"]
    found["evaluations"] = [answer["evaluations"][name] for name in ("done", "saved")]
    if answer["evidence"] is not None:
        found |= {f"evidence {name}": answer["evidence"][name] for name in ("difference", "interval", "p")}
    for line in answer["scores"]:
        found[f"fresh {line['score']}"] = [line["plain"], line["finalist"]]
    for path in sorted((output / "images").glob("*.png")):
        found[f"{path.stem}: pixels"] = pixels(path)
    return found


def read_rows(said: str, output: Path) -> Numbers:
    """Every row's words, noise, scores and picture, of an evaluation or an ablation."""
    found: Numbers = {}
    for path in sorted(output.rglob("rows.jsonl")):
        for row in read_lines(path):
            if "measurement" in row:
                continue  # the first line says what is measured
            name = f"{row['method']} | {row['prompt_id']} | {row['seed']}"
            found[f"{name}: df_prompt"] = row["df_prompt"]
            found[f"{name}: noise"] = row["noise"]
            if row["picture"]:
                found[f"{name}: pixels"] = pixels(path.parent / row["picture"])
            found |= {f"{name}: {score}": value for score, value in row["scores"].items()}
            found |= {f"{name}: failed {what}": True for what in row["failed"]}
    return found


def read_evaluate(said: str, output: Path) -> Numbers:
    """The rows, and each method's line in each score."""
    found, answer = read_rows(said, output), json.loads(said)
    for line in answer["scores"]:
        name = f"{line['method']} {line['score']}"
        found |= _compared(name, line["mean"], line["comparison"])
        found[f"{name}: p_holm"] = line["adjusted_p"]
    for line in answer["methods"]:
        found[f"{line['method']}: definition"] = line["definition"]
    return found


def read_ablation(said: str, output: Path) -> Numbers:
    """The rows, and each effect."""
    found, answer = read_rows(said, output), json.loads(said)
    for effect in answer["effects"]:
        name = " | ".join(str(effect[key]) for key in ("modifier", "arm", "baseline", "score", "fresh_seeds"))
        for key in ("difference", "interval", "p", "p_holm", "pairs"):
            if effect["compared"] is not None:
                found[f"{name}: {key}"] = effect["compared"][key]
    return found


def read_calibrate(said: str, output: Path) -> Numbers:
    """Thresholds and spreads."""
    answer = json.loads(said)
    return {name: answer[name] for name in ("images", "gates", "spread")}


def read_curate(said: str, output: Path) -> Numbers:
    """The gains of every pair, what was kept, and the report's means."""
    answer = json.loads(said)
    found: Numbers = {name: answer[name] for name in ("kept", "rejected", "confidence")}
    for row in read_lines(output / "scores.jsonl"):
        found[row["key"]] = [row["aesthetic_gain"], row["clip_gain"], row["judge_gains"]]
    return found


def read_training(said: str, output: Path) -> Numbers:
    """The metrics of every step, but for the clock's, and the policy's weights."""
    found: Numbers = {}
    for number, row in enumerate(read_lines(output / "metrics.jsonl")):
        for name, value in row.items():
            if isinstance(value, int | float) and "second" not in name and "/s" not in name:
                found[f"{number} {name}"] = value
    weights = sorted((output / "policy").glob("*.safetensors"))
    for path in weights:
        found[f"{path.name}: pixels"] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


READERS: dict[str, Callable[[str, Path], Numbers]] = {
    "optimize": read_optimize,
    "compare": read_compare,
    "tune": read_tune,
    "evaluate": read_evaluate,
    "range": read_ablation,
    "weight": read_ablation,
    "attribution": read_ablation,
    "calibrate": read_calibrate,
    "curate": read_curate,
    "sft": read_training,
    "ppo": read_training,
    "grpo": read_training,
}


def measure(case: str) -> Numbers:
    """Run a case in a fresh folder and read its numbers."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            prepare()
            output = "reward.toml" if case == "calibrate" else "out"
            said = run(case, output)
            return json.loads(json.dumps(READERS[case](said, Path(output))))
        finally:
            os.chdir(before)


def measure_apart(cases: Sequence[str]) -> dict[str, Numbers]:
    """Measure cases, each in a process of its own: what one leaves in a cache is none of another's."""
    import dfprompt.api.comparison
    import dfprompt.api.reinforcement  # noqa: F401 (imported once, then forked)

    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return dict(zip(cases, pool.map(measure, cases, chunksize=1), strict=True))


def processor() -> str:
    """Return what decides the last bits of a number: the processor and the library that computes."""
    import torch

    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model
        )
    return f"{model}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"


def differences(recorded: Numbers, now: Numbers, *, exact: bool) -> list[str]:
    """Return a line for every number that is gone, or another than recorded; a command may say more."""
    lines = [f"{name}: gone" for name in recorded.keys() - now.keys()]
    for name in recorded.keys() & now.keys():
        if not exact and name.endswith(": pixels"):
            continue
        if not _same(recorded[name], now[name], exact=exact):
            lines.append(f"{name}: was {recorded[name]}, is {now[name]}")
    return sorted(lines)


def _same(before: Any, now: Any, *, exact: bool) -> bool:
    if exact or isinstance(before, str | bool | None) or isinstance(now, str | bool | None):
        return bool(before == now)
    if isinstance(before, dict):
        return before.keys() == now.keys() and all(
            _same(before[key], now[key], exact=False) for key in before
        )
    if isinstance(before, list):
        pairs = zip(before, now, strict=False)
        return len(before) == len(now) and all(_same(one, other, exact=False) for one, other in pairs)
    return math.isclose(before, now, abs_tol=TOLERANCE * (1 + abs(before)))


def main(arguments: Sequence[str]) -> int:
    """Compare or record; 1 where something differs."""
    write = "--write" in arguments
    cases = [name for name in arguments if name != "--write"] or list(CASES)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"cases": {}}
    found = measure_apart(cases)
    if write:
        record = {"processor": processor(), "cases": {**record["cases"], **found}}
        RECORD.write_text(json.dumps(record, indent=0, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    exact, bad = record["processor"] == processor(), 0
    for case in cases:
        lines = differences(record["cases"][case], found[case], exact=exact)
        bad += len(lines)
        sys.stdout.write(f"{case}: {len(found[case])} numbers, {len(lines)} differ\n")
        sys.stdout.writelines(f"  {line}\n" for line in lines[:20])
    return int(bad > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
