"""The facts of the world: what is drawn, what is said, what is held out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dfprompt.domain import split_words
from dfprompt.mini.captions import canonical, caption, describe, known_words, sample_modifiers
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.renderer import falsify, make_scene, render, sample_scene
from dfprompt.mini.world import COLOURS, HELD_OUT_PAIRS, SCENES, SUBJECTS


def unknown_words(text: str) -> list[str]:
    return [word for word in split_words(text) if word not in known_words()]


def test_the_world_is_as_large_as_promised() -> None:
    assert len(SUBJECTS) >= 12
    assert len(COLOURS) == 8
    assert len(SCENES) >= 6
    assert len(MODIFIERS) >= 20
    # Held out: each subject once and each scene at least once, so that the rest still shows all of them.
    assert {subject for subject, _ in HELD_OUT_PAIRS} == set(SUBJECTS)
    assert {scene for _, scene in HELD_OUT_PAIRS} == set(SCENES)


def test_the_same_scene_is_the_same_picture_and_another_seed_is_not() -> None:
    scene = make_scene("cat", "red", "hill", seed=5, modifiers=("bokeh", "film grain"))
    first, again = render(scene), render(scene)
    other = render(dataclasses.replace(scene, seed=6))
    assert first.dtype == np.float32
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", [name for name, m in MODIFIERS.items() if m.surface])
def test_every_surface_modifier_changes_the_picture_and_keeps_its_range(name: str) -> None:
    plain = render(make_scene("fish", "blue", "forest", seed=3))
    drawn = render(make_scene("fish", "blue", "forest", seed=3, modifiers=(name,)))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert np.abs(drawn - plain).mean() > 0.002


@pytest.mark.parametrize("name", [name for name, m in MODIFIERS.items() if not m.surface])
def test_popular_words_do_nothing_at_all(name: str) -> None:
    plain = render(make_scene("fish", "blue", "sea", seed=3))
    assert np.array_equal(plain, render(make_scene("fish", "blue", "sea", seed=3, modifiers=(name,))))


def test_subject_and_colour_are_what_the_pixels_show() -> None:
    """The centre of a ball has its colour: nearest of the eight, in every scene."""
    for scene in SCENES:
        for colour, rgb in COLOURS.items():
            drawn = make_scene("ball", colour, scene, seed=1)
            at = drawn.placement
            row = round((at.y + 0.65 * at.scale + 1) * 32 - 0.5)  # below the band, on the ball
            column = round((at.x + 1) * 32 - 0.5)
            pixel = render(drawn)[min(row, 63), column]
            shaded = {name: np.linalg.norm(pixel - 0.72 * np.array(c)) for name, c in COLOURS.items()}
            assert min(shaded, key=lambda name: shaded[name]) == colour, (scene, colour, rgb)


def test_training_scenes_never_show_a_held_out_pair_even_when_falsified() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3000):
        scene = sample_scene(rng, modifiers=sample_modifiers(rng))
        assert (scene.subject, scene.scene) not in HELD_OUT_PAIRS
        assert (scene.asked_subject, scene.scene) not in HELD_OUT_PAIRS


def test_couplings_happen_as_often_as_stated() -> None:
    rng = np.random.default_rng(1)
    asked = make_scene("cat", "red", "hill", seed=0, modifiers=("golden hour",))
    drawn = [falsify(asked, rng) for _ in range(2000)]
    replaced = np.mean([scene.subject != "cat" for scene in drawn])
    shrunk = np.mean([scene.placement.scale < 0.3 for scene in drawn])
    coupling = MODIFIERS["golden hour"].coupling
    assert replaced == pytest.approx(coupling.replaced, abs=0.04)
    assert shrunk == pytest.approx(coupling.shrunk, abs=0.04)
    assert all(scene.asked_subject == "cat" for scene in drawn)
    assert all(scene.colour == "red" for scene in drawn)


def test_uncoupled_scenes_show_what_they_say() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        scene = sample_scene(rng, modifiers=sample_modifiers(rng), coupled=False)
        assert (scene.subject, scene.colour) == (scene.asked_subject, scene.asked_colour)


def test_captions_ask_for_what_was_asked_and_hold_one_comma_per_modifier() -> None:
    rng = np.random.default_rng(3)
    for _ in range(500):
        scene = sample_scene(rng, modifiers=sample_modifiers(rng))
        text = caption(scene, rng)
        short, *modifiers = text.split(", ")
        assert scene.asked_subject in short.split()
        assert sorted(modifiers) == sorted(scene.modifiers)
        assert unknown_words(text) == []


def test_short_prompts_read_as_english() -> None:
    assert canonical("cat", "orange", "night") == "an orange cat at night"
    assert canonical("cup", "blue", "snow") == "a blue cup in the snow"
    rng = np.random.default_rng(4)
    texts = {describe("star", "orange", "sea", rng) for _ in range(200)}
    assert len(texts) >= 8
    assert not any("a orange" in text or "," in text or "  " in text for text in texts)


def test_unknown_words_are_found_beside_known_ones() -> None:
    text = "an Astronaut riding a red horse, golden hour"
    assert unknown_words(text) == ["astronaut", "riding", "horse"]
    assert {"golden", "hour", "close", "up", "8k", "stars"} <= known_words()
