"""`dfprompt study` as a person types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from dfprompt.study.journal import Participant, read_participants
from dfprompt.study.study import Study
from tiny_study import make_study, write_evaluation


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "study", write_evaluation(tmp_path / "evaluation"))


def begin(study: Study, answers: int, **how: str) -> Participant:
    person = study.consent(study.enrol(**how))
    assert person.number is not None
    study.about(person.id, {"country": "Peru"})
    for trial in study.trials(person.number)[:answers]:
        study.answer(person.id, trial.id, {"shows": "left", "prefer": "neither"}, 2.5)
    return person


def test_export_is_every_answer_without_methods_and_ids(cli, study: Study, tmp_path: Path) -> None:
    people = [begin(study, 3), begin(study, 10)]
    done = cli("study", "export", str(study.folder), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["answers"], said["participants"]) == (13, 2)
    text = Path(said["file"]).read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["participant"] for row in rows] == ["0"] * 3 + ["1"] * 10
    assert rows[0]["shows"] == "left"
    assert rows[0]["prefer"] == "neither"
    assert rows[0]["seconds"] == "2.5"
    assert rows[0]["country"] == "Peru"
    assert rows[0]["age"] == ""
    assert not any(each in text for each in ("plain", "secret-method", people[0].id, people[1].id))
    lines = tmp_path / "answers.jsonl"
    assert cli("study", "export", str(study.folder), "--output", str(lines)).returncode == 0
    assert [json.loads(line)["pair"] for line in lines.read_text().splitlines()] == [
        row["pair"] for row in rows
    ]
    refused = cli("study", "export", str(study.folder), "--output", str(lines))
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert cli("study", "export", str(study.folder), "--output", str(lines), "--force").returncode == 0
    assert cli("study", "export", str(study.folder)).returncode == 0  # its own place, once more
    done = cli("study", "export", str(study.folder), "--output", str(tmp_path / "a.txt"))
    assert done.returncode == 2
    assert "a .csv or a .jsonl file" in done.stderr


def test_forget_finds_somebody_in_each_way_and_leaves_nothing(cli, study: Study) -> None:
    by_id, by_link = begin(study, 1), begin(study, 1, token=study.tokens[4])
    by_platform, other = begin(study, 1, platform_id="px1"), begin(study, 1)
    folder = str(study.folder)
    for how in ([by_id.id], ["--token", study.tokens[4]], ["--platform-id", "px1"]):
        done = cli("study", "forget", folder, *how)
        assert done.returncode == 0, done.stderr
        assert cli("study", "forget", folder, *how).returncode == 2
    assert [each.id for each in read_participants(study.folder)] == [other.id]
    assert {by_link.number, by_platform.number} == {1, 2}
    done = cli("study", "forget", folder)
    assert done.returncode == 2
    assert "say who" in done.stderr


def test_plan_says_what_it_can_see_and_report_what_was_said(cli, tmp_path: Path) -> None:
    source, folder = write_evaluation(tmp_path / "evaluation"), tmp_path / "study"
    asked = "--pairs 12 --participants 8 --per-participant 6 --practice 1 --repeats 1".split()
    done = cli(
        "study", "plan", str(source), "--methods", "plain,secret-method", *asked, "--output", str(folder)
    )
    assert done.returncode == 0, done.stderr
    study = Study.open(folder)
    assert study.has_draft
    for words in (
        "8 people see 10 each",
        study.digest,
        "80 % at",
        "With twice the people",
        "registration.md",
    ):
        assert words in done.stdout
    assert "secret-method" not in done.stdout
    assert study.digest in (folder / "registration.md").read_text()
    assert study.plan.power in done.stdout
    begin(study, 10)
    begin(study, 4)
    done = cli("study", "report", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["methods"] == ["plain", "secret-method"]
    assert {Path(file).name for file in said["files"]} == {
        "report.md",
        "shares.csv",
        "answers.csv",
        "shares.png",
    }
    done = cli("study", "report", str(folder), "--output", str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "report.md").read_text().strip() in done.stdout


@pytest.mark.parametrize("command", ["export", "forget", "report"])
def test_a_folder_that_is_no_study_is_one_line(cli, command: str, tmp_path: Path) -> None:
    more = ["ab"] if command == "forget" else []
    done = cli("study", command, str(tmp_path), *more)
    assert done.returncode == 2
    assert "plan.json" in done.stderr
    assert done.stderr.count("\n") == 1
