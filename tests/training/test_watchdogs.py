"""Watchdogs: what fires, when, how often, and that a resumed run is watched as one that was not stopped."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfprompt.errors import TrainingError
from dfprompt.rewards.composite import RewardTerms
from dfprompt.training.metrics import read_rows
from dfprompt.training.ppo import train_ppo
from dfprompt.training.rl_loop import _Logs
from dfprompt.training.watchdogs import Alert, Watchdogs, WatchdogSettings, similarity
from tiny_rl import TASKS, ppo_settings, stage_one, toy_reward

HEALTHY = {
    "reward": 1.0,
    "reward_spread": 0.5,
    "default_controls": 0.4,
    "kl/text": 0.1,
    "entropy/range": 0.8,
    "entropy/weight": 1.1,
    "binds/clip_gate": 0.3,
}
WORDS = [("a cat", ["mist", "8k"]), ("a star", ["bokeh"]), ("a boat", ["golden hour", "mist"])]
SHORT: dict[str, Any] = {"window": 4, "patience": 2}


def steps(watchdogs: Watchdogs, count: int, words: Any = WORDS, **changes: Any) -> list[Alert]:
    """Alerts of so many steps; a change is a number or a function of the step."""
    given = []
    for at in range(count):
        row = {**HEALTHY, "reward": 1.0 + 0.1 * (at % 2)}
        row |= {name: each(at) if callable(each) else each for name, each in changes.items()}
        given += watchdogs.look(words, row)[1]
    return given


def names(alerts: list[Alert]) -> list[str]:
    return [alert.name for alert in alerts]


def test_a_healthy_run_is_left_alone() -> None:
    assert steps(Watchdogs(WatchdogSettings(**SHORT)), 40) == []


def test_overlap_of_modifiers_by_hand() -> None:
    # cat and star: 1 of 3 words; cat and boat: 1 of 2; star and boat: none of 3.
    rows = [("cat", ["mist", "8k"]), ("star", ["MIST", "bokeh"]), ("boat", ["8k"])]
    assert similarity(rows) == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    assert similarity([("cat", ["mist"]), ("cat", ["mist"])]) == 0, "one prompt may repeat itself"
    assert similarity([("cat", []), ("star", [])]) == 1, "all saying nothing is a collapse"


@pytest.mark.parametrize(
    ("changes", "words", "name"),
    [
        ({"default_controls": 1.0}, WORDS, "same controls"),
        ({"entropy/range": 0.001}, WORDS, "range head"),
        ({"entropy/weight": 0.001}, WORDS, "weight head"),
        ({"binds/clip_gate": 0.0}, WORDS, "clip_gate"),
        ({"binds/clip_gate": 1.0}, WORDS, "clip_gate"),
        ({}, [("a cat", ["8k"]), ("a star", ["8k"])], "same words"),
    ],
)
def test_what_is_wrong_is_named_after_a_window_and_patience(
    changes: dict[str, float], words: Any, name: str
) -> None:
    watchdogs = Watchdogs(WatchdogSettings(**SHORT))
    # The window of 4 is whole at the 4th look, wrong there and at the 5th: the second in a row speaks.
    assert steps(watchdogs, 4, words, **changes) == []
    (alert,) = steps(watchdogs, 1, words, **changes)
    assert (alert.name, alert.stop) == (name, False)
    assert steps(watchdogs, 10, words, **changes) == [], "an alert is given once"
    assert steps(watchdogs, 10) == []
    assert names(steps(watchdogs, 6, words, **changes)) == [name], "and again after it has cleared"


def test_fewer_and_fewer_words() -> None:
    watchdogs = Watchdogs(WatchdogSettings(**SHORT, distinct=0.4))
    many = [("a cat", [f"word {at}" for at in range(10)]), ("a star", ["mist"])]
    assert steps(watchdogs, 8, many) == []
    few = [("a cat", ["8k", "mist"]), ("a star", ["bokeh", "glow"])]  # 4 of 11: below 0.4
    assert names(steps(watchdogs, 8, few)) == ["few words"]


def test_a_reward_that_falls_counts_in_standard_errors() -> None:
    # Spread 0.5 over 4 steps of 3 rows: standard error 0.5 / sqrt(12) = 0.144; five of them are 0.72.
    for fall, fires in ((0.60, False), (0.85, True)):
        watchdogs = Watchdogs(WatchdogSettings(**SHORT, variance=1e9))
        steps(watchdogs, 8, reward=1.0)
        assert (names(steps(watchdogs, 8, reward=1.0 - fall)) == ["falling reward"]) is fires


def test_variance_and_divergence_against_what_was_usual() -> None:
    watchdogs = Watchdogs(WatchdogSettings(**SHORT, fall=1e9))
    steps(watchdogs, 8)
    # Luck: 0.5 squared over 3 rows, 0.083; six times that: 0.5. Rewards 1 and 1 + d have variance d * d / 4.
    assert names(steps(watchdogs, 8, reward=lambda at: 1.0 + 1.35 * (at % 2))) == []
    assert names(steps(watchdogs, 8, reward=lambda at: 1.0 + 1.5 * (at % 2))) == ["reward variance"]
    watchdogs = Watchdogs(WatchdogSettings(window=4, patience=1))
    steps(watchdogs, 8)
    assert names(steps(watchdogs, 1, **{"kl/text": 0.55})) == [], "5.5 times 0.1"
    assert names(steps(watchdogs, 1, **{"kl/text": 0.7})) == ["divergence"]
    assert steps(Watchdogs(WatchdogSettings(**SHORT)), 9, **{"kl/text": lambda at: 10.0**at / 1e9}) == []


def test_lost_meaning_stops_at_once_and_counts_from_stage_one() -> None:
    watchdogs = Watchdogs(WatchdogSettings())
    watchdogs.set_meaning(-0.20)
    assert steps(watchdogs, 1, validation_meaning=-0.34) == []
    (alert,) = steps(watchdogs, 1, validation_meaning=-0.36)
    assert (alert.name, alert.stop) == ("lost meaning", True)
    assert steps(watchdogs, 3) == [], "steps without a validation neither clear nor repeat it"
    assert steps(watchdogs, 1, validation_meaning=-0.36) == []
    for action, given in (("off", []), ("warn", [False])):
        other = Watchdogs(WatchdogSettings(meaning=action))
        other.set_meaning(0.0)
        assert [alert.stop for alert in steps(other, 1, validation_meaning=-1.0)] == given


def test_without_heads_their_controls_are_no_collapse() -> None:
    watchdogs = Watchdogs(WatchdogSettings(**SHORT), heads=False)
    assert steps(watchdogs, 9, default_controls=1.0, **{"entropy/range": 0.0, "entropy/weight": 0.0}) == []


def test_a_resumed_watch_is_the_same_watch() -> None:
    def rows(at: int) -> dict[str, float]:
        return {**HEALTHY, "default_controls": 1.0 if at > 5 else 0.2, "reward": 1.0 - 0.1 * at}

    whole = Watchdogs(WatchdogSettings(**SHORT))
    said = [whole.look(WORDS, rows(at)) for at in range(14)]
    for cut in (3, 7, 10):
        first = Watchdogs(WatchdogSettings(**SHORT))
        parts = [first.look(WORDS, rows(at)) for at in range(cut)]
        second = Watchdogs(WatchdogSettings(**SHORT))
        second.restore(json.loads(json.dumps(first.state())))
        parts += [second.look(WORDS, rows(at)) for at in range(cut, 14)]
        assert parts == said
    assert {alert.name for _, alerts in said for alert in alerts} >= {"same controls", "falling reward"}


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of JSON, from the outside in."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*at, name)
        yield from _places(each, (*at, name))


def test_a_state_of_other_types_is_refused_or_goes_on() -> None:
    """Out of a checkpoint comes what somebody wrote there: nothing of it may fail steps later."""
    watchdogs = Watchdogs(WatchdogSettings(**SHORT))
    for at in range(8):
        watchdogs.look(WORDS, {**HEALTHY, "default_controls": 1.0, "reward": 1.0 - 0.1 * at})
    state = json.loads(json.dumps(watchdogs.state()))
    refused = 0
    for place in _places(state):
        for other in (5, "x", None, [], [7], {}, {"a": []}):
            changed = json.loads(json.dumps(state))
            *outer, last = place
            functools.reduce(lambda within, name: within[name], outer, changed)[last] = other
            again = Watchdogs(WatchdogSettings(**SHORT))
            try:
                again.restore(changed)
            except (AttributeError, KeyError, TypeError, ValueError):
                refused += 1
            else:
                steps(again, 4)
    assert refused > 100


def test_an_alert_is_logged_whatever_the_interval(tmp_path: Path) -> None:
    """It is given once: between two logged steps it would be lost, and the error says to look there."""
    logs = _Logs(tmp_path, ppo_settings(logging={"interval": 10}), 0)
    for row in (
        {"step": 7},
        {"step": 8, "alerts": ["few words: 3"]},
        {"step": 9, "alerts": []},
        {"step": 10},
    ):
        logs.write(row, [])
    logs.close()
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [8, 10]


def test_a_real_run_that_collapses_is_noticed(tmp_path: Path) -> None:
    """One word pays, nothing holds the policy to stage 1: all prompts end with it."""

    def one_word(attempts: Any) -> RewardTerms:
        terms = toy_reward(attempts)
        hits = [float(any(s.text == "8k" for s in each.rewrite.modifiers)) for each in attempts]
        return RewardTerms(terms.reward * 0 + terms.reward.new_tensor(hits), {}, {}, {})

    watch = {"window": 3, "patience": 2, "similarity": 0.6, "collapse": "stop"}
    settings = ppo_settings(seed=1, watchdogs=watch, kl={"text": 0.0, "range": 0.0, "weight": 0.0})
    with pytest.raises(TrainingError, match="watchdog"):
        train_ppo(stage_one(), TASKS, TASKS, one_word, settings, tmp_path / "run")
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert rows[-1]["watch/similarity"] > 0.6 > rows[2]["watch/similarity"]
    assert (tmp_path / "run" / "policy").is_dir()


def test_pictures_that_look_less_and_less_real_are_said_once() -> None:
    key = "scores/judge/artefacts"
    level = {key: lambda at: 0.2 * (at % 2)}
    assert steps(Watchdogs(WatchdogSettings(**SHORT)), 30, **level) == []
    watchdogs = Watchdogs(WatchdogSettings(**SHORT))
    steps(watchdogs, 6, **level)
    risen = steps(watchdogs, 12, **{key: lambda at: 0.6 + 0.2 * (at % 2)})
    assert names(risen) == ["artefacts"]
    assert "less like real ones" in risen[0].message
    assert not risen[0].stop
    stopping = Watchdogs(WatchdogSettings(**SHORT, artefacts="stop"))
    steps(stopping, 6, **level)
    assert [alert.stop for alert in steps(stopping, 12, **{key: 1.0})] == [True]
    fallen = Watchdogs(WatchdogSettings(**SHORT))
    steps(fallen, 6, **level)
    assert steps(fallen, 12, **{key: lambda at: -1.0 + 0.2 * (at % 2)}) == []
