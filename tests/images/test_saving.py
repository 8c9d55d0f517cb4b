"""Writing pictures: all of a set or none, nothing half-written, nothing overwritten unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from dfprompt.api.checks import check_output
from dfprompt.errors import GenerationError, InputError
from dfprompt.images.reading import read_image
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.storage import check_free

RED, BLUE = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_pictures_are_written_into_new_folders(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / "deep" / name for name in ("a.png", "b.png")]
    assert save_pictures([Entry(paths[0], RED), Entry(paths[1], BLUE)]) == paths
    assert files(tmp_path / "new") == ["deep", "deep/a.png", "deep/b.png"]
    assert read_image(paths[1]).pixels[:, 0, 0].tolist() == [0, 0, 1]


def test_one_name_that_is_taken_stops_all(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_text("mine")
    with pytest.raises(InputError, match=r"b\.png exists already; .* --force"):
        save_pictures([Entry(tmp_path / "a.png", RED), Entry(tmp_path / "b.png", BLUE)])
    assert files(tmp_path) == ["b.png"]
    save_pictures([Entry(tmp_path / "b.png", BLUE)], force=True)
    assert read_image(tmp_path / "b.png").size == (8, 8)


def test_how_many_are_taken_is_said(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.touch()
    with pytest.raises(InputError, match=r"0\.png and 2 more exists already"):
        check_free(paths, force=False)


def test_two_pictures_with_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one name"):
        save_pictures([Entry(tmp_path / "a.png", RED), Entry(tmp_path / "a.png", BLUE)])
    assert files(tmp_path) == []


class Unwritable(Image.Image):
    """A picture whose encoder fails after it began, as on a full disk."""

    def save(self, fp: object, *arguments: object, **more: object) -> None:
        Path(str(fp)).write_bytes(b"half a pict")
        raise OSError(28, "No space left on device", str(fp))


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "deep"
    with pytest.raises(GenerationError, match=r"deep: No space left on device"):
        save_pictures([Entry(folder / "a.png", RED), Entry(folder / "b.png", Unwritable())])
    assert files(tmp_path) == []


def test_what_was_there_before_a_failure_stays(tmp_path: Path) -> None:
    save_pictures([Entry(tmp_path / "a.png", RED)])
    with pytest.raises(GenerationError):
        save_pictures([Entry(tmp_path / "a.png", BLUE), Entry(tmp_path / "b.png", Unwritable())], force=True)
    assert files(tmp_path) == ["a.png"]
    assert read_image(tmp_path / "a.png").pixels[:, 0, 0].tolist() == [1, 0, 0]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=r"nothing can be written into .*out"):
        save_pictures([Entry(tmp_path / "out" / "a.png", RED)])
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="nothing can be written into"):
        save_pictures([Entry(tmp_path / "a.png", RED)])


def test_what_cannot_be_written_is_known_before_anything_is_drawn(tmp_path: Path) -> None:
    """Pictures take minutes: they are not to be lost for the folder they were meant for."""
    (tmp_path / "a.png").mkdir()
    with pytest.raises(InputError, match=r"a\.png is a folder"):
        check_free([tmp_path / "b.png", tmp_path / "a.png"], force=True)
    (tmp_path / "notes.txt").write_text("a file")
    with pytest.raises(InputError, match=r"into .*notes\.txt"):
        check_free([tmp_path / "notes.txt" / "deep" / "a.png"], force=False)
    with pytest.raises(InputError, match="File name too long"):
        check_free([tmp_path / ("x" * 300) / "a.png"], force=False)
    check_free([tmp_path / "new" / "deep" / "a.png"], force=False)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may enter any folder")
def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(InputError, match=r"no file can be written to .*: Permission denied"):
        check_output(tmp_path / "locked" / "out")
