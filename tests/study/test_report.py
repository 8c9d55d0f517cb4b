"""A report says what people said, of both analyses, and what it does not know."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfprompt.api.study import StudyReported, report_study
from dfprompt.errors import StudyError
from dfprompt.study.journal import Participant
from dfprompt.study.sealing import unseal
from dfprompt.study.study import Study, Trial
from tiny_study import make_study, write_evaluation

Answers = Callable[[Participant, Trial], dict[str, str]]
METHODS = ("new", "old")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("report") / "evaluation", methods=METHODS)


def plan(folder: Path, evaluation: Path, **asked: Any) -> Study:
    return make_study(folder / "study", evaluation, methods=METHODS, participants=24, **asked)


class People:
    """People who know what the pictures are of, and say what they are told to."""

    def __init__(self, study: Study, seed: int = 0) -> None:
        self.study, self.sealed = study, unseal(study.folder)
        self.random = np.random.default_rng(seed)

    def method(self, picture: str) -> str:
        return str(self.sealed["pictures"][picture]["method"])

    def side_of(self, trial: Trial, method: str) -> str:
        return "left" if self.method(trial.left) == method else "right"

    def honest(self, trial: Trial) -> str:
        """The right side of a control."""
        return "left" if self.sealed["gold"][trial.pair] == trial.left else "right"

    def noisy(self, chance: float, draws: float = 0.2) -> Answers:
        """Who prefers `new` with a chance, and gets controls right."""

        def answer(person: Participant, trial: Trial) -> dict[str, str]:
            if trial.kind == "gold":
                return {"shows": self.honest(trial), "prefer": "neither"}
            said = {}
            for question in ("shows", "prefer"):
                method = "new" if self.random.random() < chance else "old"
                said[question] = "neither" if self.random.random() < draws else self.side_of(trial, method)
            return said

        return answer

    def come(
        self, answers: Answers, *, seconds: float = 4.0, finish: bool = True, **about: str
    ) -> Participant:
        person = self.study.consent(self.study.enrol())
        assert person.number is not None
        if about:
            self.study.about(person.id, about)
        for trial in self.study.trials(person.number):
            self.study.answer(person.id, trial.id, answers(person, trial), seconds)
        if finish:
            self.study.finish(person.id)
        return person


def report(study: Study) -> tuple[StudyReported, dict[str, Any]]:
    done = report_study(study.folder)
    return done, done.to_json()


def test_shares_counts_and_tests_are_those_of_the_answers_file(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation)
    people = People(study)
    for _ in range(20):
        people.come(people.noisy(0.7))
    done, said = report(study)
    rows = [row for row in table(done, "answers.csv") if row["kind"] == "main"]
    assert len(rows) == 20 * 6 == said["analyses"]["everybody"]["answers"]
    for found in said["analyses"]["everybody"]["shares"]:
        side = found["question"]
        values = [{"neither": 0.5}.get(row[side], float(row.get(row[side], "") == "new")) for row in rows]
        assert found["share"] == pytest.approx(np.mean(values))
        counts = Counter(values)
        assert (found["chosen"], found["draws"], found["against"]) == (counts[1.0], counts[0.5], counts[0.0])
        for name, unit in (("by_person", "participant"), ("by_prompt", "prompt")):
            sums: dict[str, float] = defaultdict(float)
            for row, value in zip(rows, values, strict=True):
                sums[row[unit]] += value - 0.5
            assert found[name]["above"] == sum(each > 0 for each in sums.values())
            assert found[name]["below"] == sum(each < 0 for each in sums.values())
        assert found["interval"][0] < found["share"] < found["interval"][1]
        assert (found["people"], found["prompts"]) == (20, 12)
    shares = table(done, "shares.csv")
    assert [row["analysis"] for row in shares] == ["everybody"] * 2 + ["after exclusions"] * 2
    assert float(shares[0]["share"]) == said["analyses"]["everybody"]["shares"][0]["share"]


def table(done: StudyReported, name: str) -> list[dict[str, str]]:
    path = next(path for path in done.files if path.name == name)
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_the_rule_of_the_plan_leaves_out_whom_it_names(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation)
    people = People(study)

    def always_left(person: Participant, trial: Trial) -> dict[str, str]:
        side = people.honest(trial) if trial.kind == "gold" else "left"
        return {"shows": side, "prefer": side}

    def wrong(person: Participant, trial: Trial) -> dict[str, str]:
        said = people.noisy(1.0)(person, trial)
        if trial.kind == "gold":
            said["shows"] = {"left": "right", "right": "left"}[said["shows"]]
        return said

    for _ in range(5):
        people.come(people.noisy(0.9))
    left = {
        people.come(always_left).number: "one side",
        people.come(wrong).number: "control pairs wrong",
        people.come(people.noisy(0.5), seconds=1.0).number: "too fast",
        people.come(people.noisy(0.5), finish=False).number: "did not finish",
    }
    done, said = report(study)
    assert done.report.excluded == left
    assert said["analyses"]["everybody"]["people"] == 9
    assert said["analyses"]["after exclusions"]["people"] == 5
    assert said["participants"] == {
        "planned": 24,
        "simulated": 0,
        "consented": 9,
        "finished": 8,
        "excluded": dict.fromkeys(left.values(), 1),
    }
    page = done.report.to_markdown()
    assert "after exclusions" in page
    assert "An interim look" in page
    marked = {
        int(row["participant"]): row["excluded"] for row in table(done, "answers.csv") if row["excluded"]
    }
    assert marked == left


def test_side_bias_and_repeats_are_counted(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation, repeats=3)
    people = People(study)
    for _ in range(10):
        people.come(lambda person, trial: {"shows": "left", "prefer": people.side_of(trial, "new")})
    _, said = report(study)
    found = said["analyses"]["everybody"]
    assert found["left"]["shows"]["share"] == 1
    assert found["left"]["prefer"]["share"] == pytest.approx(0.5, abs=0.01)
    again = found["repeated"]["prefer"]
    assert (again["share"], again["answers"], again["people"]) == (1.0, 30, 10)
    assert found["repeated"]["shows"]["share"] == 0  # the same side of a swapped pair is the other picture
    agreement = {each["question"]: each for each in found["agreement"]}
    assert agreement["prefer"]["alike"] == 1
    assert agreement["prefer"]["krippendorff_alpha"] is None  # everybody always said the same
    assert agreement["shows"]["krippendorff_alpha"] < 0.1


def test_groups_under_ten_are_not_shown_anywhere(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation)
    people = People(study)
    for number in range(20):
        country = "Atlantis" if number < 9 else "Peru"
        people.come(people.noisy(0.6), country=country, age="25-34")
    done, said = report(study)
    groups = {
        (each["field"], each["value"]): each["people"] for each in said["analyses"]["everybody"]["subgroups"]
    }
    assert groups == {("age", "25-34"): 20, ("country", "Peru"): 11}
    assert "Atlantis" not in done.report.to_markdown()
    assert "Groups of fewer than 10 people are not shown (1)" in done.report.to_markdown()


def test_scores_are_checked_against_people_with_intervals(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation)
    people = People(study)
    for _ in range(12):
        people.come(people.noisy(0.2, draws=0.25))
    done, said = report(study)
    rows = [row for row in table(done, "answers.csv") if row["kind"] == "main"]
    judged = {(each["judge"], each["question"]): each for each in said["judges"]}
    assert set(judged) == {(name, side) for name in ("sharpness", "luck") for side in ("shows", "prefer")}
    decided = [row for row in rows if row["prefer"] != "neither"]
    old = [row[row["prefer"]] == "old" for row in decided]  # sharpness is higher for the second method
    found = judged["sharpness", "prefer"]["agreement"]
    assert found["share"] == pytest.approx(np.mean(old))
    assert found["count"] == len(decided)
    assert found["interval"][0] > 0.5
    assert found["raters"] == 12


def test_an_evaluation_that_moved_is_named_and_can_be_given(tmp_path: Path) -> None:
    source = write_evaluation(tmp_path / "evaluation", methods=METHODS)
    study = plan(tmp_path, source)
    people = People(study)
    people.come(people.noisy(0.5))
    source.rename(tmp_path / "moved")
    done, said = report(study)
    assert said["judges"] == []
    assert "name it with --evaluation" in done.report.to_markdown()
    assert report_study(study.folder, evaluation=tmp_path / "moved").report.judged


def test_three_methods_are_ordered(tmp_path: Path) -> None:
    names = ("new", "old", "older")
    source = write_evaluation(tmp_path / "evaluation", methods=names)
    study = make_study(
        tmp_path / "study", source, methods=names, participants=24, pairs=18, per_participant=9
    )
    people = People(study)

    def ranked(person: Participant, trial: Trial) -> dict[str, str]:
        first, second = sorted((trial.left, trial.right), key=lambda each: names.index(people.method(each)))
        better = first if people.random.random() < 0.75 else second
        side = "left" if better == trial.left else "right"
        return {"shows": "neither", "prefer": side}

    for _ in range(24):
        people.come(ranked)
    done, said = report(study)
    found = said["analyses"]["everybody"]
    assert [(each["method"], each["other"]) for each in found["shares"][:3]] == [
        *itertools.combinations(names, 2)
    ]
    strengths = found["davidson"]["prefer"]["strengths"]
    assert strengths[0] > strengths[1] > strengths[2]
    assert "Order by a Davidson model" in done.report.to_markdown()


def test_a_report_without_answers_or_with_a_changed_plan_is_refused(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation)
    with pytest.raises(StudyError, match="nobody has answered"):
        report_study(study.folder)
    people = People(study)
    people.come(people.noisy(0.5))
    path = study.folder / "plan.json"
    path.write_text(path.read_text().replace('"gold_failed": 2', '"gold_failed": 1'))
    with pytest.raises(StudyError, match="changed while people took part"):
        report_study(study.folder)


def test_the_template_says_what_the_folder_knows_and_marks_the_rest(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation)
    people = People(study)
    for _ in range(3):
        people.come(people.noisy(0.5), country="Peru")
    done, _ = report(study)
    page = done.report.to_markdown()
    for line in (
        "| Methods compared | new, old |",
        "3 consented, 3 finished",
        study.digest,
        "in groups under 10: 3",
    ):
        assert line in page
    assert page.count("FILL IN") >= 5
    assert all(person["id"] not in page for person in [vars(each) for each in done.report.people])
    assert "nan" not in page.lower().replace("finance", "")
    figure = next(path for path in done.files if path.suffix == ".png")
    with Image.open(figure) as image:
        assert min(image.size) > 300
        assert len(np.unique(np.asarray(image.convert("L")))) > 20


def test_simulated_people_are_said_to_be_before_anything_else(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation)
    people = People(study)
    people.come(people.noisy(0.5))
    done, _ = report(study)
    assert "imulated people" not in done.report.to_markdown()
    other = plan(tmp_path / "other", evaluation)
    people = People(other)
    person = other.consent(other.enrol(), simulated=True)
    for trial in other.trials(0):
        other.answer(person.id, trial.id, people.noisy(0.5)(person, trial), 3)
    done, said = report(other)
    assert done.report.to_markdown().splitlines()[2].startswith("**Simulated people: nobody was asked.")
    assert said["participants"]["simulated"] == 1


def test_a_title_cannot_write_the_page(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation, title="a <b>bold</b> [title](x)")
    people = People(study)
    people.come(people.noisy(0.5))
    assert "<b>" not in report(study)[0].report.to_markdown().replace("\\<b>", "")


def test_one_person_alone_has_no_interval_and_breaks_nothing(tmp_path: Path, evaluation: Path) -> None:
    study = plan(tmp_path, evaluation)
    people = People(study)
    people.come(people.noisy(0.5), finish=False)
    done, said = report(study)
    assert set(said["analyses"]) == {"everybody"}
    assert all(each["interval"] is None for each in said["analyses"]["everybody"]["shares"])
    assert "Nobody is left" in done.report.to_markdown()
    assert not any(isinstance(value, float) and math.isnan(value) for value in flat(said))


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in flat(each)]
    return [leaf for each in value for leaf in flat(each)] if isinstance(value, list) else [value]
