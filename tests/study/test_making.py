"""A plan tells nobody which method drew what, and shows everything equally often on both sides."""

from __future__ import annotations

import errno
import json
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfprompt.errors import DFPromptError, StudyError
from dfprompt.study.sealing import unseal
from dfprompt.study.study import Study
from tiny_study import METHODS, make_study, write_evaluation

Cut = Any


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("making") / "secret-evaluation", prompts=40)


@pytest.fixture(scope="module")
def study(evaluation: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    asked = {"pairs": 21, "participants": 9, "per_participant": 7, "practice": 2, "repeats": 3}
    return make_study(tmp_path_factory.mktemp("study") / "study", evaluation, **asked)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_no_byte_outside_the_key_says_what_is_compared(study: Study) -> None:
    for path in study.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes().lower()
            for word in (*METHODS, "secret-", "evaluation/", str(study.folder.parent), "dfprompt\0"):
                assert word.encode() not in content, (path.name, word)
            assert not any(word in path.name for word in METHODS)


def test_pictures_are_pixels_alone_of_one_length_with_the_pixels_that_were_measured(
    study: Study, evaluation: Path
) -> None:
    sealed = unseal(study.folder)
    assert sealed["methods"] == list(METHODS)
    paths = list((study.folder / "pictures").iterdir())
    assert {path.stem for path in paths} == set(sealed["pictures"])
    assert len({path.stat().st_size for path in paths}) == 1
    for path in paths:
        assert set(chunks(path.read_bytes())) == {b"IHDR", b"IDAT", b"fiLl", b"IEND"}
        row = sealed["pictures"][path.stem]
        with Image.open(path) as shown, Image.open(source(evaluation, row)) as measured:
            assert shown.info == {}
            assert np.array_equal(np.asarray(shown), np.asarray(measured))


def chunks(content: bytes) -> list[bytes]:
    """The types of a PNG's chunks; a filler must hold zeros alone."""
    found, place = [], 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        found.append(content[place + 4 : place + 8])
        if found[-1] == b"fiLl":
            assert not any(content[place + 8 : place + 8 + length])
        place += 12 + length
    assert place == len(content)
    return found


def source(evaluation: Path, row: dict[str, Any]) -> Path:
    return evaluation / "pictures" / f"{row['method']}-{row['prompt_id']}-s{row['seed']}.png"


def test_names_and_order_do_not_follow_the_methods(study: Study) -> None:
    methods = unseal(study.folder)["pictures"]
    firsts = [methods[row["pictures"][0]]["method"] for row in lines(study.folder / "pairs.jsonl")]
    assert len(set(firsts)) == 2  # the odds of chance are under one in a million
    written = sorted((study.folder / "pictures").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len({methods[path.stem]["method"] for path in written[::2]}) == 2


def test_two_plans_of_one_seed_share_no_name(evaluation: Path, tmp_path: Path) -> None:
    one, two = (make_study(tmp_path / name, evaluation) for name in ("one", "two"))
    sealed = [unseal(each.folder) for each in (one, two)]
    rows = [sorted(map(str, each["pictures"].values())) for each in sealed]
    assert rows[0] == rows[1]
    assert not sealed[0]["pictures"].keys() & sealed[1]["pictures"].keys()


def test_each_method_stands_left_as_often_as_right_for_every_person_and_pair(study: Study) -> None:
    methods = unseal(study.folder)["pictures"]
    by_person: Counter[int] = Counter()
    by_pair: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    for number in range(study.plan.participants):
        main = [trial for trial in study.trials(number) if trial.kind == "main"]
        assert len({trial.pair for trial in main}) == study.plan.per_participant == len(main)
        for trial in main:
            assert methods[trial.left]["prompt_id"] == methods[trial.right]["prompt_id"]
            assert methods[trial.left]["seed"] == methods[trial.right]["seed"]
            step = 1 if methods[trial.left]["method"] == METHODS[0] else -1
            by_person[number] += step
            by_pair[trial.pair] += step
            shown[trial.pair] += 1
    assert len(shown) == study.plan.pairs
    assert max(shown.values()) - min(shown.values()) <= 1
    assert all(abs(difference) <= 1 for difference in (*by_person.values(), *by_pair.values()))


def test_repeats_swap_sides_and_controls_show_other_words(study: Study) -> None:
    sealed = unseal(study.folder)
    prompts = {row["pair"]: row["prompt"] for row in lines(study.folder / "pairs.jsonl")}
    for number in range(study.plan.participants):
        trials = study.trials(number)
        assert Counter(trial.kind for trial in trials) == {"practice": 2, "main": 7, "repeat": 3, "gold": 2}
        first = {trial.pair: trial for trial in trials if trial.kind == "main"}
        for trial in trials:
            if trial.kind == "repeat":
                assert (trial.left, trial.right) == (first[trial.pair].right, first[trial.pair].left)
            if trial.kind == "gold":
                right = sealed["pictures"][sealed["gold"][trial.pair]]
                other = ({trial.left, trial.right} - {sealed["gold"][trial.pair]}).pop()
                assert prompts[trial.pair].endswith(f"number {right['prompt_id'][1:]}")
                assert sealed["pictures"][other]["prompt_id"] != right["prompt_id"]
    used = Counter(picture for row in lines(study.folder / "pairs.jsonl") for picture in row["pictures"])
    assert set(used.values()) == {1}


def test_prompts_are_used_up_before_second_seeds(tmp_path: Path) -> None:
    source = write_evaluation(tmp_path / "evaluation", prompts=12, seeds=3)
    study = make_study(tmp_path / "study", source, pairs=12)
    assert study.plan.prompts == 12


def test_three_methods_meet_equally_often(tmp_path: Path) -> None:
    names = ("plain", "b", "c")
    source = write_evaluation(tmp_path / "evaluation", methods=names)
    study = make_study(tmp_path / "study", source, methods=names, pairs=16)
    methods = unseal(study.folder)["pictures"]
    met = Counter(
        tuple(sorted(methods[each]["method"] for each in row["pictures"]))
        for row in lines(study.folder / "pairs.jsonl")
        if row["kind"] == "main"
    )
    assert sorted(met.values()) == [5, 5, 6]
    assert study.plan.methods == 3


def test_pairs_of_one_picture_twice_are_counted(tmp_path: Path) -> None:
    source = write_evaluation(tmp_path / "evaluation")
    study = make_study(tmp_path / "one", source)
    assert study.plan.identical == 0
    for path in source.glob("pictures/plain-*.png"):
        path.write_bytes((path.parent / path.name.replace("plain", METHODS[1])).read_bytes())
    assert make_study(tmp_path / "two", source).plan.identical == 12


def test_the_folder_is_its_owners_alone(study: Study) -> None:
    assert study.folder.stat().st_mode & 0o777 == 0o700
    for name in ("sealed.json", "key", "links.json", "platform.key"):
        assert (study.folder / name).stat().st_mode & 0o777 == 0o600
    (study.folder / "key").write_text("00" * 32)
    with pytest.raises(StudyError, match="cannot be opened"):
        unseal(study.folder)


def test_the_room_needs_numpy_alone() -> None:
    """The server of a study starts without torch, and the methods stay closed to it."""
    said = (
        "import sys; import dfprompt.study.{}; print(*sorted({{'torch', 'matplotlib'}} & {{*sys.modules}}))"
    )
    for module in ("study", "report_files", "making"):
        done = subprocess.run(
            [sys.executable, "-c", said.format(module)], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == ""


def change_rows(evaluation: Path, change: Any) -> None:
    path = evaluation / "rows.jsonl"
    head, *rows = lines(path)
    path.write_text("".join(json.dumps(row) + "\n" for row in [head, *change(rows)]))


def fail(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*rows[:-1], rows[-1] | {"picture": None, "failed": {"picture": "out of memory"}}]


def outside(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*rows[:-1], rows[-1] | {"picture": "../../../etc/hostname"}]


def other_noise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*rows[:-1], rows[-1] | {"noise": 77}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (fail, "1 of 48 pictures cannot be shown.*out of memory"),
        (outside, "outside the folder"),
        (other_noise, "from noise 0,.*from 77"),
        (lambda rows: rows[:-1], "not drawn for the same prompts and seeds"),
        (lambda rows: [*rows[:-1], rows[-1] | {"seed": 5}], "not drawn for the same prompts and seeds"),
        (lambda rows: [], "holds no pictures"),
    ],
)
def test_an_evaluation_that_cannot_be_compared_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    source = write_evaluation(tmp_path / "evaluation")
    change_rows(source, change)
    refused(tmp_path, source, said)


def test_missing_damaged_and_unequal_pictures_are_refused(tmp_path: Path) -> None:
    source = write_evaluation(tmp_path / "evaluation")
    for path in source.glob("pictures/plain-p*.png"):
        path.write_bytes(path.read_bytes()[:60])
    refused(tmp_path, source, "plain-p.*damaged")
    for path in source.glob("pictures/plain-p*.png"):
        Image.new("RGB", (8, 16)).save(path)
    refused(tmp_path, source, "8 x 16 pixels.*would tell")
    (source / "pictures" / "plain-p3-s0.png").unlink()
    refused(tmp_path, source, '"pictures/plain-p3-s0.png" is not there')


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"methods": ["plain"]}, "two methods or more"),
        ({"methods": ["plain", "plain"]}, "two methods or more"),
        ({"methods": ["plain", "secret-metod"]}, 'did you mean "secret-method"'),
        ({"pairs": 20}, "need 25; ask for --pairs 19"),
        ({"per_participant": 13}, "different pairs of 12"),
        ({"participants": 1}, "leave some of 12 unseen"),
        ({"repeats": 4}, "at most 3 can be shown again"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    refused(tmp_path, write_evaluation(tmp_path / "evaluation"), said, **asked)


def test_a_folder_that_is_there_is_never_written_over(study: Study, evaluation: Path) -> None:
    with pytest.raises(StudyError, match="exists already"):
        make_study(study.folder, evaluation)


def refused(folder: Path, source: Path, said: str, **asked: Any) -> None:
    with pytest.raises(DFPromptError, match=said) as error:
        make_study(folder / "study", source, **asked)
    assert "\n" not in str(error.value)
    assert not (folder / "study").exists()


@pytest.mark.parametrize("whole", [0, 1, 24, 30])
def test_a_full_disk_leaves_no_plan(
    evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    left, write = iter(range(whole)), Path.write_bytes

    def refuse(path: Path, content: bytes) -> int:
        if next(left, None) is not None:
            return write(path, content)
        write(path, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StudyError, match="No space left on device"):
        make_study(tmp_path / "study", evaluation)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    make_study(tmp_path / "study", evaluation)
