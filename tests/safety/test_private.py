"""What is written says nothing of the machine it was written on, or of another project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dfprompt
from crash_commands import COMMANDS, write_inputs
from crash_machine import begin, import_everything, run
from dfprompt.errors import InputError
from dfprompt.policy import Policy, load_policy_folder, save_policy_folder
from dfprompt.policy.lora import add_lora
from tiny_policies import tiny_model, tiny_tokenizer


def test_the_commit_of_a_project_around_the_installed_package_is_not_ours(tmp_path: Path) -> None:
    package = tmp_path / "theirs" / "site-packages" / "dfprompt"
    package.parent.mkdir(parents=True)
    (tmp_path / "theirs" / "pyproject.toml").write_text('[project]\nname = "theirs"\n')
    package.symlink_to(Path(dfprompt.__file__).parent)  # then copied, so that its files lie in their project
    import shutil

    target = tmp_path / "theirs" / "lib" / "dfprompt"
    shutil.copytree(Path(dfprompt.__file__).parent, target, ignore=shutil.ignore_patterns("weights"))
    for words in (["init", "-q"], ["add", "pyproject.toml"], ["commit", "-q", "-m", "x"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path / "theirs"), *identity, *words], check=True)
    code = "from dfprompt.config.provenance import collect_provenance as c; print(c()['commit'])"
    environment = {**os.environ, "PYTHONPATH": str(target.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert ran.stdout.strip() == "None"


def test_a_lora_policy_names_its_base_by_its_way_and_moves_with_it(tmp_path: Path) -> None:
    base = save_policy_folder(Policy(tiny_model(), tiny_tokenizer(), name="base"), tmp_path / "x" / "base")
    model = add_lora(load_policy_folder(base).model, rank=2, base=base)
    saved = save_policy_folder(
        Policy(model, tiny_tokenizer(), name="lora"), tmp_path / "x" / "run" / "policy"
    )
    named = json.loads((saved / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == "../../base"
    for path in saved.rglob("*.json"):
        assert str(tmp_path) not in path.read_text()
    (tmp_path / "x").rename(tmp_path / "y")
    assert load_policy_folder(tmp_path / "y" / "run" / "policy").name == "lora"


USER, HOST = "ford-prefect", "heart-of-gold"
QUICK = ("generate", "evaluate", "curate", "train sft", "plan", "inspect")


def _be_somebody() -> None:
    """Let this process run as a user, and on a machine, whose names would be found in any file."""
    import socket

    os.environ |= dict.fromkeys(("USER", "LOGNAME", "USERNAME", "HOSTNAME"), USER)
    os.environ["HOSTNAME"] = HOST
    system, _, *rest = os.uname()
    known = os.uname_result((system, HOST, *rest))
    os.uname = lambda: known
    socket.gethostname = lambda: HOST


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.nightly) for name in COMMANDS]
)
@pytest.mark.few("generate", "curate", "plan")
def test_no_file_names_its_machine_its_user_or_a_folder_of_it(name: str, tmp_path: Path) -> None:
    import_everything()
    write_inputs(tmp_path)
    folder = tmp_path / "run"
    begin(COMMANDS[name], folder)
    ended = run(COMMANDS[name].parts, folder, limit=_be_somebody)
    assert ended.code == 0, ended.err
    names = (str(tmp_path), str(Path(dfprompt.__file__).parent), str(Path.home()), USER, HOST)
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        found = [each for each in names if each.encode() in content or each in path.name]
        assert not found, path


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        ('[models]\nclip = "/srv/anna/clip"\n', "models.clip"),
        ('[models]\npreference = "hps:~/hps"\n', "models.preference"),
        ('[[extra]]\nname = "x"\nscore = "clip:/srv/anna/clip"\n', "extra.score"),
        ('[[judges]]\nname = "x"\nfunction = "/srv/anna/mine.py:judge"\n', "judges.function"),
        ('[remote]\ntoken_file = "/srv/anna/token"\n', "remote.token_file"),
    ],
)
def test_a_reward_that_names_a_place_of_this_machine_is_not_shared(
    recipe: str, key: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(recipe)
    with pytest.raises(InputError, match=f"{key} is .*, a place of this machine"):
        dfprompt.push_to_hub(tmp_path / "mine.toml", tmp_path / "shared")
    (tmp_path / "mine.toml").write_text(recipe.replace("/srv/anna/", "").replace("~/", ""))
    dfprompt.push_to_hub(tmp_path / "mine.toml", tmp_path / "shared")


@pytest.mark.parametrize("name", ["notes.txt", "clip/weights.safetensors"])
def test_what_a_link_leads_to_is_not_shared(name: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    link = tmp_path / "reward" / name
    link.parent.mkdir(parents=True)
    (tmp_path / "reward" / "reward.toml").write_text("")
    link.symlink_to(tmp_path / "key")
    with pytest.raises(InputError, match=f"{name} is a link"):
        dfprompt.push_to_hub(tmp_path / "reward", tmp_path / "shared")
    link.unlink()
    (tmp_path / "reward" / "id_rsa").symlink_to(tmp_path / "key")
    with pytest.warns(dfprompt.DFPromptWarning, match="not shared of .*id_rsa"):
        dfprompt.push_to_hub(tmp_path / "reward", tmp_path / "shared")
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "shared").iterdir())
