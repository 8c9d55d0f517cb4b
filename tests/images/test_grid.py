"""Grids: every picture where it belongs, texts that fit, sizes that stay bearable."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dfprompt.errors import ConfigError
from dfprompt.images.grid import make_grid

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta"]


def swatches(count: int, size: tuple[int, int] = (256, 256)) -> list[Image.Image]:
    return [Image.new("RGB", size, COLOURS[number % len(COLOURS)]) for number in range(count)]


def centres(grid: Image.Image, pictures: list[Image.Image]) -> list[tuple[float, float]]:
    """Where the pixels of each picture's colour lie on average: (x, y)."""
    pixels = np.asarray(grid)
    found = []
    for picture in pictures:
        colour = np.asarray(picture)[0, 0]
        rows, columns = np.nonzero((pixels == colour).all(axis=-1))
        assert len(rows) == picture.width * picture.height
        found.append((float(columns.mean()), float(rows.mean())))
    return found


@pytest.mark.parametrize("columns", [1, 2, 3, 6])
def test_pictures_go_row_by_row(columns: int) -> None:
    pictures = swatches(6)
    at = centres(make_grid(pictures, columns=columns), pictures)
    for first, second in zip(range(5), range(1, 6), strict=True):
        same_row = second % columns != 0
        assert (at[second][0] > at[first][0]) is same_row
        assert (at[second][1] > at[first][1]) is not same_row


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_a_grid_is_about_square(count: int, columns: int) -> None:
    margin, gap, cell = 24, 16, 256
    assert make_grid(swatches(count)).width == 2 * margin + columns * cell + (columns - 1) * gap


def test_the_size_is_that_of_the_pictures_and_margins() -> None:
    assert make_grid(swatches(4, (300, 200)), columns=2).size == (2 * 24 + 600 + 16, 2 * 24 + 400 + 16)


def test_small_pictures_are_enlarged_and_large_ones_reduced() -> None:
    assert make_grid([Image.new("RGB", (64, 64))]).size == (256 + 48, 256 + 48)
    assert make_grid([Image.new("RGB", (2048, 1024))]).size == (512 + 48, 256 + 48)


def test_texts_take_room_and_leave_ink() -> None:
    bare = make_grid(swatches(2))
    captioned = make_grid(
        swatches(2),
        ["seed 1", "seed 2"],
        row_titles=["a red house"],
        column_titles=["plain", "refined"],
        title="A title",
    )
    assert captioned.width == bare.width
    assert captioned.height > bare.height + 60
    ink = (np.asarray(captioned.convert("L")) < 120).sum() - (np.asarray(bare.convert("L")) < 120).sum()
    assert ink > 200


def test_long_texts_are_wrapped_and_cut_within_their_column() -> None:
    short = make_grid(swatches(1), ["short"])
    words = make_grid(swatches(1), ["a caption of many words that goes on and on " * 20])
    word = make_grid(swatches(1), ["one" * 1000])
    assert words.width == word.width == short.width
    assert short.height < words.height < short.height + 80
    margin = np.asarray(words)[:, -20:]
    assert (margin == 255).all()


def test_only_the_beginning_of_a_caption_is_looked_at() -> None:
    endless, long = (make_grid(swatches(1), ["word " * count]) for count in (1_000_000, 500))
    assert endless.tobytes() == long.tobytes()


@pytest.mark.parametrize("caption", ["café → ½", "日本語", "\x1b[31m\n\0", "", "🙂"])
def test_any_caption_can_be_drawn(caption: str) -> None:
    assert make_grid(swatches(1), [caption]).mode == "RGB"


def test_pictures_of_several_sizes_and_modes_share_a_grid() -> None:
    pictures = [Image.new("L", (256, 200), 0), Image.new("RGBA", (200, 256), "red")]
    assert make_grid(pictures).size == (2 * 24 + 2 * 256 + 16, 2 * 24 + 256)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"captions": ["one"]}, "3 captions are needed for this grid, got 1"),
        ({"columns": 2, "row_titles": ["one"]}, "2 row_titles"),
        ({"columns": 2, "column_titles": ["one"] * 3}, "2 column_titles"),
    ],
)
def test_texts_that_do_not_fit_the_number_are_refused(texts: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_grid(swatches(3), **texts)  # type: ignore[arg-type]


def test_no_pictures_make_no_grid() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        make_grid([])
