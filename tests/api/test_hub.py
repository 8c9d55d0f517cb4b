"""Sharing through the hub: a round trip with a local folder in its place, and cards that fill themselves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import dfprompt
from dfprompt.errors import ConfigError, InputError, LoadError
from dfprompt.policy import save_policy_folder
from tiny_policies import storable_policy

WORDS = "a red house"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the hub: what is uploaded lies in its cache, as a download would leave it."""
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def upload(self: HfApi, *, repo_id: str, folder_path: Path, **rest: Any) -> str:
        place = tmp_path / "cache" / f"models--{repo_id.replace('/', '--')}"
        shutil.copytree(folder_path, place / "snapshots" / ("0" * 40))
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("0" * 40)
        return f"https://hub.invalid/{repo_id}"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo_id, **rest: None)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_policy_folder(storable_policy(favour=("film grain", "oil painting")), tmp_path / "mine")


def card_of(hub: Path, name: str) -> str:
    (card,) = (hub / f"models--{name.replace('/', '--')}").rglob("README.md")
    return card.read_text(encoding="utf-8")


def test_a_policy_comes_back_as_it_was(hub: Path, folder: Path) -> None:
    assert dfprompt.push_to_hub(folder, "me/mine").endswith("me/mine")
    before, after = dfprompt.load_policy(folder), dfprompt.load_policy("hub:me/mine")
    assert after.digest == before.digest
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(after.model.state_dict()[name], tensor)
    written = [dfprompt.optimize_prompt(WORDS, each, candidates=2, seed=3) for each in (before, after)]
    assert [str(each.prompt) for each in written[0]] == [str(each.prompt) for each in written[1]]


def test_a_local_folder_takes_the_place_of_a_repository(folder: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (folder / "code.py").write_text("raise SystemExit")
    (folder / "weights.bin").write_bytes(b"\x80\x04.")
    with pytest.warns(dfprompt.DFPromptWarning, match=r"not shared of .*: code\.py, weights\.bin"):
        assert dfprompt.push_to_hub(folder, shared) == str(shared)
    assert dfprompt.load_policy(shared).digest == dfprompt.load_policy(folder).digest
    assert not {"code.py", "weights.bin"} & {each.name for each in shared.iterdir()}
    card = (shared / "README.md").read_text(encoding="utf-8")
    assert "--policy shared" in card  # which runs beside the folder
    assert "hub:" not in card


def test_the_card_says_what_the_files_say_and_what_they_do_not(
    hub: Path, folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "evaluation" / "tables"
    table.mkdir(parents=True)
    shutil.copyfile(
        Path(__file__).parents[2] / "experiments" / "mini-full-table" / "scores.csv", table / "scores.csv"
    )
    (folder.parent / "recipe.toml").write_text('[data]\nfolder = "some/where/logs"\n')
    dfprompt.push_to_hub(folder, "me/mine", base="gpt2", licence="apache-2.0", evaluation=table.parent)
    card = card_of(hub, "me/mine")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "| base model | gpt2 |" in card
    assert "| trained on | logs |" in card  # no path of a machine
    assert "| ranges | full, early, late |" in card
    assert "--policy hub:me/mine" in card
    assert "| policy | reward | +1.522 (+1.054 to +1.967) | 30, 2, 0 | 32 |" in card
    assert "| policy | fidelity (judge) | -0.031 (-0.125 to +0.000) | 0, 30, 2 | 32 |" in card
    (folder.parent / "recipe.toml").unlink()
    dfprompt.push_to_hub(folder, "me/other")
    card = card_of(hub, "me/other")
    assert card.startswith("---\nlicense: unknown\n")
    assert "| licence | not stated |" in card
    assert "| trained on | not stated |" in card
    assert "Not measured: no evaluation was given." in card


def test_a_local_folder_is_replaced_where_it_is_an_earlier_share_alone(folder: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for _ in range(2):
        dfprompt.push_to_hub(folder, shared)
    (shared / "ch1").mkdir()
    (shared / "ch1" / "text.md").write_text("mine")
    for theirs in (shared, folder):
        before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
        with pytest.raises(InputError, match="holds other files than an earlier share"):
            dfprompt.push_to_hub(folder, theirs)
        assert before == {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}


def test_a_reward_comes_back_as_it_was(hub: Path, reward_set: Path) -> None:
    dfprompt.push_to_hub(reward_set, "me/reward", licence="mit")
    pictures = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    scores = [dfprompt.score_images(pictures, WORDS, each) for each in (str(reward_set), "hub:me/reward")]
    assert scores[0].keys() == scores[1].keys()
    for name, column in scores[0].items():
        assert torch.equal(column, scores[1][name])
    card = card_of(hub, "me/reward")
    assert "| scores | clip, aesthetic, preference |" in card
    assert "license: mit" in card
    assert "--reward hub:me/reward" in card
    dfprompt.push_to_hub(reward_set, reward_set.parent / "shared-reward")
    card = (reward_set.parent / "shared-reward" / "README.md").read_text(encoding="utf-8")
    assert "--reward shared-reward" in card
    assert "hub:" not in card


def test_a_shared_recipe_runs_no_code_and_sends_no_picture_anywhere(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "mine.toml"
    nothing = "[composite]\na = 0\nc = 0\nd = 0\n"
    recipe.write_text(f'{nothing}[[extra]]\nname = "x"\nfunction = "os:system"\n')
    dfprompt.push_to_hub(recipe, "me/code")
    with pytest.raises(ConfigError, match="allow"):
        dfprompt.load_reward("hub:me/code")
    recipe.write_text(f'{nothing}[[extra]]\nname = "x"\nscore = "http://203.0.113.1/"\n')
    dfprompt.push_to_hub(recipe, "me/server")
    with pytest.raises(ConfigError, match=r"sends pictures to .*203\.0\.113\.1"):
        dfprompt.load_reward("hub:me/server")


def test_what_is_neither_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither a policy"):
        dfprompt.push_to_hub(tmp_path / "empty", "me/x")
    with pytest.raises(ConfigError, match="no name on the hub"):
        dfprompt.push_to_hub(folder, "just a name")
    with pytest.raises(InputError, match="no table of an evaluation"):
        dfprompt.push_to_hub(folder, "me/x", evaluation=tmp_path)
    with pytest.raises(LoadError, match="hf auth login"):
        dfprompt.push_to_hub(folder, "me/x")  # offline
