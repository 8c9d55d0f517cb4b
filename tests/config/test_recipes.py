"""Recipes: TOML, assignments, every problem at once with the nearest name, and what is saved with a run."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.config import (
    Config,
    apply_assignments,
    collect_provenance,
    describe_fields,
    git_commit,
    load_config,
    make_config,
    nearest,
    parse_assignment,
    read_recipe,
    save_resolved,
    to_toml,
    undocumented_fields,
)
from dfprompt.errors import ConfigError, InputError


class Optimiser(Config):
    """A group."""

    learning_rate: float = 5e-5
    """Step size of the optimiser (Adam), 0..1."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the moments."""


class Stage(Config):
    """An entry of a list."""

    name: str
    """Its name."""
    steps: int = 10
    """Optimiser steps."""


class Run(Config):
    """A recipe with a group, a list of groups and an optional value."""

    seed: int = 42
    """Seed of everything."""
    note: str | None = None
    """Free text."""
    optimiser: Optimiser = Optimiser()
    """How weights are updated."""
    stages: tuple[Stage, ...] = ()
    """What is run, in order."""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_then_the_file_then_the_assignments(tmp_path: Path) -> None:
    recipe = write(tmp_path / "r.toml", "seed = 7\n[optimiser]\nlearning_rate = 0.1\n")
    run = load_config(Run, recipe, ["seed=8", "optimiser.betas=[0.5, 0.6]"])
    assert run == Run(seed=8, optimiser=Optimiser(learning_rate=0.1, betas=(0.5, 0.6)))
    assert load_config(Run) == Run()


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Run().seed = 3  # type: ignore[misc]
    assert hash(Run()) == hash(Run())


def test_every_problem_is_named_at_once_with_the_nearest_key(tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "r.toml",
        """
        sede = 1
        note = 3
        [optimiser]
        learning_rat = 0.1
        betas = [0.9]
        [[stages]]
        step = 5
        """,
    )
    with pytest.raises(ConfigError) as caught:
        load_config(Run, recipe, ["optimiser.lerning_rate=1", "bad", "seed.deep=1"])
    message = str(caught.value)
    assert message.startswith(f"{recipe}: ")
    for line in (
        'sede: unknown key; did you mean "seed"?',
        "note: input should be a valid string, got 3",
        'optimiser.learning_rat: unknown key; did you mean "learning_rate"?',
        'optimiser.lerning_rate: unknown key; did you mean "learning_rate"?',
        "optimiser.betas.1: required",
        'stages.0.step: unknown key; did you mean "steps"?',
        "stages.0.name: required",
        '--set "bad": expected section.key=value',
    ):
        assert line in message
    assert re.match(r".*: \d+ problems\n", message)


def test_a_value_inside_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed is a value, not a section"):
        make_config(Run, *_assigned({"seed": 1}, "seed.deep=1"))


def _assigned(values: dict[str, object], *assignments: str) -> tuple[dict[str, object]]:
    changed, problems = apply_assignments(values, assignments)
    if problems:
        raise ConfigError("\n".join(problems))
    return (changed,)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a=1", ["a"], 1),
        ("a.b=0.5", ["a", "b"], 0.5),
        ("a=true", ["a"], True),
        ("a=False", ["a"], "False"),
        ('a="1"', ["a"], "1"),
        ("a=[1, 2]", ["a"], [1, 2]),
        ("a=openai/clip", ["a"], "openai/clip"),
        ("a=", ["a"], ""),
        ("a=b=c", ["a"], "b=c"),
        (" a . b = 3 ", ["a", "b"], 3),
        ("a=1\nevil = 2", ["a"], "1\nevil = 2"),
    ],
)
def test_assignments_are_read_as_toml_or_else_as_text(text: str, path: list[str], value: object) -> None:
    assert parse_assignment(text) == (path, value)


@pytest.mark.parametrize("text", ["", "a", "=1", "a..b=1", ".a=1", "a.=1"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        parse_assignment(text)


def test_an_entry_of_a_list_can_be_set_and_a_missing_one_not(tmp_path: Path) -> None:
    recipe = write(tmp_path / "r.toml", "[[stages]]\nname = 'a'\n[[stages]]\nname = 'b'\n")
    assert load_config(Run, recipe, ["stages.1.steps=3"]).stages[1].steps == 3
    with pytest.raises(ConfigError, match=r"stages\.2 is not in the list; known here: 0, 1"):
        load_config(Run, recipe, ["stages.2.steps=3"])
    with pytest.raises(ConfigError, match="not in the list"):
        load_config(Run, recipe, ["stages.first.steps=3"])


def test_assignments_leave_the_given_tables_alone() -> None:
    values = {"optimiser": {"betas": [0.1, 0.2]}}
    apply_assignments(values, ["optimiser.betas=[1, 2]", "seed=1"])
    assert values == {"optimiser": {"betas": [0.1, 0.2]}}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_are_finite(value: str) -> None:
    with pytest.raises(ConfigError, match=r"optimiser\.learning_rate"):
        load_config(Run, assignments=[f"optimiser.learning_rate={value}"])


def test_files_that_are_no_recipe_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the recipe .*none\.toml: no such file"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read the recipe"):
        read_recipe(tmp_path)
    with pytest.raises(ConfigError, match=r"not TOML: .*line 2"):
        read_recipe(write(tmp_path / "bad.toml", "a = 1\nb = \n"))
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    with pytest.raises(ConfigError, match="byte 5 is not"):
        read_recipe(tmp_path / "latin.toml")


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(b"\xef\xbb\xbfseed = 3\n")
    assert load_config(Run, tmp_path / "r.toml").seed == 3


def test_the_resolved_recipe_reads_back_to_the_same_configuration(tmp_path: Path) -> None:
    run = Run(
        seed=3, note='a "quoted" \\ note\n\u007f 猫', stages=(Stage(name="x.y z", steps=2), Stage(name=""))
    )
    path = save_resolved(run, tmp_path / "deep" / "recipe.toml", seeds=[1, 2])
    assert load_config(Run, path) == run
    saved = tomllib.loads(path.read_text(encoding="utf-8"))["provenance"]
    assert saved["seeds"] == [1, 2]
    assert saved["versions"]["dfprompt"]
    assert saved["versions"]["torch"]
    assert list(tmp_path.rglob("*.tmp")) == []


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    path = save_resolved(Run(), tmp_path / "recipe.toml")
    with pytest.raises(InputError, match="--force"):
        save_resolved(Run(seed=1), path)
    assert load_config(Run, path).seed == 42
    save_resolved(Run(seed=1), path, force=True)
    assert load_config(Run, path).seed == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"nothing can be written into .*file, which is a file"):
        save_resolved(Run(), tmp_path / "file" / "recipe.toml")


def test_provenance_names_no_place_and_no_machine() -> None:
    import socket

    shown = str(collect_provenance([0]))
    assert str(Path.home()) not in shown
    assert socket.gethostname() not in shown


def test_the_commit_is_the_checkouts_and_says_when_files_differ(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == commit + "+changes"


_TEXT = st.text(st.characters(codec="utf-8"))
_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(tables=st.dictionaries(_TEXT, _VALUES, max_size=4))
def test_written_toml_reads_back(tables: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(tables)) == tables


def test_a_value_toml_cannot_hold_is_refused_and_none_left_out() -> None:
    assert to_toml({"a": None, "b": 1}) == "b = 1\n"
    with pytest.raises(TypeError, match="complex"):
        to_toml({"a": 1j})


def test_fields_are_described_with_their_defaults() -> None:
    rows = {row[0]: row for row in describe_fields(Run)}
    assert rows["optimiser.learning_rate"] == (
        "optimiser.learning_rate",
        "float",
        "5e-05",
        "Step size of the optimiser (Adam), 0..1.",
    )
    assert rows["note"][2] == "none"
    assert {row[0]: row[2] for row in describe_fields(Stage)}["name"] == "required"


def test_undocumented_fields_are_found() -> None:
    class Bare(Config):
        """A group."""

        documented: int = 1
        """One line."""
        bare: int = 2
        long: int = 3
        """Two
        lines."""

    assert undocumented_fields(Bare) == ("bare", "long")
    assert undocumented_fields(Run) == ()


def test_the_nearest_name() -> None:
    assert nearest("kapa", ["zeta", "kappa"]) == 'did you mean "kappa"?'
    assert nearest("xyz", ["zeta", "kappa"]) == "known here: zeta, kappa"
    assert nearest("x", []) == "nothing can be set here"


def test_a_lone_surrogate_does_not_break_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(to_toml({"prompt": "a \ud800 cat", "list": ["\udfff"]}), encoding="utf-8")
    assert tomllib.loads(file.read_text(encoding="utf-8")) == {"prompt": "a ? cat", "list": ["?"]}
