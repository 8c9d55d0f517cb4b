"""Simulated people: they choose as they were told to, through the real pages, and go on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsing import hosting
from dfprompt.errors import EndpointError, InputError
from dfprompt.requests.participants import ServeStudyRequest
from dfprompt.study.journal import read_participants
from dfprompt.study.study import Study
from dfprompt.web.hosting import serve_study, simulate_study
from dfprompt.web.rehearsal import Crowd, Rehearsed, rehearse
from rehearsing import answers_in, asked, check_whole, kill_often
from tiny_study import make_study, write_evaluation


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("study") / "evaluation", prompts=80, size=8)


@pytest.fixture
def study(evaluation: Path, tmp_path: Path) -> Study:
    return make_study(tmp_path / "study", evaluation)


def choices_of(study: Study, **changes: Any) -> list[tuple[bool, str, str]]:
    """Every person's answers to every trial: whether plain stands left, and the two choices."""
    crowd = Crowd(study, asked(study, **changes))
    found = []
    for person in range(study.plan.participants):
        for trial in study.trials(person):
            if trial.kind == "main":
                said = crowd.choose(person, trial.id)
                is_left = crowd.pictures[trial.left]["method"] == "plain"
                found.append((is_left, said["shows"], said["prefer"]))
    return found


@pytest.fixture(scope="module")
def large(evaluation: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(
        tmp_path_factory.mktemp("large") / "study", evaluation, pairs=60, participants=120, per_participant=30
    )


def test_the_crowd_prefers_draws_and_leans_as_it_was_told(large: Study) -> None:
    said = choices_of(large, preference=0.62, participant_spread=0.0, prompt_spread=0.0, draws=0.2)
    for question in (1, 2):
        decided = [each for each in said if each[question] != "neither"]
        assert abs(1 - len(decided) / len(said) - 0.2) < 0.03
        won = sum((each[question] == "left") == each[0] for each in decided)
        assert abs((won + (len(said) - len(decided)) / 2) / len(said) - 0.62) < 0.035
        assert abs(np.mean([each[question] == "left" for each in decided]) - 0.5) < 0.035
    leaning = choices_of(
        large, preference=0.5, participant_spread=0.0, prompt_spread=0.0, side_bias=1.0, draws=0
    )
    assert abs(np.mean([each[1] == "left" for each in leaning]) - 0.731) < 0.03


def test_whoever_chooses_at_random_prefers_nothing_and_fails_controls(large: Study) -> None:
    said = choices_of(large, preference=0.9, random=1.0, draws=0)
    assert abs(np.mean([(each[1] == "left") == each[0] for each in said]) - 0.5) < 0.035
    for random, expected in ((0.0, 1.0), (1.0, 0.5)):
        crowd = Crowd(large, asked(large, random=random, draws=0))
        right = [
            getattr(trial, crowd.choose(person, trial.id)["shows"]) == crowd.gold[trial.pair]
            for person in range(120)
            for trial in large.trials(person)
            if trial.kind == "gold"
        ]
        assert abs(np.mean(right) - expected) < 0.12


def test_people_and_prompts_differ_as_much_as_they_were_told(large: Study) -> None:
    crowd = Crowd(large, asked(large, participant_spread=1.5, prompt_spread=0.0, preference=0.5))
    main = next(trial for trial in large.trials(0) if trial.kind == "main")
    sign = 1 if crowd.pictures[main.left]["method"] == "plain" else -1
    assert abs(np.std([sign * crowd._logit(person, main) for person in range(4000)]) - 1.5) < 0.06


def test_the_method_is_named_or_refused(study: Study) -> None:
    assert Crowd(study, asked(study)).method == "plain"
    assert Crowd(study, asked(study, method="secret-method")).method == "secret-method"
    with pytest.raises(InputError, match='compares plain, secret-method, not "other"'):
        Crowd(study, asked(study, method="other"))


@pytest.mark.enable_socket
def test_a_rehearsal_goes_through_the_pages_and_its_second_run_adds_nothing(study: Study) -> None:
    done = simulate_study(asked(study, participants=4), print)
    assert done == Rehearsed(4, 4 * study.plan.trials, 0)
    check_whole(study, asked(study, participants=4))
    assert simulate_study(asked(study, participants=4), print) == Rehearsed(4, 0, 0)
    assert simulate_study(asked(study), print) == Rehearsed(6, 2 * study.plan.trials, 0)
    check_whole(study, asked(study))
    with pytest.raises(InputError, match="lower --participants"):
        simulate_study(asked(study, participants=7), print)


@pytest.mark.enable_socket
def test_people_and_simulated_people_are_kept_apart(study: Study, evaluation: Path, tmp_path: Path) -> None:
    study.consent(study.enrol(token=study.tokens[0]))
    with pytest.raises(InputError, match="which a rehearsal would spoil"):
        simulate_study(asked(study), print)
    with pytest.raises(InputError, match="which a rehearsal would spoil"):
        serve_study(ServeStudyRequest(study=study.folder, rehearsal=True, port=0), print, print)
    other = make_study(tmp_path / "other", evaluation)
    other.consent(other.enrol(), simulated=True)
    with pytest.raises(InputError, match="answers of simulated people"):
        serve_study(ServeStudyRequest(study=other.folder, port=0), print, print)


@pytest.mark.enable_socket
def test_a_draft_of_the_consent_is_shown_to_nobody(study: Study) -> None:
    (study.folder / "consent.md").write_text("# Consent\n\nWho does this: [FILL IN: name]\n")
    with pytest.raises(InputError, match=r"consent\.md has places to be filled in"):
        serve_study(ServeStudyRequest(study=study.folder, port=0), print, print)


@pytest.mark.enable_socket
def test_a_server_that_refuses_is_named(study: Study, evaluation: Path, tmp_path: Path) -> None:
    other = make_study(tmp_path / "other", evaluation)
    with hosting(other.folder) as hosted:
        with pytest.raises(EndpointError, match='409, "this link is not of this study'):
            rehearse(study, asked(study), hosted.base)
        with pytest.raises(InputError, match="waits for people, not for simulated ones"):
            simulate_study(asked(other, address=hosted.base), print)
    assert read_participants(other.folder) == []


@pytest.mark.enable_socket
@pytest.mark.slow
@pytest.mark.nightly
def test_a_server_killed_twice_loses_and_doubles_nothing(evaluation: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", evaluation, participants=10)
    done = kill_often(study, 2)
    assert done.sent_again > 0
    assert answers_in(study.folder) == 10 * study.plan.trials
    check_whole(study, asked(study))
