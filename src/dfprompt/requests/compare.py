"""What `dfprompt compare` and `dfprompt tune` are asked: one or a few prompts, drawn plain and changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.prompt.reading import holds_spans
from dfprompt.requests.base import Flag, FolderRequest, ListedThings, MaxRisk, SeedRequest, Things, Words
from dfprompt.requests.render import DialectRequest, RenderRequest
from dfprompt.requests.scale import CostRequest, ScaleRequest
from dfprompt.requests.score import ScoreRequest
from dfprompt.requests.write import Style, Taste

Policy = Annotated[Any, Flag(metavar="P", kind=str)]
Modifiers = Annotated[ListedThings, Flag("--modifiers", "A,B|FILE", kind=Words, commas=True)]

Keep = Annotated[Words, Flag("--keep", "WORDS")]


class CompareRequest(
    SeedRequest, FolderRequest, CostRequest, ScaleRequest, ScoreRequest, DialectRequest, RenderRequest
):
    """What `dfprompt compare` draws side by side."""

    most_seeds: ClassVar[int] = 1000

    texts: Annotated[Things, Flag(metavar="[TEXT...]", argument=True, kind=str)] = ()
    """Plain words; - reads one prompt per line and answers in JSON lines."""
    written: Annotated[Things, Flag("--with", "DFPROMPT", kind=str)] = ()
    """A DF-Prompt of your own, drawn beside plain; repeatable."""
    with_file: Annotated[Path | None, Flag(metavar="FILE")] = None
    """DF-Prompts, one per line; in a .jsonl file {"prompt": plain, "df_prompt": ...}."""
    policy: Policy = None
    """What rewrites TEXT: a folder, starter, or mini; by default the pipeline's own, without --vary."""
    style: Style = None
    """Rewrite by rules for a look: photo, painting, watercolor, anime, cinematic, line-art or render."""
    taste: Taste = None
    """Whom the policy writes for: a taste it learnt, with a strength of 0 to 2; several between commas."""
    candidates: Annotated[int, Flag(metavar="C")] = Field(default=1, ge=1)
    """Rewrites of each prompt."""
    max_risk: MaxRisk = Field(default=None, gt=0, lt=1)
    """Leave a prompt alone unless its probe picture shows that at most this share loses what was asked."""
    at_least: Annotated[int, Flag(metavar="N")] = Field(default=0, ge=0, le=20)
    """Modifiers the policy must append even where it would leave the prompt alone."""
    vary: Annotated[Things, Flag("--vary", "WORDS", kind=str)] = ()
    """Draw these words all the time, early, late, and late and gently, beside TEXT; repeatable."""
    df: bool = False
    """Keep spans already written in TEXT."""
    seeds: Annotated[Any, Flag(metavar="K", kind=int)] = 4
    """Pictures per prompt: seeds S to S+K-1; in Python also the seeds themselves."""
    resume: bool = False
    """Go on with the comparison in --output: what is drawn is not drawn again."""
    force: bool = False
    """Overwrite files that exist."""

    @property
    def writer(self) -> Any:
        """The policy asked for: the rules of a style where one is named; None for the pipeline's own."""
        return self.policy if self.style is None else f"starter:{self.style}"

    @model_validator(mode="after")
    def _check_something_to_compare(self) -> Self:
        if not self.texts and not self.written and self.with_file is None:
            raise InputError("nothing to compare: give plain words, or a DF-Prompt to draw with --with")
        if self.vary and not self.texts:
            raise InputError("--vary tries words beside a prompt: give the prompt's plain words as well")
        for words in self.vary:
            if not words.strip():
                raise InputError('--vary takes the words to try at other times, such as --vary "film grain"')
            if holds_spans(words):
                raise InputError(
                    f"--vary takes words alone and writes the ranges itself, not {quote(words)}; draw a "
                    "DF-Prompt of your own with --with"
                )
        return self


class TuneRequest(FolderRequest, CostRequest, ScaleRequest, ScoreRequest, RenderRequest):
    """What `dfprompt tune` searches for."""

    text: Annotated[str, Flag(metavar="TEXT", argument=True)]
    """Plain words; - reads one prompt per line and answers in JSON lines."""
    modifiers: Modifiers = ()
    """What is tried: words between commas, or a file with one per line, or TOML with categories."""
    images: Annotated[int, Flag(metavar="N")] = 48
    """Pictures in all; half to make sure."""
    minutes: Annotated[float | None, Flag(metavar="M")] = None
    """Minutes of drawing and scoring that may be spent."""
    seed: Annotated[int, Flag(metavar="S")] = 0
    """The first seed, and the order of candidates."""
    df: bool = False
    """Keep spans already written in TEXT."""
    keep: Keep = ()
    """Words of TEXT that nothing tried may drop, move or weight; repeatable."""
    only: Annotated[str | None, Flag(metavar="W")] = None
    """With --df: find range and weight of this one span."""
    policy: Policy = None
    """Try this policy's rewrites too: mini, starter or a folder."""
    candidates: Annotated[int, Flag(metavar="C")] = Field(default=4, ge=1)
    """Rewrites asked of --policy."""
    best_of_n: Annotated[bool | None, Flag("--best-of-n/--no-best-of-n")] = None
    """Of --images, keep enough to draw plain as often as the search; default: if enough are left."""
    resume: bool = False
    """Go on with the search in --output."""

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if not self.text.strip():
            raise InputError("an empty prompt cannot be tuned; give plain words")
        if self.only is not None and not self.df:
            raise InputError("--only tunes a span already written: add --df")
        if not self.df and holds_spans(self.text):
            raise InputError(
                "the prompt holds spans: keep them with --df, or escape the brackets as \\[ and \\]"
            )
        if self.policy is not None and self.only is not None:
            raise InputError("--policy proposes modifiers, and --only changes none: leave out one of them")
        return self
