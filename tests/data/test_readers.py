"""Readers: the same rows from every kind of source, and a located error for what is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dfprompt.data import PromptRecord, read_records
from dfprompt.data.settings import SourceSettings
from dfprompt.errors import InputError, LoadError

PROMPTS = ["a red cat, golden hour", 'a "blue" star, 8k', "日本, film grain"]


def rows_of(path: Path, **settings: Any) -> list[PromptRecord]:
    return list(read_records(path, SourceSettings(**settings)))


def write(path: Path, kind: str) -> Path:
    rows = [{"prompt": prompt, "likes": number} for number, prompt in enumerate(PROMPTS)]
    path = path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind in ("csv", "tsv", "parquet"):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(rows)
        if kind == "parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, sep="\t" if kind == "tsv" else ",", index=False)
    elif kind == "txt":
        path.write_text("\ufeff" + "\n\n".join(PROMPTS) + "\n", encoding="utf-8")
    else:
        np.save(path, np.array(PROMPTS))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "parquet", "txt", "npy"])
def test_every_kind_gives_the_same_prompts(kind: str, tmp_path: Path) -> None:
    rows = rows_of(write(tmp_path, kind))
    assert [row.prompt for row in rows] == PROMPTS
    assert all(row.where.startswith(f"rows.{kind}:") for row in rows)
    if kind not in ("txt", "npy"):
        assert [int(row.extra["likes"]) for row in rows] == [0, 1, 2]
    assert len(rows_of(tmp_path / f"rows.{kind}", limit=2)) == 2


def test_a_json_list_of_texts_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(PROMPTS))
    assert [row.prompt for row in rows_of(tmp_path / "a.json")] == PROMPTS


def test_bytes_in_npy_are_text(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([b"a cat", b"a dog"]))
    assert [row.prompt for row in rows_of(tmp_path / "a.npy")] == ["a cat", "a dog"]


def test_known_fields_are_taken_and_others_kept(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"")
    row = {
        "caption": "a cat, 8k", "short": "a cat", "modifiers": ["8k"], "image": "cat.png", "seed": 3,
        "colour": "red",
    }  # fmt: skip
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    (read,) = rows_of(tmp_path / "a.jsonl", prompt="caption")
    assert read == PromptRecord(
        "a cat, 8k", "a.jsonl:1", "a cat", ("8k",), str(tmp_path / "cat.png"), None, {"colour": "red"}
    )


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.jsonl", '{"prompt": "a"}\n{"text": "b"}\n', "a.jsonl:2.*the row has text.*source.prompt"),
        ("a.jsonl", '{"prompt": "a"}\n{\n', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object"),
        ("a.json", "{}", "expected a JSON list"),
        ("a.json", "[1]", "entry 1"),
        ("a.csv", "text\nx\n", "a.csv:2"),
        ("a.parquet", "PAR1nothing", "Parquet"),
        ("a.npy", "nothing", "never pickled"),
        ("a.npy", "", "never pickled"),
        ("a.docx", "x", "prompts are read from"),
    ],
)
def test_what_is_broken_is_named(name: str, content: str, named: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=named):
        rows_of(tmp_path / name)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array(["a", None], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="never pickled objects"):
        rows_of(tmp_path / "a.npy")
    np.savez(tmp_path / "c.npz", texts=np.array(["a"]))
    (tmp_path / "c.npz").rename(tmp_path / "c.npy")
    with pytest.raises(InputError, match="npz"):
        rows_of(tmp_path / "c.npy")
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(InputError, match="row of strings"):
        rows_of(tmp_path / "b.npy")


def test_latin_1_is_no_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.txt"):
        rows_of(tmp_path / "a.txt")


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(read_records(tmp_path / "nothing.txt"))
    with pytest.raises(LoadError, match="hf download --repo-type dataset nobody/nothing"):
        list(read_records("hub:nobody/nothing"))


# Folders of pictures


def picture(path: Path, **chunks: str) -> None:
    info = PngImagePlugin.PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)


def test_prompts_of_pictures_come_from_metadata_sidecars_or_chunks(tmp_path: Path) -> None:
    recipe = {
        "dfprompt": 1,
        "prompt": "a moon, 8k",
        "df_prompt": "a moon, 8k",
        "seed": 1,
        "model": {"name": "x"},
    }
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    picture(tmp_path / "c.png", dfprompt=json.dumps(recipe))
    picture(tmp_path / "d.png", parameters="a boat,\nfilm grain\nNegative prompt: blurry\nSteps: 10, Seed: 1")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a cat, 8k", "likes": 4}\n')
    (tmp_path / "b.txt").write_text("a dog, bokeh\n")
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a star, 8k", "clip": ["4", 1]}},
        "2": {"class_type": "KSampler", "inputs": {"seed": 5, "positive": ["1", 0], "negative": ["3", 0]}},
    }
    picture(tmp_path / "e.png", prompt=json.dumps(graph))
    picture(tmp_path / "grid.png", **{"dfprompt-grid": "several pictures"})
    rows = rows_of(tmp_path)
    texts = ["a cat, 8k", "a dog, bokeh", "a moon, 8k", "a boat, film grain", "a star, 8k"]
    assert [row.prompt for row in rows] == texts
    assert [Path(row.image or "").name for row in rows] == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert rows[0].extra == {"likes": 4}


def test_a_picture_without_a_prompt_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: no prompt"):
        rows_of(tmp_path)
    for content in (b"{\n", b'["a.png", "a cat"]\n', b"3\n", b'{"text": "a cat"}\n'):
        (tmp_path / "metadata.jsonl").write_bytes(content)
        with pytest.raises(InputError, match="line 1"):
            rows_of(tmp_path)
    (tmp_path / "metadata.jsonl").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match=r"cannot read .*metadata\.jsonl"):
        rows_of(tmp_path)
    line = json.dumps({"file_name": "a.png", "text": "a cat\u2028, 8k"}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(line + "\n", encoding="utf-8")
    assert [row.prompt for row in rows_of(tmp_path)] == ["a cat\u2028, 8k"]
