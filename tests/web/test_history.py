"""The history: whole after a kill, its pictures by number alone, nothing read outside its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.errors import EvaluationError, InputError
from dfprompt.measurement.log import ROWS, MeasurementLog
from dfprompt.measurement.rows import Row
from dfprompt.web.history import LINES, History

ASKED = {
    "text": "a cat, [snow:late]",
    "plain": "a cat",
    "seeds": (0, 1),
    "created": "2026-11-28T00:00:00+00:00",
}
COLUMNS = (("yours", "a cat, [snow:late]"),)


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        made = history.add(
            **ASKED, columns=COLUMNS, settings={"num_inference_steps": 5}, negative="fog \ud800"
        )
        history.add(**ASKED, columns=(), parent=made.id)
    with History(tmp_path) as again:
        assert again.find("1") == made
        assert [drawing.parent for drawing in again.drawings] == [None, "1"]
        assert again.find("1").labels == ("plain", "yours")


def test_a_line_cut_short_by_a_kill_is_no_line(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.add(**ASKED, columns=COLUMNS)
    lines = tmp_path / LINES
    whole = lines.read_bytes()
    for cut in range(1, 40, 7):
        lines.write_bytes(whole + whole[:cut])
        with History(tmp_path) as again:
            assert [drawing.id for drawing in again.drawings] == ["1"]
            assert again.add(**ASKED, columns=()).id == "2"
        lines.write_bytes(whole)


def test_one_process_has_the_folder(tmp_path: Path) -> None:
    with History(tmp_path), pytest.raises(InputError, match="another dfprompt is writing there"):
        History(tmp_path)


@pytest.mark.parametrize(
    "line", ["x", "[]", "{}", '{"id": "../1", "columns": [], "seeds": [1]}', '{"id": "1", "columns": 1}']
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / LINES).write_text(line + "\n")
    with pytest.raises(EvaluationError, match=r"history\.jsonl, line 1: not a drawing"):
        History(tmp_path)


def rows_of(history: History, *pictures: str) -> None:
    place = history.place(history.find("1"))
    place.mkdir(parents=True)
    with MeasurementLog(place / ROWS, kind="comparison") as log:
        log.append(
            Row("plain", "a", "a cat", seed, picture=name, df_prompt="a cat")
            for seed, name in enumerate(pictures)
        )


def test_pictures_go_by_number_and_lie_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"x")
    with History(tmp_path) as history:
        history.add(**ASKED, columns=())
        rows_of(history, "plain-seed0.png", "../../secret.png", "/etc/passwd")
        assert history.picture("1", 0) == tmp_path / "drawings" / "1" / "plain-seed0.png"
        for number, index in [("1", 1), ("1", 2), ("1", 3), ("1", -1), ("2", 0), ("../1", 0)]:
            with pytest.raises(InputError, match=r"there is no drawing|has no picture"):
                history.picture(number, index)


def test_cards_say_what_is_missing_and_what_is_damaged(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        drawing = history.add(**ASKED, columns=COLUMNS)
        assert history.card(drawing)["missing"] == 4
        rows_of(history, "a.png")
        assert (history.card(drawing)["missing"], history.card(drawing)["pictures"][0]["id"]) == (3, "1/0")
        (history.place(drawing) / ROWS).write_text("nonsense\n")
        assert "line 1" in history.card(drawing)["problem"]


def test_what_is_removed_is_gone_and_its_number_is_not_given_again(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.add(**ASKED, columns=())
        history.add(**ASKED, columns=())
        rows_of(history, "a.png")
        history.remove("1")
        assert not (tmp_path / "drawings" / "1").exists()
        with pytest.raises(InputError):
            history.remove("1")
        history.remove("2")
    with History(tmp_path) as again:
        assert again.drawings == []
        assert again.add(**ASKED, columns=()).id == "3"
