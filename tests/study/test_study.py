"""Taking part: nothing before consent, one answer per pair, nothing forged, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dfprompt.errors import StudyDiskError, StudyError
from dfprompt.study.journal import Participant, read_participants
from dfprompt.study.study import Study
from tiny_study import make_study, write_evaluation

LEFT = {"shows": "left", "prefer": "neither"}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("study") / "evaluation")


@pytest.fixture
def study(evaluation: Path, tmp_path: Path) -> Study:
    return make_study(tmp_path / "study", evaluation)


def begin(study: Study, **how: Any) -> Participant:
    return study.consent(study.enrol(**how))


def answer_all(study: Study, person: Participant) -> None:
    assert person.number is not None
    for trial in study.trials(person.number):
        study.answer(person.id, trial.id, LEFT, 3)


def test_nothing_is_stored_before_consent_nor_after_declining(study: Study) -> None:
    before = sorted(study.folder.rglob("*"))
    person = study.enrol(token=study.tokens[0])
    assert person.number is None
    assert not study.resume(person.id).has_consented
    study.decline(person)
    with pytest.raises(StudyError, match="nobody of this id has consented"):
        study.answer(person.id, study.trials(0)[0].id, LEFT, 1)
    with pytest.raises(StudyError, match="nobody of this id has consented"):
        study.about(person.id, {"age": "25-34"})
    assert sorted(study.folder.rglob("*")) == before


def test_a_visit_goes_on_where_it_stopped_on_the_same_link_and_id(study: Study) -> None:
    person = begin(study, token=study.tokens[1])
    assert person.number is not None
    trials = study.trials(person.number)
    study.answer(person.id, trials[0].id, LEFT, 2.5)
    again = Study.open(study.folder)
    for back in (again.enrol(token=study.tokens[1]), again.resume(person.id)):
        assert (back.id, back.number, back.answered) == (person.id, person.number, {trials[0].id})
    assert again.trials(person.number) == trials
    assert again.consent(again.enrol(token=study.tokens[1])).number == person.number
    assert len(read_participants(study.folder)) == 1


def test_consent_sent_twice_gives_one_number(study: Study) -> None:
    unsaid = study.enrol()
    one = study.consent(unsaid)
    two = study.consent(study.resume(unsaid.id))
    assert (one.id, one.number) == (two.id, two.number)
    assert begin(study).number == 1


def test_one_answer_per_pair_and_the_same_one_twice_is_one(study: Study) -> None:
    person = begin(study)
    trial = study.trials(0)[0]
    assert study.answer(person.id, trial.id, LEFT, 1) is True
    assert study.answer(person.id, trial.id, LEFT, 2) is False
    with pytest.raises(StudyError, match="answered already"):
        study.answer(person.id, trial.id, {"shows": "right", "prefer": "neither"}, 1)
    assert len(study.resume(person.id).answers) == 1


@pytest.mark.parametrize("forged", ["", "x", "../../etc/passwd", "0" * 32, "é" * 32])
def test_a_forged_id_is_refused(study: Study, forged: str) -> None:
    trial = study.trials(0)[0].id
    for act in (
        lambda: study.resume(forged),
        lambda: study.answer(forged, trial, LEFT, 1),
        lambda: study.consent(Participant(forged)),
        lambda: study.decline(Participant(forged)),
        lambda: study.forget(forged),
        lambda: study.picture(forged),
        lambda: study.enrol(token=forged),
    ):
        with pytest.raises(StudyError):
            act()
    person = begin(study)
    for trial in (forged, study.trials(1)[0].id):
        with pytest.raises(StudyError, match="not one of yours"):
            study.answer(person.id, trial, LEFT, 1)


@pytest.mark.parametrize(
    ("choices", "seconds"),
    [
        ({"shows": "left"}, 1),
        ({"shows": "left", "prefer": "both"}, 1),
        ({**LEFT, "more": "left"}, 1),
        (LEFT, -1),
        (LEFT, float("nan")),
        (LEFT, "soon"),
    ],
)
def test_what_is_no_answer_is_refused(study: Study, choices: dict[str, str], seconds: Any) -> None:
    person = begin(study)
    with pytest.raises(StudyError):
        study.answer(person.id, study.trials(0)[0].id, choices, seconds)
    assert not study.resume(person.id).answers


def test_the_end_needs_every_answer_and_is_the_end(study: Study) -> None:
    person = begin(study)
    with pytest.raises(StudyError, match="10 pairs are not answered"):
        study.finish(person.id)
    answer_all(study, person)
    study.finish(person.id)
    study.finish(person.id)
    lines = [json.loads(each)["event"] for each in _journal(study, person).read_text().splitlines()]
    assert lines == ["consent", *["answer"] * study.plan.trials, "finish"]


def test_a_full_study_takes_nobody_new_and_keeps_who_began(evaluation: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", evaluation, participants=1, pairs=6)
    late, person = begin(study), begin(study, token=study.tokens[0])
    answer_all(study, person)
    study.finish(person.id)
    with pytest.raises(StudyError, match="all the people"):
        study.enrol()
    assert study.enrol(token=study.tokens[0]).finished
    answer_all(study, late)


def test_a_plan_changed_after_the_first_answer_is_refused(study: Study) -> None:
    plan = study.folder / "plan.json"
    plan.write_text(plan.read_text().replace("Which picture?", "Another title"))
    study = Study.open(study.folder)  # nobody has answered yet
    person = begin(study)
    trials = study.trials(0)
    study.answer(person.id, trials[0].id, LEFT, 1)
    plan.write_text(plan.read_text().replace("Another title", "A third"))
    with pytest.raises(StudyError, match="changed while people took part"):
        study.answer(person.id, trials[1].id, LEFT, 1)
    with pytest.raises(StudyError, match="changed while people took part"):
        Study.open(study.folder)


@pytest.mark.parametrize("name", ["pairs.jsonl", "schedule.jsonl", "sealed.json", "pictures"])
def test_files_of_the_plan_cannot_be_changed(study: Study, name: str) -> None:
    path = study.folder / name
    path = next(path.iterdir()) if path.is_dir() else path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StudyError, match=name):
        Study.open(study.folder)


@pytest.mark.parametrize("gone", ["plan.json", "pairs.jsonl", "links.json"])
def test_a_folder_that_is_not_whole_is_refused(study: Study, gone: str) -> None:
    (study.folder / gone).unlink()
    with pytest.raises(StudyError, match=gone):
        Study.open(study.folder)


def test_a_full_disk_keeps_nothing_of_an_answer(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    person = begin(study)
    before = _journal(study, person).read_bytes()

    def refuse(descriptor: int, content: memoryview) -> int:
        if len(content) > 20:
            return real(descriptor, content[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.write
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(StudyDiskError, match="No space left on device"):
        study.answer(person.id, study.trials(0)[0].id, LEFT, 1)
    monkeypatch.undo()
    assert _journal(study, person).read_bytes() == before
    assert study.answer(person.id, study.trials(0)[0].id, LEFT, 1)


def test_a_half_written_line_is_no_answer(study: Study) -> None:
    person = begin(study)
    with _journal(study, person).open("a") as file:
        file.write('{"event": "answer", "trial"')
    assert not Study.open(study.folder).resume(person.id).answers
    assert study.answer(person.id, study.trials(0)[0].id, LEFT, 1)


def test_platform_ids_are_known_by_a_hash_whose_key_can_be_deleted(study: Study) -> None:
    person = begin(study, platform_id="5f-prolific-77")
    assert study.enrol(platform_id="5f-prolific-77").id == person.id
    assert begin(study, platform_id="another").id != person.id
    stored = b"".join(path.read_bytes() for path in study.folder.rglob("*") if path.is_file())
    assert b"5f-prolific-77" not in stored
    (study.folder / "platform.key").unlink()
    with pytest.raises(StudyError, match="key of platform ids was deleted"):
        study.enrol(platform_id="5f-prolific-77")
    assert study.resume(person.id).has_consented


def test_forgetting_leaves_nothing_and_frees_the_place(study: Study) -> None:
    person, other = begin(study, token=study.tokens[0]), begin(study)
    answer_all(study, person)
    study.forget(person.id)
    assert [each.id for each in read_participants(study.folder)] == [other.id]
    assert not [
        path for path in study.folder.rglob("*") if path.is_file() and person.id in path.read_text("latin-1")
    ]
    with pytest.raises(StudyError, match="nothing is stored"):
        study.forget(person.id)
    assert begin(study, token=study.tokens[0]).number == 0


def test_about_takes_only_what_is_asked(study: Study) -> None:
    person = begin(study)
    study.about(person.id, {"age": "25-34", "country": "Kenya"})
    assert study.resume(person.id).about == {"age": "25-34", "country": "Kenya"}
    for wrong in ({"age": "12"}, {"shoe": "43"}, {"country": "x" * 61}, {"country": "a\nb"}, {"age": 3}):
        with pytest.raises(StudyError):
            study.about(person.id, wrong)


def test_many_threads_lose_and_double_nothing(study: Study) -> None:
    people = [begin(study, token=token) for token in study.tokens]

    def take_part(person: Participant) -> None:
        answer_all(study, person)
        answer_all(study, person)
        study.finish(person.id)

    threads = [threading.Thread(target=take_part, args=(person,)) for person in people for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everybody = read_participants(study.folder)
    assert sorted(each.number or 0 for each in everybody) == list(range(6))
    assert all(each.finished and len(each.answers) == study.plan.trials for each in everybody)


def test_a_browser_is_told_no_kind_and_no_pair(study: Study) -> None:
    for number in range(study.plan.participants):
        for trial in study.trials(number):
            assert set(trial.to_json()) == {"id", "prompt", "left", "right", "practice"}
            assert trial.pair not in json.dumps(trial.to_json())


def _journal(study: Study, person: Participant) -> Path:
    return study.folder / "participants" / f"{person.id}.jsonl"
