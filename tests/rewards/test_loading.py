"""load_reward and score_images: names, folders, recipes, and pictures however they are given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import dfprompt
from dfprompt.api.rewards import load_reward, read_reward_settings, reward_shelf, score_images
from dfprompt.config import iter_config_classes, undocumented_fields
from dfprompt.errors import ConfigError, DFPromptWarning, ImageFileError, LoadError
from dfprompt.images.metadata import GenerationMetadata, ModelMark
from dfprompt.rewards import CompositeReward
from tiny_rewards import pictures, prompts


def save_png(image: torch.Tensor, path: Path, text: dict[str, str] | None = None) -> Path:
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    levels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(path, pnginfo=info)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# ---- load_reward -----------------------------------------------------------------------------------------


def test_the_public_names_are_these() -> None:
    assert dfprompt.load_reward is load_reward
    assert dfprompt.score_images is score_images


def test_a_folder_is_what_it_holds(reward_set: Path) -> None:
    assert isinstance(load_reward(reward_set, device="cpu"), CompositeReward)
    assert load_reward(reward_set / "aesthetic", device="cpu").name == "aesthetic"
    assert load_reward(str(reward_set / "clip"), device="cpu").name == "clip"
    assert load_reward(f"pickscore:{reward_set / 'preference'}", device="cpu").name == "pickscore"


def test_rewards_loaded_one_after_another_share_their_model(reward_set: Path) -> None:
    clip = load_reward(f"clip:{reward_set}", device="cpu")
    aesthetic = load_reward(f"aesthetic:{reward_set}", device="cpu")
    assert next(clip.towers()) is next(aesthetic.towers())


def test_a_folder_written_anew_is_read_anew(tmp_path: Path) -> None:
    import os

    import tiny_rewards

    folder = tiny_rewards.save_clip(tmp_path / "clip", seed=0)
    before = load_reward(f"clip:{folder}", device="cpu")
    tiny_rewards.save_clip(folder, seed=1)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    after = load_reward(f"clip:{folder}", device="cpu")
    assert not torch.allclose(before(pictures(2), prompts(2)), after(pictures(2), prompts(2)), atol=1e-3)


def test_a_recipe_sets_constants_models_extras_and_judges(reward_set: Path, tmp_path: Path) -> None:
    write(
        tmp_path / "mine.py", "def light(images, prompts, records=None):\n    return images.mean((1, 2, 3))\n"
    )
    recipe = write(
        tmp_path / "r.toml",
        f"""
        [composite]
        c = 5.0
        zeta = 0.1
        [models]
        clip = "{reward_set}"
        aesthetic = "{reward_set}"
        preference = "{reward_set}"
        [[extra]]
        name = "light"
        function = "mine.py:light"
        weight = 3.0
        [[judges]]
        name = "second opinion"
        score = "clip:{reward_set / "preference"}"
        """,
    )
    reward = load_reward(recipe, device="cpu", allow_code=True)
    assert isinstance(reward, CompositeReward)
    assert (reward.constants.c, reward.constants.zeta, reward.constants.kappa) == (5, 0.1, 18)
    columns = score_images(pictures(2), prompts(2), reward)
    torch.testing.assert_close(columns["light"], pictures(2).mean((1, 2, 3)))
    assert {"reward", "aesthetic", "clip", "preference", "second opinion"} <= columns.keys()
    with pytest.raises(ConfigError, match="--allow-code"):
        load_reward(recipe, device="cpu")


def test_the_papers_reward_has_its_constants_and_published_weights() -> None:
    settings, _ = read_reward_settings("paper", reward_shelf("cpu", "float32", None), ["composite.d=0"])
    assert settings.models.model_dump(exclude_none=True) == {
        "clip": "clip", "aesthetic": "aesthetic", "preference": "pickscore",
    }  # fmt: skip
    found = settings.composite
    assert (found.a, found.b, found.c, found.d) == (1.0, 0.0, 20.0, 0.0)
    assert (found.zeta, found.kappa) == (0.28, 18.0)


def test_models_with_weight_zero_are_not_even_looked_for(reward_set: Path, tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "r.toml",
        "[composite]\na = 0\nd = 0\n"
        f'[models]\nclip = "{reward_set}"\npreference = "nowhere"\naesthetic = "nowhere"\n',
    )
    assert load_reward(recipe, device="cpu")(pictures(2), prompts(2)).shape == (2,)


def test_recipe_paths_start_at_the_recipe(reward_set: Path, tmp_path: Path) -> None:
    (tmp_path / "set").symlink_to(reward_set)
    models = "\n".join(f'{part} = "set"' for part in ("clip", "aesthetic", "preference"))
    recipe = write(tmp_path / "r.toml", f"[models]\n{models}\n")
    torch.testing.assert_close(
        load_reward(recipe, device="cpu")(pictures(2), prompts(2)),
        load_reward(reward_set, device="cpu")(pictures(2), prompts(2)),
    )


def test_a_published_head_in_a_recipe_reads_the_recipes_clip(
    head_file: Path, clip_folder: Path, tmp_path: Path
) -> None:
    recipe = write(
        tmp_path / "r.toml",
        f'[composite]\nd = 0\n[models]\nclip = "{clip_folder}"\naesthetic = "{head_file}"\n',
    )
    reward = load_reward(recipe, device="cpu")
    assert len(list(reward.towers())) == 1


def test_a_set_may_bring_its_constants(small_world: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "set"
    shutil.copytree(small_world, folder)
    (folder / "reward.toml").write_text("[composite]\nzeta = -1.0\nkappa = -100.0\n")
    reward = load_reward(folder, device="cpu")
    assert (reward.constants.zeta, reward.constants.kappa) == (-1, -100)
    changed = load_reward(folder, device="cpu", assignments=["composite.zeta=0.5"])
    assert changed.constants.zeta == 0.5


def test_a_judge_that_is_trained_on_is_refused(reward_set: Path, tmp_path: Path) -> None:
    place = f"clip:{reward_set}"
    recipe = write(
        tmp_path / "r.toml",
        f'[composite]\na = 0\nd = 0\n[models]\nclip = "{place}"\n[[judges]]\nname = "j"\nscore = "{place}"\n',
    )
    with pytest.raises(ConfigError, match="never trained on"):
        load_reward(recipe, device="cpu")
    # However both are written: a judge must say its kind, a model need not.
    for model, judged in (
        (reward_set / "clip", "clip:set/clip"),
        ("set/clip", f"clip:{reward_set / 'clip'}"),
    ):
        (tmp_path / "set").unlink(missing_ok=True)
        (tmp_path / "set").symlink_to(reward_set)
        text = f'[composite]\na = 0\nd = 0\n[models]\nclip = "{model}"\n'
        text += f'[[judges]]\nname = "j"\nscore = "{judged}"\n'
        with pytest.raises(ConfigError, match="never trained on"):
            load_reward(write(recipe, text), device="cpu")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[composite]\nzetta = 1\n", r'composite\.zetta: unknown key; did you mean "zeta"\?'),
        ("[composite]\nzeta = 'high'\n", r"composite\.zeta: input should be a valid number"),
        ("[composite]\nzeta = nan\n", r"composite\.zeta"),
        ("[[judges]]\nname = 'x'\n", "needs either score or function"),
        ("[[extra]]\nname = 'x'\n", "reward 'x' needs either score or function"),
        ("[models]\npreference = 'clip:x'\n", "cannot stand in the place of a pickscore score"),
        ("[models]\nclip = \n", "not TOML"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, text: str, said: str) -> None:
    recipe = write(tmp_path / "r.toml", text)
    overrides = ["composite.a=0", "composite.c=0"] if "preference" in text else []
    with pytest.raises(ConfigError, match=said):
        load_reward(recipe, device="cpu", assignments=overrides)


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("pickscor", ConfigError, 'did you mean "pickscore"'),
        ("someone/some-clip", ConfigError, "clip:someone/some-clip"),
        ("missing.toml", ConfigError, "cannot read the recipe"),
        (".", LoadError, "neither a set of scores"),
    ],
)
def test_what_is_no_reward_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: type[Exception], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        load_reward(source, device="cpu")


@pytest.mark.parametrize(("option", "value"), [("device", "gpu7"), ("dtype", "int8")])
def test_unknown_devices_and_dtypes_are_named(clip_folder: Path, option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=value):
        load_reward(f"clip:{clip_folder}", **{"device": "cpu", option: value})


def test_every_setting_is_documented_in_one_line() -> None:
    classes = [kind for kind in iter_config_classes() if kind.__module__.startswith("dfprompt.")]
    assert len(classes) >= 5
    assert [(kind.__name__, undocumented_fields(kind)) for kind in classes if undocumented_fields(kind)] == []


# ---- score_images ----------------------------------------------------------------------------------------


def test_files_score_as_the_tensors_they_were_saved_from(clip_folder: Path, tmp_path: Path) -> None:
    images = torch.rand(3, 3, 70, 90, generator=torch.Generator().manual_seed(0))  # not at whole levels
    files = [
        save_png(torch.floor(image * 255 + 0.5) / 255, tmp_path / f"{row}.png")
        for row, image in enumerate(images)
    ]
    source = f"clip:{clip_folder}"
    from_files = score_images(files, prompts(3), source, device="cpu")["clip"]
    from_tensor = score_images(images, prompts(3), source, device="cpu")["clip"]
    assert torch.equal(from_files, from_tensor)


def test_pictures_of_many_sizes_come_back_in_their_rows(clip_folder: Path, tmp_path: Path) -> None:
    sizes = [(64, 64), (90, 70), (64, 64), (70, 90), (90, 70)]
    images = [pictures(1, *size, seed=row)[0] for row, size in enumerate(sizes)]
    given = [images[0], save_png(images[1], tmp_path / "1.png"), images[2], images[3]]
    given.append(Image.fromarray((images[4] * 255).round().byte().permute(1, 2, 0).numpy()))
    score = load_reward(f"clip:{clip_folder}", device="cpu")
    alone = [score(image[None], [text]).item() for image, text in zip(images, prompts(5), strict=True)]
    together = score_images(given, prompts(5), score)["clip"]
    torch.testing.assert_close(together, torch.tensor(alone), rtol=0, atol=2e-6)


def test_records_follow_their_pictures(tmp_path: Path) -> None:
    def number(images, prompts, records=None):
        return [record["n"] for record in records]

    images = [pictures(1, 10 + row % 2, 10)[0] for row in range(4)]
    columns = score_images(images, "x", number, records=[{"n": row} for row in range(4)])
    assert columns["number"].tolist() == [0, 1, 2, 3]


def test_one_prompt_serves_all_pictures(clip_folder: Path) -> None:
    score = load_reward(f"clip:{clip_folder}", device="cpu")
    assert torch.equal(
        score_images(pictures(3), "a dog", score)["clip"],
        score_images(pictures(3), ["a dog"] * 3, score)["clip"],
    )


def test_several_rewards_in_one_call(reward_set: Path) -> None:
    columns = score_images(
        pictures(2), prompts(2), [f"clip:{reward_set}", f"aesthetic:{reward_set}"], device="cpu"
    )
    assert list(columns) == ["clip", "aesthetic"]


def test_two_rewards_with_one_name_and_other_numbers_are_refused(reward_set: Path, clip_folder: Path) -> None:
    with pytest.raises(ConfigError, match="'clip'"):
        score_images(pictures(2), prompts(2), [f"clip:{reward_set}", f"clip:{clip_folder}"], device="cpu")


@pytest.mark.parametrize("wrong", [["one"], ["one"] * 3])
def test_a_wrong_number_of_prompts_raises(wrong: list[str], clip_folder: Path) -> None:
    with pytest.raises(ConfigError, match="2 images need 2 prompts"):
        score_images(pictures(2), wrong, f"clip:{clip_folder}", device="cpu")
    with pytest.raises(ConfigError, match="2 images need 2 records"):
        score_images(pictures(2), "x", f"clip:{clip_folder}", device="cpu", records=[{}])


def test_what_is_no_picture_is_named(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got int"):
        score_images([3], "x", f"clip:{clip_folder}", device="cpu")
    write(tmp_path / "a.png", "no")
    with pytest.raises(ImageFileError, match=r"(?s)2 files.*a\.png.*b\.png: no such file"):
        score_images([tmp_path / "a.png", tmp_path / "b.png"], "x", f"clip:{clip_folder}", device="cpu")


def chunks(model: str) -> dict[str, str]:
    recipe = GenerationMetadata(
        prompt="a red house", df_prompt="a red house", seed=1, model=ModelMark(name=model)
    )
    return recipe.to_chunks()


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ({}, False),
        (chunks("tiny"), False),
        (chunks("dfprompt/tiny-2"), False),
        ({"Software": "an editor"}, False),
        (chunks("stable-diffusion-v1-4"), True),
        ({"dfprompt": "{"}, True),
        ({"parameters": "a red house\nSteps: 20"}, True),
    ],
)
def test_a_file_drawn_by_another_model_is_outside_the_world(
    small_world: Path, tmp_path: Path, text: dict[str, str], warned: bool
) -> None:
    file = save_png(pictures(1)[0], tmp_path / "a.png", text)
    if warned:
        with pytest.warns(DFPromptWarning, match="drawn by another model"):
            score_images([file], "a red house", small_world, device="cpu")
    else:
        score_images([file], "a red house", small_world, device="cpu")
