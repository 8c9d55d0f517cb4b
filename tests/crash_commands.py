"""Every command that writes into a folder, as small as it can be, and how it is run again after a crash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_DRAW = ("--steps", "2")
_SHORTS = ("a red cat on a hill", "a blue boat at night", "a green star", "a yellow house in the snow")


@dataclass(frozen=True)
class Command:
    """What is typed, and what is added to go on.

    `manifest` is the file that tells a folder is its own, `target` where it writes, `before` the words of
    runs whose files stand there already, and `given` what is laid beside before anything runs. `brief` ones
    write with what others are tried with at length: the nightly run takes few of their operations.
    """

    words: tuple[str, ...]
    again: tuple[str, ...] = ()
    manifest: str = ""
    slow: bool = False
    target: tuple[str, ...] = ("--output", "out")
    before: tuple[tuple[str, ...], ...] = ()
    given: str = ""
    brief: bool = False

    @property
    def owns_folder(self) -> bool:
        """Whether it holds a folder of its own while it works, not one file beside others."""
        return self.target == ("--output", "out") and (not self.brief or bool(self.manifest))

    @property
    def parts(self) -> Sequence[str]:
        """The words with the place they write into."""
        return (*self.words, *self.target)


def _set(*changes: str) -> tuple[str, ...]:
    return tuple(word for each in changes for word in ("--set", each))


_RUN = (
    'device="cpu"',
    "data.folder=../data",
    "optimizer.steps=2",
    "validation.interval=1",
    "validation.samples=1",
    "checkpoints.interval=1",
)
_STAGE_TWO = (
    *(*_RUN, "model.base=mini-sft", "rollout.rows=8", "validation.rows=2"),
    "pictures.num_inference_steps=2",
)
_CONFIDENCE = (
    "confidence.seeds=1",
    "confidence.aesthetic=mini",
    "confidence.clip=mini",
    "confidence.batch_size=2",
)
COMMANDS = {
    "generate": Command(("generate", "a red cat, [film grain:late]", "--seeds", "2", *_DRAW), ("--force",)),
    "compare": Command(
        ("compare", "a red cat on a hill", "--seeds", "2", "--reward", "none", *_DRAW),
        ("--resume",),
        "rows.jsonl",
    ),
    "evaluate": Command(
        (
            *(
                "evaluate",
                "--prompts",
                "../prompts.txt",
                "--methods",
                "plain,suffix",
                "--suffix",
                "film grain",
            ),
            *("--seeds", "2", "--validation-images", "0", *_DRAW),
        ),
        (),
        "rows.jsonl",
    ),
    "ablate": Command(
        (
            *("ablate", "weight", "--prompts", "../prompts.txt", "--modifiers", "film grain", "--seeds", "1"),
            *_DRAW,
        ),
        (),
        "rows.jsonl",
        slow=True,
    ),
    "tune": Command(
        ("tune", "a red cat on a hill", "--images", "16", *_DRAW), ("--resume",), "rows.jsonl", slow=True
    ),
    "curate": Command(("curate", "../logs.txt", "--no-images"), ("--resume",), "recipe.toml"),
    "train sft": Command(
        (
            "train",
            "sft",
            *_set(*_RUN, "model.base=mini", "optimizer.batch_size=4", "optimizer.micro_batch_size=4"),
        ),
        ("--resume",),
        "recipe.toml",
    ),
    "train grpo": Command(
        ("train", "grpo", *_set(*_STAGE_TWO, "group.size=4", "rollout.control_draws=1")),
        ("--resume",),
        "recipe.toml",
        slow=True,
    ),
    "train ppo": Command(("train", "ppo", *_set(*_STAGE_TWO)), ("--resume",), "recipe.toml", slow=True),
    "plan": Command(("plan", "a cat, [film grain:late]"), ("--force",), target=("--svg", "out/plan.svg")),
    "inspect": Command(
        ("inspect", "out/a-red-cat-seed0.png", "--pipeline", "mini"),
        ("--force",),
        target=("--output", "out/again.png"),
        before=(("generate", "a red cat", "--output", "out", *_DRAW),),
    ),
    "calibrate": Command(
        ("calibrate", "--prompts", "../prompts.txt", "--pipeline", "mini", "--seeds", "4", *_DRAW),
        ("--force",),
        target=("--output", "out/reward.toml"),
    ),
    "ablate attribution": Command(
        ("ablate", "attribution", "a red cat, [film grain:late], [golden hour:full]", "--seeds", "1", *_DRAW),
        manifest="rows.jsonl",
        slow=True,
    ),
    "curate pictures": Command(
        ("curate", "../few.txt", "--pipeline", "mini", *_set(*_CONFIDENCE)),
        ("--resume",),
        "recipe.toml",
        slow=True,
    ),
    "restrain": Command(
        ("restrain", "policy", "--count", "6", "--seeds", "1"), (), "rows.jsonl", slow=True, given="policy"
    ),
}
COMMANDS |= {
    name: replace(command, brief=True)
    for name, command in {
        "start": Command(
            (
                *("start", "a red cat", "--vary", "film grain", "--pipeline", "mini", "--seeds", "1"),
                *("--reward", "none", "--yes", *_DRAW),
            ),
            ("--force",),
            "rows.jsonl",
        ),
        "learn": Command(("learn", "../searched")),
        "taste": Command(
            ("taste", "--choices", "../pairs.jsonl", "--reward", "clip:mini"), manifest="choices.jsonl"
        ),
        "merge": Command(("merge", "../parts/1", "../parts/2")),
        "plot": Command(("plot", "../trained"), ("--force",)),
        "judge-check": Command(
            ("judge-check", "--pairs", "../pairs.jsonl", "--judge", "clip:mini"), ("--force",)
        ),
        "study plan": Command(
            (
                *(
                    "study",
                    "plan",
                    "../drawn",
                    "--methods",
                    "plain,secret-method",
                    "--pairs",
                    "4",
                    "--gold",
                    "1",
                ),
                *("--participants", "4", "--per-participant", "2", "--practice", "1", "--repeats", "1"),
            )
        ),
        "study report": Command(("study", "report", "../study"), ("--force",)),
        "study export": Command(
            ("study", "export", "../study"), ("--force",), target=("--output", "out/answers.csv")
        ),
        "ablate range": Command(
            (
                *("ablate", "range", "--prompts", "../prompts.txt", "--modifiers", "film grain"),
                *("--seeds", "1", *_DRAW),
            ),
            manifest="rows.jsonl",
            slow=True,
        ),
    }.items()
}
# Not here, for they write one file or line, or a server writes with the same room: forget, simulate, serve.
# Over what another run left: whatever a kill leaves is the old, the new, or gone on with.


def _forced(name: str, *before: str) -> Command:
    """A command over what it left itself when other words, `before`, were asked of it."""
    command = COMMANDS[name]
    return replace(
        command,
        words=(*command.words, "--force"),
        before=(*command.before, (*before, *command.target)),
        slow=True,
    )


COMMANDS |= {
    f"{name} --force": _forced(name, *before)
    for name, before in {
        "generate": ("generate", "a red cat, [film grain:late]", "--seeds", "2", "--steps", "1"),
        "calibrate": ("calibrate", "--prompts", "../prompts.txt", "--seeds", "4", "--steps", "1"),
        "curate": ("curate", "../few.txt", "--no-images"),
        "train sft": (*COMMANDS["train sft"].words, *_set("optimizer.learning_rate=0.01")),
    }.items()
}
# The rest of them, for `benchmarks/bench_kills.py`: they write as those above do.
FORCED = {
    f"{name} --force": _forced(name, *before)
    for name, before in {
        "compare": ("compare", "a blue boat", "--seeds", "1", "--reward", "none", "--steps", "1"),
        "curate pictures": ("curate", "../logs.txt", "--no-images"),
        "train grpo": (*COMMANDS["train grpo"].words, *_set("optimizer.learning_rate=0.01")),
        "train ppo": (*COMMANDS["train ppo"].words, *_set("optimizer.learning_rate=0.01")),
        "plan": ("plan", "a dog, [film grain:early]"),
        "inspect": ("inspect", "out/a-red-cat-seed0.png", "--pipeline", "mini"),
        "start": (
            *("start", "a blue boat", "--vary", "bokeh", "--pipeline", "mini", "--seeds", "1"),
            *("--reward", "none", "--yes", "--steps", "1"),
        ),
        "plot": ("plot", "../trained"),
        "judge-check": ("judge-check", "--pairs", "../pairs.jsonl", "--judge", "aesthetic:mini"),
        "study report": ("study", "report", "../study"),
        "study export": ("study", "export", "../study"),
    }.items()
}


def write_inputs(place: Path) -> None:
    """What the commands read: prompts, logs, rows to train on, a picture, a policy, beside their folder."""
    from dfprompt.api.world import mini_folder

    place.mkdir(parents=True, exist_ok=True)
    shutil.copytree(mini_folder("policy"), place / "policy")
    (place / "prompts.txt").write_text("\n".join(_SHORTS[:2]) + "\n")
    logs = [
        f"{short}, {style}, golden hour"
        for short in _SHORTS
        for style in ("film grain", "bokeh", "8k", "soft glow")
    ]
    (place / "logs.txt").write_text("\n".join(logs) + "\n")
    (place / "few.txt").write_text("\n".join(logs[:4]) + "\n")
    _write_measured(place)
    (place / "data").mkdir(exist_ok=True)
    rows = [
        {"short": short, "modifiers": ["golden hour", "film grain"][: 1 + at % 2], "kept": at % 5 != 0}
        for at, short in enumerate(_SHORTS * 6)
    ]
    for name in ("train", "validation"):
        (place / "data" / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _write_measured(place: Path) -> None:
    """What was drawn, searched, chosen, trained and asked before, without drawing or training anything."""
    from dfprompt.measurement.log import ROWS, MeasurementLog
    from dfprompt.measurement.rows import Row
    from dfprompt.measurement.shards import Shard, note_shard
    from tiny_study import METHODS, make_study, write_evaluation

    write_evaluation(place / "drawn", prompts=8)
    head, *lines = (place / "drawn" / ROWS).read_text().splitlines()
    for number in (1, 2):
        part = place / "parts" / str(number)
        shutil.copytree(place / "drawn", part)
        own = lines[number - 1 :: 2]
        (part / ROWS).write_text("".join(f"{line}\n" for line in [head, *own]))
        note_shard(part, "evaluation", Shard(number, 2), [[str(at)] for at in range(len(lines))])
    pairs = [
        {
            "prompt": f"a cat number {at}",
            **{side: f"drawn/pictures/{name}-p{at}-s0.png" for side, name in zip("ab", METHODS, strict=True)},
            "choice": "ab"[at % 2],
        }
        for at in range(4)
    ]
    (place / "pairs.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))
    asked = {"model": {"name": "mini"}, "scores": {"reward": "reward"}}
    with MeasurementLog(place / "searched" / ROWS, asked, kind="search") as log:
        tried = (("a cat", 5.0), ("a cat, [film grain:late]", 6.0), ("a cat, [8k:early]", 5.5))
        log.append(
            Row(text, "p", "a cat", noise, noise=noise, df_prompt=text, scores={"reward": value + noise % 3})
            for noise in range(12)
            for text, value in tried
        )
    (place / "trained").mkdir()
    steps = [{"step": at, "loss": 1 / at, "reward": at / 4, "alerts": ["slow"]} for at in (1, 2, 3)]
    (place / "trained" / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in steps))
    (place / "trained" / "recipe.toml").write_text("[optimizer]\nsteps = 3\n")
    study = make_study(place / "study", place / "drawn", pairs=4, per_participant=2, participants=4, gold=1)
    for token in study.tokens[:2]:
        person = study.consent(study.enrol(token=token))
        assert person.number is not None
        for trial in study.trials(person.number)[:3]:
            study.answer(person.id, trial.id, {"shows": "left", "prefer": "right"}, 2.5)
