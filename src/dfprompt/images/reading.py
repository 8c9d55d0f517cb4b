"""Reading untrusted picture files: every file becomes RGB pixels or an ImageFileError that says why.

What is converted is stated in `Picture.notes`, since a score is about the pixels that were scored.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
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
        return picture_from_pil(opened, name=str(path))


def read_text(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> dict[str, str]:
    """Return the text chunks of a picture file; raises ImageFileError as `read_image` does."""
    with _opened(Path(path), max_pixels) as opened:
        return _text_of(opened)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """Yield a file opened and decoded; what goes wrong meanwhile becomes an ImageFileError."""
    _refuse_early(path)
    try:
        with Image.open(path, formats=FORMATS) as opened:
            _refuse_size(opened, str(path), max_pixels)
            opened.load()
            yield opened
    except UnidentifiedImageError as error:
        raise ImageFileError(f"{path}: not a picture; known formats are {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageFileError(f"{path}: more than {max_pixels:,} pixels; scale it down first") from error
    except _DECODER_ERRORS as error:
        raise ImageFileError(f"{path}: damaged picture: {_sentence(error)}") from error


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
    import torch

    pixels = _to_rgb(turned, name, notes)
    return Picture(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), name, tuple(notes), text)


def _text_of(image: Image.Image) -> dict[str, str]:
    return {
        key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)
    }


def read_images(paths: Iterable[str | Path]) -> list[Picture]:
    """Read several files; raises one ImageFileError that names every file that cannot be read."""
    pictures, problems = [], []
    for path in paths:
        try:
            pictures.append(read_image(path))
        except ImageFileError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ImageFileError(f"{len(problems)} files are not readable pictures:{lines}")
    return pictures


def list_image_files(folder: str | Path) -> list[Path]:
    """The picture files of a folder by their suffix, sorted by name; raises ImageFileError for none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"{folder}: not a folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ImageFileError(f"{folder}: no pictures in this folder; looked for {', '.join(SUFFIXES)}")
    return found


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
    """Pixels (H, W, 3), float32 in [0, 1]."""
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
    return np.asarray(image.convert("RGB")).astype(np.float32) / 255


def _flatten(image: Image.Image, notes: list[str]) -> Image.Image:
    layers = image.convert("RGBA")
    alpha = layers.getchannel("A").getextrema()[0]
    if alpha != 255:
        notes.append("transparency laid on white")
        layers = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return layers


def _grey(levels: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.repeat(levels[:, :, None], 3, axis=2)


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
