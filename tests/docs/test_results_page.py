"""The figures of docs/results.md, README and docs/concepts.md are those of the files in experiments/."""

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


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/concepts.md"])
def test_every_figure_of_a_page_stands_in_a_stored_file(writer: dict[str, Any], page: str) -> None:
    assert writer["unfounded"]((ROOT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("prose", "found"),
    [
        ("It gains +0.46 (+0.29 to +0.55) in all.", ["+0.55", "+0.46 +0.29 +0.55"]),
        ("It gains +0.46 (0.29 to 0.63) in all.", []),
        ("It gains +0.46 (+0.63 to +0.91) in all.", ["+0.91", "+0.46 +0.63 +0.91"]),  # another row's interval
        ("A loss of 3.1 points (1.2 to 5.0).", []),
        ("Of 71 % of prompts, 37 % were lost.", ["37 %"]),
        ("`dfprompt tune --share 0.77`, arXiv 2404.04095, version 0.2.", ["0.2"]),
        ("| a | b |\n|---|---|\n| 1 | 0.5 |\n", ["a | b"]),
    ],
)
def test_a_figure_that_nothing_stored_says_is_found(
    writer: dict[str, Any], tmp_path: Path, prose: str, found: list[str]
) -> None:
    (tmp_path / "a.md").write_text(
        "| difference | 95 % interval | won |\n|---|---|---|\n| +0.4567 | +0.2901 to +0.6302 | 71% |\n"
        "| -0.031 | -0.050 to -0.012 | 50% |\n"
    )
    assert writer["unfounded"](prose, tmp_path) == found


def test_contrasts_and_methods_are_turned_into_rows(writer: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "| contrast | score | difference | 95 % interval | won | training seeds |\n"
        "|---|---|---|---|---|---|\n"
        "| a over b | reward | +1.147 | +0.976 to +1.312 | 85% | +1.114, -0.006 |\n"
        "| a over b | fidelity | -0.009 | -0.013 to -0.005 | 49% | -0.003, -0.017 |\n"
        "| a over b | taste | +0.859 | +0.742 to +0.971 | 88% | +0.812, +0.979 |\n\n"
        "| method | reward | minus plain | won | fidelity | minus plain | won | taste | minus plain | won "
        "| n |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
        "| plain | 1 | - | - | 1 | - | - | 1 | - | - | 0 |\n"
        "| ours | 2 | +1.147 (+0.976 to +1.312) | 85% | 1 | -0.009 (-0.013 to -0.005) | 49% | 2 "
        "| +0.859 (+0.742 to +0.971) | 88% | 8 |\n"
    )
    said = writer["fill"]("<!-- contrasts: a.md | 1 --><!-- end -->", tmp_path)
    figures = "+0.86 (+0.74 to +0.97)", "-0.9 (-1.3 to -0.5)"
    assert f"| a over b | +1.15 (+0.98 to +1.31) | +1.11, -0.01 | 85 % | {' | '.join(figures)} |" in said
    said = writer["fill"]("<!-- methods: a.md | 2 --><!-- end -->", tmp_path)
    assert f"| ours | +1.15 (+0.98 to +1.31) | 85 % | {' | 88 % | '.join(figures)} | 8 |" in said
    assert "plain |" not in said.splitlines()[3]
    named = "<!-- contrasts: a.md | 1 | nobody over b --><!-- end -->"
    with pytest.raises(SystemExit, match="nobody over b"):
        writer["fill"](named, tmp_path)


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
