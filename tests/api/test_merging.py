"""Parts of a run, put together: row for row what one run measures, or one clear refusal."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_pipelines
from dfprompt.api.merging import merge_folders
from dfprompt.data import CurateSettings, PromptRecord, curate
from dfprompt.data.sets import SETS
from dfprompt.errors import EvaluationError, InputError
from dfprompt.evaluation.run import Plan, run_evaluation
from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shards import SHARD, Shard
from dfprompt.measurement.shots import Progress
from dfprompt.pipeline.image_pipeline import ImagePipeline
from tiny_curation import Painter, instruments
from tiny_evaluation import PROMPTS, SETTINGS, Broken, Styled, brightness, redness

SHARDS = 8


def _kill(done: int, total: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


def _evaluate(
    sd: ImagePipeline,
    folder: Path,
    shard: Shard | None = None,
    *,
    seeds: int = 6,
    progress: Progress | None = None,
) -> dict[object, dict[str, object]]:
    board = Scoreboard({"brightness": brightness}, {"redness": redness})
    plan = Plan(PROMPTS, [Styled(), Broken()], range(seeds), board, SETTINGS)
    outcome = run_evaluation(sd, plan, folder, pictures_at_once=2, shard=shard, progress=progress)
    return {row.key: _timeless(row) for row in outcome.rows}


def _killed(work: Callable[..., object], *arguments: object) -> None:
    """Do the work in a process that is killed after its first batch."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments, progress=_kill)
        finally:
            os._exit(70)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def _timeless(row: Row) -> dict[str, object]:
    return {name: value for name, value in json.loads(row.to_line()).items() if name != "seconds"}


@pytest.fixture(scope="module")
def parts(sd: ImagePipeline, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight shards of an evaluation, two of which were killed after their first batch and run again."""
    place = tmp_path_factory.mktemp("parts")
    folders = [place / str(number) for number in range(1, SHARDS + 1)]
    for number, folder in enumerate(folders, 1):
        shard = Shard(number, SHARDS)
        if number in (1, 2):
            _killed(_evaluate, sd, folder, shard)
        _evaluate(sd, folder, shard)
    return folders


def test_eight_parts_of_which_two_were_killed_are_the_whole(
    sd: ImagePipeline, parts: list[Path], tmp_path: Path
) -> None:
    whole = _evaluate(sd, tmp_path / "whole")
    run = merge_folders([*parts[4:], *parts[:4]], tmp_path / "merged")
    assert (run.kind, run.parts, run.rows) == ("evaluation", SHARDS, len(whole))
    counts = [json.loads((each / SHARD).read_text())["own"] for each in parts]
    assert sum(counts) == len(whole) - len(PROMPTS) * 6  # the broken method has rows, and no pictures
    assert all(counts)

    def never(done: int, total: int) -> None:
        raise AssertionError("drawn again")

    assert _evaluate(sd, tmp_path / "merged", progress=never) == whole
    for row in whole.values():
        if row["picture"]:
            name = str(row["picture"])
            assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_no_whole_is_refused(sd: ImagePipeline, parts: list[Path], tmp_path: Path) -> None:
    def refused(folders: list[Path]) -> str:
        with pytest.raises(InputError) as caught:
            merge_folders(folders, tmp_path / "merged")
        assert not (tmp_path / "merged").exists()
        return str(caught.value)

    assert "of 8 shards these are missing: 3, 8" in refused([*parts[:2], *parts[3:7]])
    assert "shard 4 of 8 is given twice" in refused([*parts, parts[3]])
    other = tmp_path / "other"
    _evaluate(sd, other, Shard(2, SHARDS), seeds=5)
    assert "another evaluation" in refused([parts[0], other, *parts[2:]])
    _killed(_evaluate, sd, tmp_path / "short", Shard(1, SHARDS))
    assert "of its" in refused([tmp_path / "short", *parts[1:]])
    (tmp_path / "plain").mkdir()
    assert f"holds no {SHARD}" in refused([tmp_path / "plain"])
    assert "name the folders" in refused([])
    with pytest.raises(InputError, match="exists already"):
        merge_folders(parts, tmp_path / "plain")


def test_what_a_link_leads_to_is_no_part_of_a_run(parts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    linked = shutil.copytree(parts[0], tmp_path / "part")
    (linked / "pictures" / "notes.txt").symlink_to(tmp_path / "key")
    merge_folders([linked, *parts[1:]], tmp_path / "merged")
    assert (tmp_path / "merged" / "pictures" / "notes.txt").is_symlink()


def test_other_settings_and_rows_of_others_are_refused(parts: list[Path], tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(parts[1], changed)
    head, *rows = (changed / "rows.jsonl").read_text().splitlines()
    values = json.loads(head)
    values["asked"]["settings"]["num_inference_steps"] = 3
    (changed / "rows.jsonl").write_text("\n".join([json.dumps(values), *rows]) + "\n")
    with pytest.raises(InputError, match="different runs \\(asked differs\\)"):
        merge_folders([parts[0], changed, *parts[2:]], tmp_path / "merged")
    first = (parts[0] / "rows.jsonl").read_text().splitlines()
    stranger = next(line for line in first[1:] if '"styled"' in line)
    (changed / "rows.jsonl").write_text("\n".join([head, *rows, stranger]) + "\n")
    with pytest.raises(InputError, match="both hold"):
        merge_folders([parts[0], changed, *parts[2:]], tmp_path / "merged")
    (changed / "rows.jsonl").write_text("\n".join([head, "{}"]) + "\n")
    with pytest.raises(EvaluationError, match="not a measured picture"):
        merge_folders([parts[0], changed, *parts[2:]], tmp_path / "merged")


def test_a_folder_stays_the_part_it_is(sd: ImagePipeline, parts: list[Path]) -> None:
    with pytest.raises(InputError, match="holds shard 1/8"):
        _evaluate(sd, parts[0], Shard(2, SHARDS))


@pytest.mark.parametrize("text", ["0/8", "9/8", "1", "1/8/2", "-1/8", "a/b", ""])
def test_a_shard_is_written_i_of_n(text: str) -> None:
    with pytest.raises(InputError, match="3/8 for the third of eight"):
        Shard.parse(text)


def test_a_curation_in_parts_is_the_whole(tmp_path: Path) -> None:
    rows = [
        PromptRecord(f"a red cat number {number}, {word}", f"{number}.{word}")
        for number in range(9)
        for word in ("bright", "dark", "pretty")
    ]
    settings = CurateSettings.model_validate({"confidence": {"batch_size": 2}})

    def run(folder: Path, shard: Shard | None = None, *, resume: bool = False, progress=None) -> Painter:
        painter = Painter()
        curate(
            rows,
            settings,
            folder,
            instruments=lambda: instruments(painter),
            shard=shard,
            resume=resume,
            progress=progress,
        )
        return painter

    run(tmp_path / "whole")
    folders = [tmp_path / str(number) for number in range(1, SHARDS + 1)]
    for number, folder in enumerate(folders, 1):
        shard = Shard(number, SHARDS)
        if number in (1, 5):
            _killed(run, folder, shard)
        run(folder, shard, resume=number in (1, 5))
    assert merge_folders(folders, tmp_path / "merged").rows == len(rows)
    assert run(tmp_path / "merged", resume=True).drawn == []
    for name in (*(f"{each}.jsonl" for each in SETS), "removed.jsonl", "report.json"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
