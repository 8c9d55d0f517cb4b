"""A policy folder is data: Python code in it never runs, and nothing is ever asked on stdin."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfprompt.errors import LoadError
from dfprompt.policy import Policy, load_policy_folder, save_policy_folder
from dfprompt.policy.folders import load_policy_model
from tiny_policies import tiny_model, tiny_tokenizer, tiny_trunk

Edit = Callable[[dict[str, Any]], None]

# What the code would be: it leaves a file behind and offers a class of every kind.
CODE = """
from pathlib import Path
Path(__file__).with_name("RAN").touch()
Path({marker!r}).touch()
from transformers import GPT2Config as C, GPT2LMHeadModel as M, PreTrainedTokenizerFast as T
"""


def remote(kinds: dict[str, str]) -> Edit:
    return lambda config: config.update(auto_map=dict(kinds))


def remote_tokenizer(config: dict[str, Any]) -> None:
    config.update(auto_map={"AutoTokenizer": ["m.T", "m.T"]}, tokenizer_class="T")


def remote_trunk(config: dict[str, Any]) -> None:
    config["trunk"]["auto_map"] = {"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"}
    config["trunk"]["_name_or_path"] = "."


HOSTILE: dict[str, tuple[str, Edit]] = {
    "config": ("config.json", remote({"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"})),
    "foreign config": (
        "config.json",
        lambda c: c.update(model_type="never heard of", auto_map={"AutoConfig": "m.C"}),
    ),
    "model": ("config.json", remote({"AutoModelForCausalLM": "m.M"})),
    "trunk": ("config.json", remote_trunk),
    "tokenizer": ("tokenizer_config.json", remote_tokenizer),
    "tokenizer named elsewhere": ("config.json", remote({"AutoTokenizer": "m.T"})),
}


@pytest.fixture(params=["policy", "language model"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A good folder with a module in it that nothing may import."""
    place = tmp_path / "p"
    save_policy_folder(Policy(tiny_model(), tiny_tokenizer(), name="tiny"), place)
    if request.param == "language model":
        tiny_trunk().save_pretrained(place)
    (place / "m.py").write_text(CODE.format(marker=str(tmp_path / "RAN")))
    return place


def edit(path: Path, change: Edit) -> None:
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("kind", HOSTILE)
def test_code_in_a_folder_never_runs_and_nobody_is_asked(
    kind: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, change = HOSTILE[kind]
    if kind == "trunk" and "trunk" not in json.loads((folder / name).read_text()):
        pytest.skip("a plain language model has no trunk of its own")
    edit(folder / name, change)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    with contextlib.suppress(LoadError):  # refused, or loaded as the stock class that it names
        load_policy_folder(folder)
    assert not asked
    assert not list(tmp_path.rglob("RAN"))


def test_a_list_of_prompts_answers_no_question(tmp_path: Path, cli: Any) -> None:
    """The first line of `optimize -` was once the answer to transformers' question."""
    place = tmp_path / "p"
    save_policy_folder(Policy(tiny_model(), tiny_tokenizer(), name="tiny"), place)
    (place / "m.py").write_text(CODE.format(marker=str(tmp_path / "RAN")))
    edit(place / "tokenizer_config.json", remote_tokenizer)
    done = cli("optimize", "-", "--policy", str(place), stdin=b"y\na red cat\n")
    assert "Traceback" not in done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("RAN"))
    # Either refused, or every line of the list is a prompt.
    assert done.returncode == 2 or len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["trunk"].update(n_head="x"),
        lambda c: c.update(trunk=[1, 2]),
        lambda c: c.update(forbidden=5),
        lambda c: c.update(dtype="evil"),
        lambda c: c.update(attn_implementation="somebody/attention"),
        lambda c: c.update(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        lambda c: c.update(trunk=None),
        lambda c: c.update(ranges=5),
        lambda c: c["trunk"].update(n_embd=10**9),
        lambda c: c.update(control={"a": 1}),
    ],
)
def test_an_odd_config_is_one_error_that_names_the_folder(change: Edit, tmp_path: Path) -> None:
    place = tmp_path / "p"
    save_policy_folder(Policy(tiny_model(), tiny_tokenizer(), name="tiny"), place)
    edit(place / "config.json", change)
    with pytest.raises(LoadError) as caught:
        load_policy_model(place)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)
