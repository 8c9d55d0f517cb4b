"""The recipe in a picture: everything comes back, and nothing in a file is trusted."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfprompt.errors import ImageFileError
from dfprompt.images.metadata import GenerationMetadata, ModelMark, find_metadata, parse_metadata
from dfprompt.images.reading import read_image
from dfprompt.images.saving import Entry, save_pictures

FULL = GenerationMetadata(
    version="0.1.0",
    prompt="a café, film grain",
    df_prompt="a café, [film grain:late:1.25]",
    negative_prompt="blurry",
    seed=2**64 - 1,
    settings={
        "num_inference_steps": 10,
        "guidance_scale": 7.5,
        "scheduler": "unipc",
        "width": 512,
        "height": 768,
        "vae_tiling": False,
    },
    model=ModelMark(name="mini", hash="0123456789", family="stable-diffusion"),
    loras=(ModelMark(name="style", hash="abc", scale=0.8),),
    policy=ModelMark(name="policy"),
    scores={"clip": 0.3125, "aesthetic": 5.5},
)


def save(path: Path, recipe: GenerationMetadata | None = FULL) -> Path:
    save_pictures([Entry(path, Image.new("RGB", (8, 8), "red"), recipe)])
    return path


def write_chunks(path: Path, **chunks: str) -> Path:
    info = PngInfo()
    for keyword, text in chunks.items():
        info.add_text(keyword, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def test_a_recipe_comes_back_from_the_file_whole(tmp_path: Path) -> None:
    picture = read_image(save(tmp_path / "a.png"))
    assert find_metadata(picture.text) == FULL
    assert picture.pixels[:, 0, 0].tolist() == [1, 0, 0]


def test_the_parameters_are_those_other_programs_read(tmp_path: Path) -> None:
    text = read_image(save(tmp_path / "a.png")).text["parameters"]
    assert text == (
        "a café, [(film grain:1.25):4] <lora:style:0.8>\n"
        "Negative prompt: blurry\n"
        "Steps: 10, Sampler: UniPC, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, "
        "Model hash: 0123456789, Model: mini, Version: dfprompt 0.1.0"
    )


def test_other_programs_read_the_negative_prompt_in_their_syntax() -> None:
    recipe = GenerationMetadata(
        prompt="a cat",
        df_prompt="a cat",
        negative_prompt="[blurry:early], ugly",
        plain_negative_prompt="blurry, ugly",
        seed=7,
        model=ModelMark(name="mini"),
    )
    assert "\nNegative prompt: [blurry::0.5], ugly\n" in recipe.to_parameters()
    assert parse_metadata(recipe.to_json_text()).negative_prompt == "[blurry:early], ugly"


def test_without_a_recipe_nothing_is_written(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.png", None)).text == {}


def test_the_json_names_only_what_is_set() -> None:
    recipe = GenerationMetadata(prompt="a", df_prompt="a", seed=0, model=ModelMark(name="mini"))
    assert json.loads(recipe.to_json_text()) == {
        "dfprompt": 1,
        "version": "",
        "prompt": "a",
        "df_prompt": "a",
        "seed": 0,
        "settings": {},
        "model": {"name": "mini"},
        "loras": [],
        "scores": {},
    }


@given(st.text(st.characters(exclude_categories=("Cs",))), st.integers(0, 2**64 - 1))
def test_any_text_and_seed_come_back(text: str, seed: int) -> None:
    recipe = GenerationMetadata(
        prompt=text, df_prompt=text, negative_prompt=text, seed=seed, model=ModelMark(name="m")
    )
    assert parse_metadata(recipe.to_json_text()) == recipe
    assert recipe.to_json_text().isascii()


@pytest.mark.parametrize("text", ["a\0b", "日本語 → ½ 🙂", "\x1b[31m", "line\nline", " ", "half \ud83d"])
def test_any_text_survives_the_file(tmp_path: Path, text: str) -> None:
    recipe = FULL.model_copy(update={"prompt": text, "df_prompt": text})
    found = read_image(save(tmp_path / "a.png", recipe))
    assert find_metadata(found.text) == recipe
    readable = text.replace("\0", "\ufffd").replace("\ud83d", "?").replace("\n", " ").replace("[", "\\[")
    assert found.text["parameters"].startswith(readable)


def test_what_a_later_version_adds_is_passed_over() -> None:
    later = {**json.loads(FULL.to_json_text()), "weather": "fine"}
    assert parse_metadata(json.dumps(later)) == FULL


def damaged(**changes: Any) -> str:
    return json.dumps({**json.loads(FULL.to_json_text()), **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("1" * 10_000, "no JSON"),
        ("[]", "should be an object"),
        ("null", "should be an object"),
        ("{}", '"prompt": field required'),
        (damaged(dfprompt=2), '"dfprompt": input should be 1'),
        (damaged(seed=-1), '"seed"'),
        (damaged(seed=2**64), '"seed"'),
        (damaged(seed="7.5"), '"seed"'),
        (damaged(prompt=["a"]), '"prompt": input should be a valid string'),
        (damaged(model="mini"), '"model"'),
        (damaged(model={"name": "m" * 501}), '"model.name"'),
        (damaged(scores={"clip": float("nan")}), '"scores.clip"'),
        (damaged(settings={"steps": {"nested": 1}}), '"settings.steps'),
        (damaged(settings={str(n): n for n in range(101)}), '"settings"'),
        (damaged(loras=[{"name": "x"}] * 101), '"loras"'),
    ],
)
def test_damaged_recipes_are_refused_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ImageFileError) as refused:
        parse_metadata(text, "a.png")
    message = str(refused.value)
    assert message.startswith("a.png: its recipe is ")
    assert said in message
    assert len(message) < 700
    assert message.isprintable()


def test_a_huge_recipe_is_refused_unread() -> None:
    with pytest.raises(ImageFileError, match="1,000,002 characters, more than 1,000,000"):
        parse_metadata('"' + "a" * 1_000_000 + '"', "a.png")


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ({}, "carries no recipe"),
        ({"parameters": "a cat\nSteps: 20"}, r'only another program.s \(AUTOMATIC1111\): "a cat.+Steps: 20"'),
        ({"dfprompt": "no"}, "no JSON"),
    ],
)
def test_pictures_without_our_recipe_are_named(tmp_path: Path, chunks: dict[str, str], said: str) -> None:
    picture = read_image(write_chunks(tmp_path / "a.png", **chunks))
    with pytest.raises(ImageFileError, match=said):
        find_metadata(picture.text, picture.name)


def test_a_compressed_chunk_that_explodes_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", None)
    bomb = b"dfprompt\0\0" + zlib.compress(b"a" * 50_000_000)
    chunk = struct.pack(">I", len(bomb)) + b"zTXt" + bomb
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + bomb))
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk + content[33:])  # behind the header chunk
    with pytest.raises(ImageFileError, match=r"a\.png"):
        find_metadata(read_image(path).text, "a.png")
