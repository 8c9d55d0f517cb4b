"""The numbers of docs/results.md are those of the files in experiments/."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CELL = "<!-- cell: run/a.md | ours over plain; reward | gain -->{}<!-- end -->"


@pytest.fixture(scope="module")
def writer() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / ".ci" / "write_results_page.py"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.md").write_text(
        "| x | y |\n|---|---|\n| 1 | 2 |\n\ntext\n\n| contrast | score | gain |\n|---|---|---:|\n"
        "| ours over plain | reward | +0.5 |\n| ours over plain | fidelity | -1 |\n"
    )
    (tmp_path / "run" / "b.csv").write_text("method,score,difference\nours,reward,0.4567\nours,clip,-1\n")
    return tmp_path


def test_the_page_is_what_the_files_say(writer: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert text.count("<!-- cell: ") >= 7
    assert writer["fill"](text) == text


def test_the_first_ten_lines_answer() -> None:
    first = "\n".join((ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()[:10])
    for question in ("Does it help?", "Do ranges and weights add anything over words?", "What does it cost?"):
        assert question in first


def test_a_number_that_drifted_is_put_right(writer: dict[str, Any], folder: Path) -> None:
    assert writer["fill"](CELL.format("+0.9"), folder) == CELL.format("+0.5")
    row = "<!-- cell: run/b.csv | method=ours,score=reward | difference -->{}<!-- end -->"
    assert writer["fill"](row.format("?"), folder) == row.format("+0.46")
    table = "<!-- table: run/a.md | 1 -->{}<!-- end -->"
    filled = writer["fill"](table.format("old"), folder)
    assert filled == table.format("\n| x | y |\n|---|---|\n| 1 | 2 |\n")
    assert writer["fill"](filled, folder) == filled


@pytest.mark.parametrize(
    "mark",
    [
        "<!-- cell: run/a.md | ours over plain | gain -->x<!-- end -->",  # two rows
        "<!-- cell: run/a.md | nobody | gain -->x<!-- end -->",
        "<!-- cell: run/a.md | ours over plain; reward | loss -->x<!-- end -->",
        "<!-- cell: run/b.csv | method=nobody | difference -->x<!-- end -->",
        "<!-- table: run/a.md | 3 -->x<!-- end -->",
        "<!-- table: run/none.md | 1 -->x<!-- end -->",
    ],
)
def test_a_mark_that_fits_nothing_stops_the_build(writer: dict[str, Any], folder: Path, mark: str) -> None:
    with pytest.raises(SystemExit, match=r"docs/results\.md: run"):
        writer["fill"](mark, folder)
