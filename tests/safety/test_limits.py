"""Few file descriptors and little memory: one line that says so, or the work done; never half a file."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from crash_commands import COMMANDS, write_inputs
from crash_machine import begin, import_everything, run
from dfprompt.images.metadata import GenerationMetadata

QUICK = ("generate", "curate", "train sft")
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.nightly) for name in COMMANDS]


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))


def little_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 40 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@pytest.mark.parametrize("limit", [few_files, little_memory])
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.few(2)
def test_a_limit_is_said_in_words(name: str, limit: Callable[[], None], tmp_path: Path) -> None:
    import_everything()
    write_inputs(tmp_path)
    begin(COMMANDS[name], tmp_path / "run")
    ended = run(COMMANDS[name].parts, tmp_path / "run", limit=limit)
    assert ended.code in (0, 1, 2), ended.err
    assert "Traceback" not in ended.err + ended.out
    assert "fault of dfprompt" not in ended.err
    # Rows whose pictures found no memory are kept as failed, with how to make them again.
    assert ended.code == 0 or "error:" in ended.err or "--retry-failed" in ended.err
    assert not list((tmp_path / "run").rglob(".dfprompt-*"))


def _at_most(megabytes: int) -> Callable[[], None]:
    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return limit


@pytest.mark.nightly
def test_score_holds_a_few_large_pictures_at_a_time(tmp_path: Path) -> None:
    """All of them at once took 24 MB each."""
    import_everything()
    folder = tmp_path / "run" / "pictures"
    folder.mkdir(parents=True)
    Image.new("RGB", (1024, 1024), "red").save(folder / "00.png")
    for number in range(1, 40):
        os.link(folder / "00.png", folder / f"{number:02}.png")
    words = ["score", "pictures", "--prompt", "a cat", "--reward", "clip:mini", "--json"]
    ended = run(words, tmp_path / "run", limit=_at_most(500))
    assert ended.code == 0, ended.err
    assert len(json.loads(ended.out)["images"]) == 40


def test_inspect_decodes_no_pixel(tmp_path: Path) -> None:
    import_everything()
    said = {"prompt": "a cat", "df_prompt": "a cat", "seed": 1, "model": {"name": "none"}}
    info = PngInfo()
    for key, text in GenerationMetadata.model_validate(said).to_chunks().items():
        info.add_text(key, text)
    (tmp_path / "run").mkdir()
    Image.new("1", (7900, 7900)).save(tmp_path / "run" / "large.png", pnginfo=info)
    ended = run(["inspect", "large.png"], tmp_path / "run", limit=_at_most(60))
    assert ended.code == 0, ended.err
    assert "a cat" in ended.out
