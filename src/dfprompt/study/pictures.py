"""Pictures that tell nothing but their pixels: no metadata, one length for all files of a study."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dfprompt.errors import StudyError
from dfprompt.images.reading import read_rgb

_FILLER = b"fiLl"  # a chunk that readers skip: ancillary, private
_END = 12  # bytes of a PNG's last chunk, IEND
_CHUNK = 12  # bytes of a chunk without its content


def encode_alike(paths: Sequence[Path]) -> list[bytes]:
    """Return the pictures as PNG files of one length that hold pixels alone.

    The shorter ones get a chunk of zeros before their end, which readers skip: else a file's length would
    tell the method, since pictures of more detail are longer. Raises StudyError where sizes in pixels
    differ, ImageFileError for what is no picture.
    """
    encoded: list[bytes] = []
    sizes: dict[tuple[int, int], Path] = {}
    for path in paths:
        image = read_rgb(path)
        sizes.setdefault(image.size, path)
        stream = io.BytesIO()
        Image.frombytes("RGB", image.size, image.tobytes()).save(stream, "PNG")
        encoded.append(stream.getvalue())
    if len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise StudyError(
            f"{first} is {one[0]} x {one[1]} pixels, {second} {other[0]} x {other[1]}: the size would tell "
            "the method; evaluate at one size"
        )
    length = max(map(len, encoded), default=0) + _CHUNK
    return [_fill(content, length) for content in encoded]


def _fill(content: bytes, length: int) -> bytes:
    zeros = bytes(length - len(content) - _CHUNK)
    check = struct.pack(">I", zlib.crc32(_FILLER + zeros))
    chunk = struct.pack(">I", len(zeros)) + _FILLER + zeros + check
    return content[:-_END] + chunk + content[-_END:]
