"""One picture of many: rows and columns with captions, on white."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from dfprompt.errors import ConfigError
from dfprompt.excerpt import printable

CELL = 256  # smaller pictures are enlarged to about this many pixels
_MARGIN, _GAP, _PADDING = 24, 16, 6
_PAPER, _INK, _GREY = "#ffffff", "#1f2328", "#656d76"
_TITLE_SIZE, _HEADING_SIZE, _CAPTION_SIZE = 24, 17, 14
_MAX_LINES = 4
_MAX_CHARACTERS = 2_000  # more than the lines can hold
_LEADING = 1.35
# Pillow's own font draws ASCII; other scripts need one of the system's.
_SYSTEM_FONTS = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "Arial.ttf", "arial.ttf")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class _Text(NamedTuple):
    """Wrapped lines in a size and a colour."""

    lines: list[str]
    size: int
    colour: str

    @property
    def height(self) -> int:
        return round(len(self.lines) * self.size * _LEADING)


def make_grid(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    strips: Callable[[int, int], Image.Image] | None = None,
    title: str = "",
    cell: int = CELL,
) -> Image.Image:
    """Lay pictures out row by row, each over its caption, with titles over rows and columns.

    `columns` is by default what makes the grid about square. Pictures smaller than `cell` pixels are
    enlarged, those beyond twice that are reduced; each cell takes the largest. `strips(row, width)` draws
    what stands under a row. Texts are wrapped, and cut after a few lines. Raises ConfigError for no
    pictures or for texts that do not fit their number.

    >>> make_grid([Image.new("RGB", (64, 64))] * 4, columns=2).mode
    'RGB'
    """
    if not pictures:
        raise ConfigError("a grid needs at least one picture")
    columns = columns or _squarish(len(pictures))
    rows = -(-len(pictures) // columns)
    for name, texts, count in (
        ("captions", captions, len(pictures)),
        ("row_titles", row_titles, rows),
        ("column_titles", column_titles, columns),
    ):
        if texts is not None and len(texts) != count:
            raise ConfigError(f"{count} {name} are needed for this grid, got {len(texts)}")
    fitted = [_fit(picture, cell) for picture in pictures]
    return _Sheet(fitted, columns, captions, row_titles, column_titles, strips, title).draw()


class _Sheet:
    """Measures and draws one grid."""

    def __init__(
        self,
        pictures: Sequence[Image.Image],
        columns: int,
        captions: Sequence[str] | None,
        row_titles: Sequence[str] | None,
        column_titles: Sequence[str] | None,
        strips: Callable[[int, int], Image.Image] | None,
        title: str,
    ) -> None:
        self.pictures, self.columns = pictures, columns
        self.width = max(picture.width for picture in pictures)
        self.height = max(picture.height for picture in pictures)
        whole = columns * self.width + (columns - 1) * _GAP
        self.title = _wrap(title, _TITLE_SIZE, _INK, whole)
        self.headings = [_wrap(text, _HEADING_SIZE, _INK, self.width) for text in column_titles or ()]
        self.row_titles = [_wrap(text, _HEADING_SIZE, _INK, whole) for text in row_titles or ()]
        rows = -(-len(pictures) // columns)
        self.strips = [strips(row, whole) for row in range(rows)] if strips else []
        self.captions = [_wrap(text, _CAPTION_SIZE, _GREY, self.width) for text in captions or ()]
        self.size = (whole + 2 * _MARGIN, self._place(None))

    def draw(self) -> Image.Image:
        """Return the drawn grid."""
        sheet = Image.new("RGB", self.size, _PAPER)
        self._place(sheet)
        return sheet

    def _place(self, sheet: Image.Image | None) -> int:
        """Walk down the grid, drawing on a sheet if there is one; returns the height it takes."""
        y = _MARGIN
        for text in [self.title] if self.title.lines else []:
            y = _write(sheet, text, _MARGIN, y) + _GAP
        if self.headings:
            y = self._write_across(sheet, self.headings, y) + _PADDING
        for row in range(-(-len(self.pictures) // self.columns)):
            if self.row_titles:
                y = _write(sheet, self.row_titles[row], _MARGIN, y) + _PADDING
            y = self._place_row(sheet, row, y) + _GAP
            if self.strips:
                y = self._place_strip(sheet, self.strips[row], y) + _GAP
        return y - _GAP + _MARGIN

    def _place_row(self, sheet: Image.Image | None, row: int, y: int) -> int:
        chosen = slice(row * self.columns, (row + 1) * self.columns)
        if sheet is not None:
            for column, picture in enumerate(self.pictures[chosen]):
                left = self._left(column) + (self.width - picture.width) // 2
                sheet.paste(picture, (left, y + (self.height - picture.height) // 2))
        y += self.height
        return self._write_across(sheet, self.captions[chosen], y + _PADDING) if self.captions else y

    def _place_strip(self, sheet: Image.Image | None, strip: Image.Image, y: int) -> int:
        if sheet is not None:
            sheet.paste(strip, (_MARGIN, y - _GAP + _PADDING))
        return y - _GAP + _PADDING + strip.height

    def _write_across(self, sheet: Image.Image | None, texts: Sequence[_Text], y: int) -> int:
        ends = [_write(sheet, text, self._left(column), y) for column, text in enumerate(texts)]
        return max(ends)

    def _left(self, column: int) -> int:
        return _MARGIN + column * (self.width + _GAP)


def fit_text(text: str, size: int, width: int) -> str:
    """Return a text as one line of at most so many pixels, cut with dots where it is longer."""
    return _cut(_drawable(printable(" ".join(text[:_MAX_CHARACTERS].split()))), size, width)


def write_text(
    pen: ImageDraw.ImageDraw, text: str, place: tuple[float, float], size: int, colour: str
) -> None:
    """Write one line with a font that has its letters."""
    pen.text(place, text, colour, _font_for(text, size))


def _squarish(count: int) -> int:
    """Return the fewest columns that make no more rows than columns."""
    columns = 1
    while columns * columns < count:
        columns += 1
    return columns


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    """Return a picture enlarged by a whole factor towards a cell's size, or reduced to twice of it."""
    picture = picture.convert("RGB")
    factor: float = max(1, round(cell / max(picture.size)))
    if max(picture.size) > 2 * cell:
        factor = 2 * cell / max(picture.size)
    if factor == 1:
        return picture
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS)


@cache
def _system_font(size: int) -> Font | None:
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


@cache
def _own_font(size: int) -> Font:
    return ImageFont.load_default(size)


def _font_for(line: str, size: int) -> Font:
    return (None if line.isascii() else _system_font(size)) or _own_font(size)


def _drawable(text: str) -> str:
    """Return a text the fonts at hand can draw: without a system font, letters lose their accents."""
    if text.isascii() or _system_font(_CAPTION_SIZE) is not None:
        return text
    plain = unicodedata.normalize("NFKD", text.replace("→", "->").replace("↦", "->"))
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    return "".join(character if character.isascii() else "?" for character in bare)


def _write(sheet: Image.Image | None, text: _Text, x: int, y: int) -> int:
    """Write lines downwards from a corner, if there is a sheet; returns where they end."""
    if sheet is not None:
        pen = ImageDraw.Draw(sheet)
        for number, line in enumerate(text.lines):
            pen.text(
                (x, y + round(number * text.size * _LEADING)), line, text.colour, _font_for(line, text.size)
            )
    return y + text.height


def _wrap(text: str, size: int, colour: str, width: int) -> _Text:
    """Break a text into lines of at most this many pixels, the last one cut if there are too many."""
    lines: list[str] = []
    for word in _drawable(printable(" ".join(text[:_MAX_CHARACTERS].split()))).split(" "):
        if not word:
            continue
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and _length(joined, size) <= width:
            lines[-1] = joined
        else:
            lines.append(_cut(word, size, width))
    if len(lines) > _MAX_LINES:
        kept = lines[: _MAX_LINES - 1]
        return _Text([*kept, _cut(" ".join(lines[_MAX_LINES - 1 :]), size, width)], size, colour)
    return _Text(lines, size, colour)


def _cut(line: str, size: int, width: int) -> str:
    """Return the longest beginning that fits, with dots where something is missing."""
    if _length(line, size) <= width:
        return line
    fits, fails = 0, len(line)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if _length(line[:middle] + "...", size) <= width:
            fits = middle
        else:
            fails = middle
    return line[:fits].rstrip() + "..."


def _length(text: str, size: int) -> float:
    return float(_font_for(text, size).getlength(text))
