"""Reading untrusted picture files: every file becomes RGB pixels or an ImageFileError that says why.

What is converted is stated in `Picture.notes`, since a score is about the pixels that were scored.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError

from dfprompt.errors import ImageFileError
from dfprompt.excerpt import quote

if TYPE_CHECKING:  # the text chunks of a picture are read without torch
    import numpy as np
    from torch import Tensor

# Larger pictures than 8000 x 8000 are refused: a file of a few kB can claim to be one.
MAX_PIXELS = 64_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
GRID = "dfprompt-grid"  # the text chunk of what is drawn of several pictures, with labels and bars
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif")

# What Pillow's decoders raise on damaged files, gathered by feeding them damaged files.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels (3, H, W), float32 in [0, 1], RGB; the file's name, what was converted, its text chunks."""

    pixels: Tensor
    name: str
    notes: tuple[str, ...] = ()
    text: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture file as RGB; raises ImageFileError for anything that is not a readable picture.

    Transparency is laid on white, grey becomes three equal channels, 16-bit grey is scaled by 65535,
    the EXIF rotation is carried out, and an animation gives its first frame; `notes` says which.

    >>> read_image("missing.png")
    Traceback (most recent call last):
        ...
    dfprompt.errors.ImageFileError: missing.png: no such file
    """
    with _opened(Path(path), max_pixels) as opened:
        opened.load()
        return picture_from_pil(opened, name=str(path))


def read_rgb(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a picture file as 8-bit RGB without torch, converted and refused as `read_image` does.

    >>> read_rgb("missing.png")
    Traceback (most recent call last):
        ...
    dfprompt.errors.ImageFileError: missing.png: no such file
    """
    with _opened(Path(path), max_pixels) as opened:
        opened.load()
        levels = _to_rgb(ImageOps.exif_transpose(opened), str(path), []).transpose(1, 2, 0)
        return Image.fromarray((levels * 255).round().astype("uint8"))


def read_image_bytes(content: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the contents of a picture file that came another way, such as over HTTP; as `read_image` does.

    >>> stream = io.BytesIO()
    >>> Image.new("RGB", (4, 2)).save(stream, "PNG")
    >>> read_image_bytes(stream.getvalue(), "upload").size
    (2, 4)
    """
    with _decoding(name, max_pixels), Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        _refuse_size(opened, name, max_pixels)
        opened.load()
        return picture_from_pil(opened, name=name)


def picture_from_pil(image: Image.Image, name: str = "image") -> Picture:
    """The pixels of an opened image, converted as `read_image` says; the image itself is not changed.

    >>> picture_from_pil(Image.new("L", (4, 2), 255)).pixels.shape
    torch.Size([3, 2, 4])
    """
    if 0 in image.size:
        raise ImageFileError(f"{name}: the picture is {image.width} x {image.height} pixels: nothing to see")
    notes: list[str] = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"first of {image.n_frames} frames")  # type: ignore[attr-defined]
    text = _text_of(image)
    turned = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112, 1) not in (0, 1):
        notes.append("turned as its EXIF says")
    pixels = _to_rgb(turned, name, notes)
    import torch

    return Picture(torch.from_numpy(pixels), name, tuple(notes), text)


def read_images(paths: Iterable[str | Path]) -> list[Picture]:
    """Read several files; raises one ImageFileError that names every file that cannot be read."""
    pictures: list[Picture] = []
    problems: list[ImageFileError] = []
    for path in paths:
        try:
            pictures.append(read_image(path))
        except ImageFileError as error:
            problems.append(error)
    raise_together(problems)
    return pictures


def raise_together(problems: Sequence[ImageFileError]) -> None:
    """Raise one ImageFileError that names every problem; nothing for none.

    >>> raise_together([])
    """
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ImageFileError(f"{len(problems)} files are not readable pictures:{lines}")


def check_pictures(paths: Iterable[str | Path]) -> None:
    """Raise one ImageFileError that names every file whose head is no picture's; no pixel is decoded.

    >>> check_pictures([])
    """
    problems = []
    for path in paths:
        try:
            read_text(path)
        except ImageFileError as error:
            problems.append(error)
    raise_together(problems)


def read_text(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> dict[str, str]:
    """The text chunks at the head of a picture file, without decoding a pixel; raises as `read_image` does.

    >>> read_text("missing.png")
    Traceback (most recent call last):
        ...
    dfprompt.errors.ImageFileError: missing.png: no such file
    """
    with _opened(Path(path), max_pixels) as opened:
        return _text_of(opened)


def text_of_bytes(content: bytes, name: str = "the picture") -> dict[str, str]:
    """The text chunks of a picture that was sent, not read from a file; raises as `read_text` does.

    >>> text_of_bytes(b"no picture")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    dfprompt.errors.ImageFileError: the picture: not a picture; known formats are PNG, JPEG, WEBP, GIF, ...
    """
    with _decoding(Path(name), MAX_PIXELS), Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        _refuse_size(opened, name, MAX_PIXELS)
        return _text_of(opened)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """A picture file whose head was read and refused or not; its pixels are read inside."""
    _refuse_early(path)
    with _decoding(path, max_pixels), Image.open(path, formats=FORMATS) as opened:
        _refuse_size(opened, str(path), max_pixels)
        yield opened


@contextmanager
def _decoding(path: Path | str, max_pixels: int) -> Iterator[None]:
    """What Pillow raises on files that are no pictures, as an ImageFileError that says why."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageFileError(f"{path}: not a picture; known formats are {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageFileError(f"{path}: more than {max_pixels:,} pixels; scale it down first") from error
    except _DECODER_ERRORS as error:
        raise ImageFileError(f"{path}: damaged picture: {_sentence(error)}") from error


def _text_of(image: Image.Image) -> dict[str, str]:
    return {
        key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)
    }


def list_image_files(folder: str | Path) -> list[Path]:
    """The picture files of a folder by their suffix, sorted by name, without the grids dfprompt made of them.

    Raises ImageFileError for none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"{folder}: not a folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    found = [path for path in found if not _is_grid(path)]
    if not found:
        raise ImageFileError(f"{folder}: no pictures in this folder; looked for {', '.join(SUFFIXES)}")
    return found


def _is_grid(path: Path) -> bool:
    """Whether the first chunks of a file say so, where `images.saving` writes it; nothing is decoded."""
    try:
        with path.open("rb") as file:
            return f"tEXt{GRID}\0".encode() in file.read(4096)
    except OSError:
        return False  # whoever reads the picture says why it cannot be


def _refuse_early(path: Path) -> None:
    try:
        if path.is_dir():
            raise ImageFileError(f"{path}: a folder, not a picture")
        if not path.exists():
            raise ImageFileError(f"{path}: no such file")
        if not path.is_file():  # a pipe or a device would block or never end
            raise ImageFileError(f"{path}: not a regular file")
        if path.stat().st_size == 0:
            raise ImageFileError(f"{path}: the file is empty")
    except (OSError, ValueError) as error:  # a name too long, a null byte
        raise ImageFileError(f"{quote(str(path))}: cannot be opened: {_sentence(error)}") from error


def _refuse_size(image: Image.Image, name: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ImageFileError(
            f"{name}: {image.width} x {image.height} pixels is more than {max_pixels:,}; scale it down first"
        )


def _to_rgb(image: Image.Image, name: str, notes: list[str]) -> np.ndarray:
    """Pixels (3, H, W), float32 in [0, 1]."""
    import numpy as np

    if image.mode.startswith("I;16"):
        notes.append("16-bit grey scaled to [0, 1]")
        return _grey(np.asarray(image).astype(np.float32) / 65535)
    if image.mode in ("I", "F"):
        raise ImageFileError(
            f"{name}: 32-bit pixels ({image.mode}) have no fixed white; save the picture as 8-bit PNG first"
        )
    if image.has_transparency_data:
        image = _flatten(image, notes)
    elif image.mode in ("1", "L"):
        notes.append("grey repeated over three channels")
    elif image.mode not in ("RGB", "RGBX", "P"):
        notes.append(f"{image.mode} converted to RGB")
    # Turned as bytes: a float copy of a picture of 64 million pixels is 768 MB.
    levels = np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1)).astype(np.float32)
    return np.divide(levels, np.float32(255), out=levels)


def _flatten(image: Image.Image, notes: list[str]) -> Image.Image:
    layers = image.convert("RGBA")
    alpha = layers.getchannel("A").getextrema()[0]
    if alpha != 255:
        notes.append("transparency laid on white")
        layers = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return layers


def _grey(levels: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.repeat(levels[None], 3, axis=0)


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
