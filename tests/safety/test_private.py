"""What is written says nothing of the machine it was written on, or of another project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dfprompt
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
