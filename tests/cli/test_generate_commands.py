"""`dfprompt generate` and `inspect`: files with recipes, lines in and lines out, nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from dfprompt.cli import console
from dfprompt.cli.main import app
from dfprompt.errors import (
    ConfigError,
    DFPromptError,
    DFPromptWarning,
    GenerationError,
    ImageFileError,
    InputError,
    LoadError,
    ParseError,
)
from dfprompt.images.metadata import read_metadata
from dfprompt.pipeline.image_pipeline import ImagePipeline

Run = Callable[..., Result]
CAT = "a cat, [old film grain:late:1.25]"


@pytest.fixture
def run(tiny_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("generate", ..., stdin="...")` in a folder of its own, with a tiny pipeline and few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", console.show_warning)
    small = {"--pipeline": str(tiny_folder("sd1")), "--device": "cpu", "--steps": "2", "--size": "16"}

    def call(command: str, *arguments: str, stdin: str = "") -> Result:
        given = [command, *arguments]
        for flag, value in small.items() if command == "generate" else ():
            given += [] if flag in arguments else [flag, value]
        return CliRunner().invoke(app, given, input=stdin)

    return call


def good(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout.splitlines()


def refused(result: Result, kind: type[DFPromptError], message: str) -> None:
    """What the command line's main turns into one line on stderr and an exit code."""
    assert result.stdout == ""
    assert isinstance(result.exception, kind), result.exception
    with pytest.raises(kind, match=message):
        raise result.exception


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---- generate --------------------------------------------------------------------------------------------


def test_a_picture_per_prompt_and_seed_and_a_grid(run: Run, tmp_path: Path) -> None:
    lines = good(run("generate", CAT, "a dog", "--seed", "7", "--seeds", "2", "--output", "out"))
    cat, dog = "001-a-cat-old-film-grain", "002-a-dog"
    names = [f"{cat}-seed7", f"{cat}-seed8", f"{dog}-seed7", f"{dog}-seed8", "grid"]
    assert lines == [str(Path("out") / f"{name}.png") for name in names]
    assert files(tmp_path) == sorted(lines)
    recipe = read_metadata(lines[1])
    assert (recipe.df_prompt, recipe.prompt, recipe.seed) == (CAT, "a cat, old film grain", 8)
    assert (recipe.model.name, recipe.settings["num_inference_steps"]) == ("sd1", 2)
    with Image.open(lines[0]) as picture:
        assert (picture.size, picture.mode) == ((16, 16), "RGB")
        # in A1111's syntax, which is what reads this chunk
        assert picture.text["parameters"].startswith("a cat, [(old film grain:1.25):0.5]\nSteps: 2")
    assert Path(lines[0]).read_bytes() != Path(lines[1]).read_bytes()


def test_json_says_what_was_written_and_how(run: Run) -> None:
    (line,) = good(run("generate", CAT, "--json", "--output", "out", "--negative", "ugly"))
    answer = json.loads(line)
    assert list(answer) == ["dfprompt", "output", "images", "grid", "model", "settings"]
    (image,) = answer["images"]
    assert image == {
        "file": str(Path("out/a-cat-old-film-grain-seed0.png")),
        "prompt": "a cat, old film grain",
        "df_prompt": CAT,
        "seed": 0,
    }
    assert (answer["dfprompt"], answer["output"], answer["grid"]) == (1, "out", None)
    assert answer["settings"]["height"] == 16
    assert read_metadata(image["file"]).negative_prompt == "ugly"


def test_without_output_every_run_has_a_folder_of_its_own(run: Run) -> None:
    first, second = (Path(good(run("generate", "a cat"))[0]) for _ in range(2))
    assert first.parent.parent == Path("dfprompt-out")
    assert first.parent.name.endswith("-a-cat")
    assert second.parent.name == f"{first.parent.name}-2"
    assert first.read_bytes() == second.read_bytes()


def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    (path,) = map(Path, good(run("generate", "a cat", "--output", "out")))
    path.write_bytes(b"mine")
    refused(
        run("generate", "a cat", "--seeds", "3", "--output", "out"), InputError, r"exists already.*--force"
    )
    assert path.read_bytes() == b"mine"
    assert files(tmp_path) == [str(path)]
    good(run("generate", "a cat", "--output", "out", "--force"))
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_recipes_can_be_left_out(run: Run) -> None:
    (path,) = good(run("generate", "a cat", "--output", "out", "--no-metadata"))
    with Image.open(path) as picture:
        assert picture.text == {}
    with pytest.raises(ImageFileError, match="no recipe"):
        read_metadata(path)


def test_sharing_and_plain_text(run: Run) -> None:
    apart = good(run("generate", "a cat", CAT, "--seeds", "2", "--output", "apart"))
    shared = good(run("generate", "a cat", CAT, "--seeds", "2", "--output", "shared", "--share"))
    for first, second in zip(apart, shared, strict=True):
        with Image.open(first) as one, Image.open(second) as two:
            levels = [(a, b) for a, b in zip(one.tobytes(), two.tobytes(), strict=True)]
        assert max(abs(a - b) for a, b in levels) <= 1
    (path,) = good(run("generate", "a [cat:0.2->0.8]", "--plain", "--output", "plain"))
    assert read_metadata(path).prompt == "a [cat:0.2->0.8]"


def test_lines_in_and_lines_out(run: Run, tmp_path: Path) -> None:
    stdin = f"a cat\na [dog:0.2->0.8]\n{CAT}\n\n"
    result = run("generate", "-", "--seeds", "2", "--output", "out", stdin=stdin)
    assert result.exit_code == 2
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(answer)[:2] for answer in answers[:3]] == [
        ["dfprompt", "output"],
        ["dfprompt", "error"],
        ["dfprompt", "output"],
    ]
    error = answers[1]["error"]
    assert (error["kind"], error["suggestion"]) == ("ParseError", "a [dog:0.8->0.2]")
    assert [image["file"] for image in answers[0]["images"]] == [
        str(Path("out") / f"001-a-cat-seed{seed}.png") for seed in (0, 1)
    ]
    assert answers[2]["grid"] == str(Path("out/003-grid.png"))
    written = [image["file"] for answer in answers if "images" in answer for image in answer["images"]]
    written += [answer["grid"] for answer in answers if "grid" in answer]
    assert files(tmp_path) == sorted(written)


def test_lines_are_drawn_one_by_one_as_they_are_alone(run: Run) -> None:
    good(run("generate", "-", "--output", "many", stdin=f"a dog\n{CAT}"))
    good(run("generate", CAT, "--output", "one"))
    many, one = Path("many/002-a-cat-old-film-grain-seed0.png"), Path("one/a-cat-old-film-grain-seed0.png")
    assert many.read_bytes() == one.read_bytes()


# ---- what generate refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["a [cat:0.2->0.8]"], ParseError, "0.8->0.2"),
        (["a cat", "--seeds", "0"], InputError, "--seeds counts pictures per prompt, 1 to 10000"),
        (["a cat", "--seed", "-3"], ConfigError, "seed must be an integer of 0"),
        (["a cat", "--size", "big"], InputError, "--size takes pixels"),
        (["a cat", "--size", "17"], ConfigError, "use 16"),
        (["a cat", "--steps", "1001"], ConfigError, "--steps"),
        (["a cat", "--guidance", "nan"], ConfigError, "--guidance"),
        (["a cat", "--scheduler", "unipx"], ConfigError, "unipc"),
        (["a cat", "--negative", "[x:0->1]"], ParseError, "1->0"),
        (["a cat", "--dialect", "klingon"], InputError, "klingon"),
        (["a cat", "--device", "abacus"], ConfigError, "no device"),
        (["a cat", "--lora", "gone.safetensors"], LoadError, "gone.safetensors cannot be read"),
        (["a cat", "--vae", "gone"], LoadError, "gone"),
        (["a cat", "--pipeline", "old.ckpt"], LoadError, "is a pickle"),
        (["a cat", "--pipeline", "nowhere/at/all"], LoadError, "neither a folder"),
    ],
)
def test_bad_input_is_one_error_and_no_folder(
    run: Run, tmp_path: Path, arguments: list[str], kind: type[DFPromptError], message: str
) -> None:
    result = run("generate", *arguments, "--output", "out/deep")
    refused(result, kind, f"(?s){message}")
    assert list(tmp_path.iterdir()) == []


def test_prompts_are_read_before_the_pipeline_is_loaded(run: Run) -> None:
    result = run("generate", "a cat", "a [dog:0.2->0.8]", "--pipeline", "nowhere/at/all")
    refused(result, ParseError, "0.8->0.2")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pipeline that is loaded draws pictures that are not numbers."""
    from dfprompt.pipeline import load

    def place(pipe: Any, *arguments: Any) -> None:
        with torch.no_grad():
            pipe.vae.decoder.conv_out.bias.fill_(float("nan"))

    monkeypatch.setattr(load, "place", place)


@pytest.mark.usefixtures("broken")
def test_after_a_failure_midway_nothing_is_left(run: Run, tmp_path: Path) -> None:
    refused(run("generate", "a cat", "--seeds", "2", "--output", "out"), GenerationError, "came out as NaN")
    assert list(tmp_path.iterdir()) == []
    result = run("generate", "-", "--output", "out", stdin="a cat\n")
    assert json.loads(result.stdout)["error"]["kind"] == "GenerationError"
    assert result.exit_code != 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    refused(run("generate", "a cat", "--output", "file/deep"), InputError, "nothing can be written into")
    save, calls = Image.Image.save, []

    def fill_up(self: Image.Image, *arguments: Any, **keywords: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        save(self, *arguments, **keywords)

    monkeypatch.setattr(Image.Image, "save", fill_up)
    result = run("generate", "a cat", "--seeds", "2", "--output", "out")
    refused(result, GenerationError, "No space left on device; nothing half-written")
    assert files(tmp_path) == ["file"]
    assert not (tmp_path / "out").exists()


def test_the_real_command_line_exits_with_2_and_one_error(cli: Any, tmp_path: Path) -> None:
    ran = cli(
        "generate", "a cat", "--pipeline", str(tmp_path / "old.ckpt"), "--output", str(tmp_path / "out")
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: ")
    assert "is a pickle" in line
    assert list(tmp_path.iterdir()) == []


# ---- inspect ---------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(run: Run) -> list[str]:
    """Two pictures of one batch, drawn with everything a recipe holds."""
    asked = ["--scheduler", "unipc", "--guidance", "4", "--negative", "[ugly:late]", "--weighting", "comfy"]
    lines = good(run("generate", CAT, "--seeds", "2", "--seed", "5", *asked, "--output", "out"))
    return lines[:2]


def test_inspect_prints_the_recipe(run: Run, drawn: list[str]) -> None:
    rows = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in good(run("inspect", drawn[1]))}
    assert rows["DF-Prompt"] == CAT
    assert rows["negative"] == "[ugly:late]"
    assert rows["seed"] == "6"
    assert rows["model"].startswith("sd1 (stable-diffusion, ")
    assert (rows["scheduler"], rows["guidance_scale"], rows["weighting"]) == ("unipc", "4.0", "comfy")
    assert rows["drawn by"].startswith("dfprompt ")


def test_inspect_reads_another_programs_picture(run: Run, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text(
        "parameters", "a [fox:wolf:0.5]\nNegative prompt: ugly\nSteps: 20, Sampler: Euler a, Seed: 3"
    )
    path = tmp_path / "forge.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    rows = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in good(run("inspect", str(path)))}
    assert rows["drawn by"] == "AUTOMATIC1111"
    assert rows["DF-Prompt"] == "a [fox:1->0.45][wolf:0.45->0]"
    assert (rows["scheduler"], rows["seed"], rows["negative"]) == ("euler_a", "3", "ugly")
    (line,) = good(run("inspect", str(path), "--json"))
    assert json.loads(line)["other_program"]["settings"]["num_inference_steps"] == 20
    refused(run("inspect", str(path), "--pipeline", "mini"), ImageFileError, "AUTOMATIC1111 drew it")


def test_inspect_answers_in_json(run: Run, drawn: list[str]) -> None:
    (line,) = good(run("inspect", drawn[0], "--json"))
    answer = json.loads(line)
    assert list(answer) == ["dfprompt", "file", "recipe"]
    assert answer["recipe"]["df_prompt"] == CAT
    assert answer["recipe"] == json.loads(read_metadata(drawn[0]).to_json_text())


def test_a_picture_is_drawn_again_pixel_for_pixel(
    run: Run, drawn: list[str], tiny_folder: Callable[[str], Path]
) -> None:
    pipeline = ["--pipeline", str(tiny_folder("sd1")), "--device", "cpu"]
    for path in drawn:
        lines = good(run("inspect", path, *pipeline, "--output", "again.png", "--force"))
        assert lines[-1] == "drawn again: identical, pixel for pixel"
        with Image.open(path) as first, Image.open("again.png") as second:
            assert first.tobytes() == second.tobytes()
        assert read_metadata("again.png") == read_metadata(path)
    (line,) = good(run("inspect", drawn[0], *pipeline, "--json"))
    expected = {"identical": True, "largest": 0, "mean": 0.0, "remarks": []}
    assert json.loads(line)["recreation"] == expected


def test_a_plain_prompt_with_brackets_is_drawn_again_too(
    run: Run, tiny_folder: Callable[[str], Path]
) -> None:
    (path,) = good(run("generate", "a [cat:0.2->0.8] \\ :)", "--plain", "--output", "out"))
    lines = good(run("inspect", path, "--pipeline", str(tiny_folder("sd1")), "--device", "cpu"))
    assert lines[-1] == "drawn again: identical, pixel for pixel"


def test_another_model_is_remarked(
    run: Run, drawn: list[str], tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_folder("sd1"), tmp_path / "other"))
    weights = other / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: 1.1 * tensor for name, tensor in load_file(weights).items()}, weights)
    pipeline = ["--pipeline", str(other), "--device", "cpu", "--dtype", "bfloat16"]
    result = run("inspect", drawn[0], *pipeline)
    assert good(result)[-1].startswith("drawn again: at most ")
    model, dtype = (line for line in result.stderr.splitlines() if line.startswith("note: "))
    assert model.startswith("note: the model was sd1 (")
    assert ", now other (" in model
    assert dtype == "note: it was drawn in float32, now in bfloat16"


def write_picture(path: Path, size: int = 16, **changes: Any) -> str:
    """A black picture with a recipe that anyone may have written."""
    recipe = {
        "dfprompt": 1,
        "prompt": "a cat",
        "df_prompt": "a cat",
        "seed": 1,
        "settings": {"num_inference_steps": 1, "height": 16, "width": 16},
        "model": {"name": "sd1"},
    }
    chunks = PngInfo()
    chunks.add_text("dfprompt", json.dumps({**recipe, **changes}))
    Image.new("RGB", (size, size)).save(path, pnginfo=chunks)
    return str(path)


@pytest.mark.parametrize(
    ("size", "changes", "kind", "message"),
    [
        (16, {"settings": {"num_inference_steps": 5000}}, ImageFileError, "num_inference_steps"),
        (16, {"settings": {"scheduler": "../../x"}}, InputError, "no scheduler"),
        (16, {"df_prompt": "a [cat:0.2->0.8]"}, InputError, "0.8->0.2"),
        (24, {}, ImageFileError, "is 24 x 24 pixels, its recipe draws 16 x 16"),
        (16, {"settings": {"height": 8192, "width": 8192}}, ImageFileError, "draws 8192 x 8192"),
    ],
)
def test_recipes_that_no_pipeline_can_follow(
    run: Run,
    tmp_path: Path,
    tiny_folder: Callable[[str], Path],
    size: int,
    changes: dict[str, Any],
    kind: type[DFPromptError],
    message: str,
) -> None:
    path = write_picture(tmp_path / "any.png", size, **changes)
    result = run(
        "inspect",
        path,
        "--pipeline",
        str(tiny_folder("sd1")),
        "--device",
        "cpu",
        "--json",
        "--output",
        "new.png",
    )
    refused(result, kind, f"(?s){message}")
    assert files(tmp_path) == ["any.png"]


@pytest.mark.filterwarnings("ignore", category=DFPromptWarning)
def test_a_recipe_of_another_version_is_read_as_far_as_it_goes(
    run: Run, tmp_path: Path, tiny_folder: Callable[[str], Path]
) -> None:
    settings = {"num_inference_steps": 1, "height": 16, "width": 16, "from_the_future": 3}
    path = write_picture(tmp_path / "any.png", settings=settings, later={"a": 1})
    assert good(run("inspect", path))
    lines = good(run("inspect", path, "--pipeline", str(tiny_folder("sd1")), "--device", "cpu"))
    assert lines[-1].startswith("drawn again: at most ")


def test_what_inspect_refuses(run: Run, drawn: list[str], tmp_path: Path) -> None:
    picture = drawn[0]
    refused(run("inspect", "gone.png"), ImageFileError, "gone.png: no such file")
    Image.new("RGB", (8, 8)).save("bare.png")
    refused(run("inspect", "bare.png"), ImageFileError, "carries no recipe")
    (tmp_path / "cut.png").write_bytes(Path(picture).read_bytes()[:200])
    refused(run("inspect", "cut.png"), ImageFileError, "cut.png")
    refused(run("inspect", picture, "--output", "x.png"), InputError, "--pipeline")
    before = Path(picture).read_bytes()
    result = run("inspect", picture, "--pipeline", "nowhere/at/all", "--output", picture)
    refused(result, InputError, "exists already; choose another name or add --force")
    assert Path(picture).read_bytes() == before
    result = run("inspect", picture, "--pipeline", "old.ckpt", "--json")
    refused(result, LoadError, "is a pickle")


def test_the_library_draws_what_the_command_draws(run: Run, tiny_folder: Callable[[str], Path]) -> None:
    from dfprompt.api.pipelines import generate_images, load_pipeline
    from dfprompt.images.tensors import to_pil

    (path,) = good(run("generate", CAT, "--seed", "3", "--output", "out"))
    pipeline = load_pipeline(tiny_folder("sd1"), device="cpu")
    assert isinstance(pipeline, ImagePipeline)
    settings = {"num_inference_steps": 2, "height": 16, "width": 16}
    drawn = generate_images(CAT, 3, pipeline, settings=settings)
    with Image.open(path) as picture:
        assert picture.tobytes() == to_pil(drawn.images)[0].tobytes()
    assert drawn.recipes()[0] == read_metadata(path)
    with pytest.raises(ConfigError, match="steps: unknown key"):
        generate_images(CAT, 3, pipeline, settings={"steps": 2})
