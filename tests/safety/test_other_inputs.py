"""What was begun goes on with the same data, policies, pipelines and rewards alone: with others it is refused
in words and nothing is written, and put back they are gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from crash_commands import COMMANDS, write_inputs
from crash_machine import begin, import_everything, run, tree

PIPELINE, CLIP = ("--pipeline", "../pipeline"), ("--reward", "clip:../clip")
POLICY = ("--policy", "../policy", "--methods", "plain,policy", "--pipeline", "mini")
OWN_WORDS = ("--with", "a red cat on a hill, [film grain:late]")
DRAWN = (*PIPELINE, *CLIP)
STAGE_TWO = ("--set", "pictures.pipeline=../pipeline", "--set", "reward.source=clip:../clip")
CONFIDENCE = ("--pipeline", "../pipeline", "--set", "confidence.clip=../clip")


def _train_on(victim: Path) -> None:
    """Change the numbers of a weights file, as training would."""
    from safetensors.torch import load_file, save_file

    save_file({name: tensor * 1.25 for name, tensor in load_file(victim).items()}, victim, {"format": "pt"})


def _drop_line(victim: Path) -> None:
    lines = victim.read_text().splitlines()
    victim.write_text("\n".join(lines[:-1]) + "\n")


def _weights(folder: str) -> tuple[str, Callable[[Path], None]]:
    return f"{folder}/*.safetensors", _train_on


def _with(words: Sequence[str], extra: Sequence[str]) -> list[str]:
    """A command with further options; one that it has already gets the new value."""
    kept = list(words)
    for flag in {*extra[::2]} & {*words} - {"--set"}:
        at = kept.index(flag)
        del kept[at : at + 2]
    return [*kept, *extra]


UNET, REWARD = _weights("pipeline/unet"), _weights("clip")
CASES: dict[str, tuple[tuple[str, ...], tuple[str, Callable[[Path], None]]]] = {
    "compare, pipeline": ((*DRAWN, *OWN_WORDS), UNET),
    "compare, reward": ((*DRAWN, *OWN_WORDS), REWARD),
    "evaluate, pipeline": (DRAWN, UNET),
    "evaluate, reward": (DRAWN, REWARD),
    "evaluate, policy": (POLICY, _weights("policy")),
    "ablate, pipeline": (DRAWN, UNET),
    "ablate, reward": (DRAWN, REWARD),
    "ablate range, pipeline": (DRAWN, UNET),
    "ablate range, reward": (DRAWN, REWARD),
    "ablate attribution, pipeline": (DRAWN, UNET),
    "ablate attribution, reward": (DRAWN, REWARD),
    "tune, pipeline": (DRAWN, UNET),
    "tune, reward": (DRAWN, REWARD),
    "restrain, pipeline": ((*PIPELINE, "--reward", "mini", "--judge", "mini"), UNET),
    "restrain, policy": ((), _weights("run/policy")),
    "curate pictures, pipeline": (CONFIDENCE, UNET),
    "curate pictures, reward": (CONFIDENCE, REWARD),
    "train ppo, data": ((), ("data/train.jsonl", _drop_line)),
    "train ppo, base": (("--set", "model.base=../policy"), _weights("policy")),
    "train ppo, pipeline": (STAGE_TWO, UNET),
    "train ppo, reward": (STAGE_TWO, REWARD),
    "train grpo, data": ((), ("data/train.jsonl", _drop_line)),
    "train grpo, base": (("--set", "model.base=../policy"), _weights("policy")),
    "train grpo, pipeline": (STAGE_TWO, UNET),
    "train grpo, reward": (STAGE_TWO, REWARD),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.timeout(600)
@pytest.mark.few("compare, reward")
def test_nothing_goes_on_with_other_inputs(case: str, tmp_path: Path) -> None:
    from dfprompt.api.world import mini_folder

    import_everything()
    write_inputs(tmp_path)
    for name in ("pipeline", "clip"):
        shutil.copytree(mini_folder(name), tmp_path / name)
    extra, (pattern, change) = CASES[case]
    command, folder = COMMANDS[case.partition(",")[0]], tmp_path / "run"
    begin(command, folder)
    words = _with(command.parts, extra)
    first = run(words, folder)
    assert first.code == 0, first.err
    whole = tree(folder / "out")
    victim = next(tmp_path.glob(pattern))
    kept = victim.read_bytes()
    change(victim)
    refused = run([*words, "--resume"] if command.again else words, folder)
    assert refused.code in (1, 2), refused.out + refused.err
    assert "error:" in refused.err
    assert "another" in refused.err
    assert tree(folder / "out") == whole
    victim.write_bytes(kept)
    again = run([*words, *command.again], folder)
    assert again.code == 0, again.err
    assert tree(folder / "out") == whole
