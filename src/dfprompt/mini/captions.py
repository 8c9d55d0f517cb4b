"""What people say about pictures of this world: captions, short prompts, and the words there are."""

from __future__ import annotations

import numpy as np

from dfprompt.domain import split_words
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.renderer import Scene
from dfprompt.mini.world import COLOURS, SCENES, SUBJECTS

# How many modifiers a training picture has: 0, 1, 2, 3.
_COUNTS = (0.30, 0.42, 0.20, 0.08)
_MAY_BE_LEFT_OUT = 0.06  # a caption that does not mention the colour, or the scene


def describe(subject: str, colour: str | None, scene: str | None, rng: np.random.Generator) -> str:
    """One short prompt for these facts, in one of its paraphrases; it holds no comma.

    >>> describe("cat", "red", None, np.random.default_rng(1))
    'a red cat'
    """
    article = ("a ", "a ", "a ", "the ", "one ", "")[rng.integers(6)]
    phrase = "" if scene is None else SCENES[scene][rng.integers(len(SCENES[scene]))]
    thing = f"{colour} {subject}" if colour else subject
    scene_first = bool(phrase) and rng.random() < 0.12
    if scene_first and not article:
        article = "a "  # "at night red cat" is nobody's English
    if article == "a " and thing[0] in "aeiou":
        article = "an "
    return f"{phrase} {article}{thing}" if scene_first else f"{article}{thing} {phrase}".rstrip()


def canonical(subject: str, colour: str, scene: str) -> str:
    """The plain way to ask for a picture: `a red cat on a hill`."""
    article = "an" if colour[0] in "aeiou" else "a"
    return f"{article} {colour} {subject} {SCENES[scene][0]}"


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A training caption: what was asked for (not always what is there), then the modifiers in any order."""
    colour = None if rng.random() < _MAY_BE_LEFT_OUT else scene.asked_colour
    place = None if rng.random() < _MAY_BE_LEFT_OUT else scene.scene
    order = rng.permutation(len(scene.modifiers))
    return ", ".join(
        [describe(scene.asked_subject, colour, place, rng), *(scene.modifiers[i] for i in order)]
    )


def sample_modifiers(rng: np.random.Generator) -> tuple[str, ...]:
    """None to three different modifiers."""
    count = rng.choice(len(_COUNTS), p=_COUNTS)
    names = list(MODIFIERS)
    return tuple(names[i] for i in rng.permutation(len(names))[:count])


def known_words() -> frozenset[str]:
    """Every word this world has a picture or a meaning for, in lower case."""
    phrases: list[str] = [*SUBJECTS, *COLOURS, *MODIFIERS, "a", "an", "the", "one"]
    for names in SCENES.values():
        phrases.extend(names)
    return frozenset(word for phrase in phrases for word in split_words(phrase))
