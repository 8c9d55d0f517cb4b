"""Untrusted picture files: RGB pixels and a word on what was converted, or an ImageFileError."""

from __future__ import annotations

import io
import os
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dfprompt.errors import ImageFileError
from dfprompt.images.reading import FORMATS, list_image_files, picture_from_pil, read_image, read_images


def _gradient(width: int = 12, height: int = 8) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns * 20, rows * 30, columns + rows], -1).astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand, so that kinds Pillow does not write can be read."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "a.webp"])
def test_lossless_files_give_their_levels(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    picture = read_image(_saved(tmp_path / name, Image.fromarray(_gradient()), **options))
    assert picture.size == (8, 12)
    assert picture.pixels.dtype == torch.float32
    assert torch.equal((picture.pixels * 255).round().byte().permute(1, 2, 0), torch.from_numpy(_gradient()))
    assert picture.notes == ()
    assert picture.name == str(tmp_path / name)


def test_transparency_is_laid_on_white_and_said(tmp_path: Path) -> None:
    levels = np.zeros((1, 3, 4), np.uint8)
    levels[0, :, 0] = 200  # red, at three opacities
    levels[0, :, 3] = [255, 0, 51]
    picture = read_image(_saved(tmp_path / "a.png", Image.fromarray(levels)))
    red, white = picture.pixels[:, 0, 0], picture.pixels[:, 0, 1]
    assert torch.allclose(red * 255, torch.tensor([200.0, 0, 0]))
    assert torch.equal(white, torch.ones(3))  # what the hidden colour was does not matter
    fifth = picture.pixels[:, 0, 2] * 255  # 0.2 * red + 0.8 * white
    assert torch.allclose(fifth, torch.tensor([244.0, 204, 204]), atol=1)
    assert picture.notes == ("transparency laid on white",)


def test_an_opaque_alpha_channel_is_no_conversion(tmp_path: Path) -> None:
    levels = np.dstack([_gradient(), np.full((8, 12), 255, np.uint8)])
    picture = read_image(_saved(tmp_path / "a.png", Image.fromarray(levels)))
    assert picture.notes == ()
    assert torch.equal((picture.pixels * 255).round().byte().permute(1, 2, 0), torch.from_numpy(_gradient()))


def test_a_transparent_palette_colour_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((1, 0), 1)
    picture = read_image(_saved(tmp_path / "a.png", image, transparency=0))
    assert torch.equal(picture.pixels[:, 0, 0], torch.ones(3))
    assert torch.allclose(picture.pixels[:, 0, 1] * 255, torch.tensor([10.0, 20, 30]))
    assert "transparency laid on white" in picture.notes


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_is_repeated_and_said(tmp_path: Path, mode: str) -> None:
    picture = read_image(_saved(tmp_path / "a.png", Image.fromarray(_gradient()).convert(mode)))
    assert torch.equal(picture.pixels[0], picture.pixels[1])
    assert torch.equal(picture.pixels[0], picture.pixels[2])
    assert picture.notes == ("grey repeated over three channels",)


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    levels = np.array([[0, 257, 32768, 65535]], np.uint16)
    for name in ("a.png", "a.tiff"):
        picture = read_image(_saved(tmp_path / name, Image.fromarray(levels)))
        expected = torch.tensor([0, 257, 32768, 65535]) / 65535
        assert torch.allclose(picture.pixels[:, 0], expected.repeat(3, 1))
        assert picture.notes == ("16-bit grey scaled to [0, 1]",)


def test_sixteen_bit_colour_is_read_by_its_high_byte(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(
        _png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 65535, 32768, 0, 256, 0, 511))
    )
    picture = read_image(tmp_path / "a.png")
    assert torch.equal((picture.pixels[:, 0] * 255).round(), torch.tensor([[255.0, 1], [128, 0], [0, 1]]))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_white_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ImageFileError, match="8-bit PNG"):
        read_image(_saved(tmp_path / "a.tiff", Image.new(mode, (3, 3))))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_rotation_is_carried_out(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(_gradient())
    picture = read_image(_saved(tmp_path / "a.png", image, exif=exif))
    # EXIF 2.32, 4.6.4: where the first row and the first column of the stored picture belong.
    turn: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
        8: lambda x: np.rot90(x),
    }
    expected = torch.from_numpy(turn[orientation](_gradient()).copy())
    assert torch.equal((picture.pixels * 255).round().byte().permute(1, 2, 0), expected)
    assert picture.notes == (() if orientation == 1 else ("turned as its EXIF says",))


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    picture = read_image(_saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:]))
    assert torch.equal(picture.pixels[:, 0, 0], torch.tensor([1.0, 0, 0]))
    assert "first of 3 frames" in picture.notes


def test_cmyk_is_converted_and_said(tmp_path: Path) -> None:
    picture = read_image(_saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8))))
    assert torch.equal(picture.pixels, torch.ones(3, 8, 8))
    assert picture.notes == ("CMYK converted to RGB",)


def test_text_chunks_are_kept(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("dfprompt", '{"a": 1}')
    assert (
        read_image(_saved(tmp_path / "a.png", Image.new("RGB", (2, 2)), pnginfo=info)).text["dfprompt"]
        == '{"a": 1}'
    )


def test_missing_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "vector.svg").write_text("<svg/>")
    # Pillow would hand this one to ghostscript.
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name, said in (
        ("no.png", "no such file"),
        ("empty.png", "the file is empty"),
        ("text.png", "not a picture; known formats are PNG"),
        ("vector.svg", "not a picture"),
        ("page.eps", "not a picture"),
        ("", "a folder, not a picture"),
        ("a\0b.png", "cannot be opened|no such file"),
        ("x" * 5000, "cannot be opened"),
    ):
        with pytest.raises(ImageFileError, match=said):
            read_image(tmp_path / name)
    assert "EPS" not in FORMATS


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageFileError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_pictures_without_pixels_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(_png(*size, 8, 2, b""))
    with pytest.raises(ImageFileError, match=r"a\.png"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match=f"{size[0]} x {size[1]} pixels"):
        picture_from_pil(Image.new("RGB", size))


@pytest.mark.parametrize("size", [(9000, 9000), (12_000, 12_000), (60_000, 60_000)])
def test_a_small_file_that_claims_to_be_huge_is_refused_before_it_is_decoded(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "bomb.png").write_bytes(_png(*size, 8, 2, b"\0" * 1000))
    with pytest.raises(ImageFileError, match=r"more than 64,000,000"):
        read_image(tmp_path / "bomb.png")


def test_the_limit_can_be_set(tmp_path: Path) -> None:
    file = _saved(tmp_path / "a.png", Image.new("RGB", (30, 30)))
    with pytest.raises(ImageFileError, match="30 x 30 pixels is more than 800"):
        read_image(file, max_pixels=800)


def test_a_text_chunk_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compress(b"a" * 300_000_000, 9)
    whole = _png(1, 1, 8, 2, b"\0\0\0\0")
    (tmp_path / "a.png").write_bytes(whole[:33] + _chunk(b"zTXt", b"dfprompt\0\0" + bomb) + whole[33:])
    with pytest.raises(ImageFileError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def _encoded(kind: str) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(_gradient(40, 30)).save(
        memory, kind, **({"exif": b"Exif\0\0II*\0"} if kind == "JPEG" else {})
    )
    return memory.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_damaged_bytes_never_raise_anything_else(tmp_path: Path, kind: str) -> None:
    draw = random.Random(kind)
    whole = _encoded(kind)
    file = tmp_path / "damaged"
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole[: draw.randrange(1, len(whole) + 1)] if draw.random() < 0.4 else whole)
        for _ in range(draw.randrange(6)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        file.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pixels = read_image(file).pixels
            except ImageFileError:
                refused += 1
                continue
        assert pixels.ndim == 3
        assert 0 <= pixels.min() <= pixels.max() <= 1
    assert refused > 10


def test_all_unreadable_files_are_named_at_once(tmp_path: Path) -> None:
    good = _saved(tmp_path / "good.png", Image.new("RGB", (2, 2)))
    assert len(read_images([good, good])) == 2
    with pytest.raises(ImageFileError, match=r"^.*one\.png: no such file$"):
        read_images([good, tmp_path / "one.png"])
    with pytest.raises(ImageFileError, match=r"(?s)2 files are not readable.*one\.png.*two\.png"):
        read_images([good, tmp_path / "one.png", tmp_path / "two.png"])


def test_a_folders_pictures_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "c.png").mkdir()
    assert [path.name for path in list_image_files(tmp_path)] == ["a.jpg", "b.PNG"]
    with pytest.raises(ImageFileError, match="not a folder"):
        list_image_files(tmp_path / "a.jpg")
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageFileError, match="no pictures"):
        list_image_files(tmp_path / "none")
