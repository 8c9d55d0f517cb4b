"""The recipe of `dfprompt curate`: what is read, how it is split and cleaned, what confidence it needs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dfprompt.config import Config
from dfprompt.requests.scale import ScaleSection


class SourceSettings(Config):
    """How rows are read."""

    prompt: str = "prompt"
    """Field or column of the prompt."""
    image: str = "image"
    """Field or column of the picture's file, if there is one."""
    plain_image: str = "plain_image"
    """Field or column of the picture of the short form, if there is one."""
    limit: int = Field(default=0, ge=0)
    """Most rows read; 0 reads all."""


class ShortFormSettings(Config):
    """How a prompt becomes a short form and modifiers."""

    split: Literal["comma", "subject"] = "comma"
    """comma: the text before the first comma (equation 1); subject: also keeps at least a subject."""
    use_given: bool = True
    """Take a row's own "short" and "modifiers" where it has them."""


class CleaningSettings(Config):
    """What is removed before any picture is drawn."""

    strip_syntax: bool = True
    """Take out other tools' syntax: (x:1.2), <lora:...>, --ar 16:9."""
    min_short_words: int = Field(default=1, ge=0)
    """Fewest words of a short form."""
    max_words: int = Field(default=60, ge=1)
    """Most words of a whole prompt."""
    min_modifiers: int = Field(default=1, ge=0)
    """Fewest modifiers of a prompt."""
    max_modifiers: int = Field(default=12, ge=1)
    """Modifiers kept of a prompt, from the first on."""
    wordlists: tuple[str, ...] = ("nsfw",)
    """Lists whose words remove a row: packaged ones by name (nsfw, artists), or text files."""
    patterns: tuple[str, ...] = ()
    """Regular expressions that remove a row, searched in the normalized prompt."""
    artists: Literal["keep", "drop_modifiers", "drop_rows"] = "keep"
    """What artists' names do: nothing, take their modifier out, or remove the row."""
    deduplicate: bool = True
    """Keep one of the rows whose texts differ in casing, width and spaces only."""


class ConfidenceSettings(Config):
    """The filter of equation 1: do the modifiers improve the picture and keep what was asked?"""

    enabled: bool = True
    """Whether pictures are scored at all; without, every clean row is kept."""
    sigma: float = Field(default=0.5, ge=0, le=1)
    """Least confidence of a row that is kept (the paper's best: 0.5)."""
    gamma: float = Field(default=0.01, ge=0)
    """How much CLIP score, in cosine, a prompt may lose (the paper's best: 0.01)."""
    seeds: int = Field(default=2, ge=1)
    """Pictures per prompt, the same seeds for both forms."""
    first_seed: int = Field(default=0, ge=0)
    """The first of the seeds."""
    pipeline: str | None = None
    """What draws the pictures that a row does not bring: a folder, a hub id; mini's own prompts need none."""
    aesthetic: str | None = None
    """Aesthetic score: "mini", aesthetic, aesthetic:FOLDER; by default mini's for mini, else aesthetic."""
    clip: str | None = None
    """CLIP score: "mini", clip, clip:FOLDER; by default mini's for mini, else clip."""
    judges: tuple[str, ...] = ()
    """Scores that decide nothing and are reported for kept and rejected rows; mini adds its own."""
    batch_size: int = Field(default=32, ge=1)
    """Pairs drawn and scored at once, each with all its seeds."""


class SetsSettings(Config):
    """Training, validation and test sets, by a hash of the short prompt."""

    validation: float = Field(default=0.05, ge=0, lt=1)
    """Share of short prompts for validation."""
    test: float = Field(default=0.05, ge=0, lt=1)
    """Share of short prompts for testing."""
    salt: str = ""
    """Any text; another one draws other sets."""

    @model_validator(mode="after")
    def _check(self) -> SetsSettings:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self


class CurateSettings(Config):
    """Everything a curated data set depends on, its source aside."""

    source: SourceSettings = SourceSettings()
    """How rows are read."""
    short_form: ShortFormSettings = ShortFormSettings()
    """How they are split."""
    cleaning: CleaningSettings = CleaningSettings()
    """How they are cleaned."""
    confidence: ConfidenceSettings = ConfidenceSettings()
    """How sure the modifiers must be."""
    sets: SetsSettings = SetsSettings()
    """Which set each row goes to."""
    scale: ScaleSection = ScaleSection()
    """Who draws and scores."""
