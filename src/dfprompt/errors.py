"""The error tree. Everything dfprompt raises on purpose is a DFPromptError.

DFPromptError
├── InputError                 bad input from the user: the CLI exits with 2
│   ├── ParseError             text that is not a DF-Prompt (or not of the dialect named)
│   ├── PromptValueError       a range, weight, step count or timestep no prompt or plan can have
│   ├── ConversionError        a dialect cannot express what was asked, or refuses it
│   ├── ConfigError            a recipe, a --set or an argument value
│   └── ImageFileError         a file that is not a readable picture
├── LoadError                  weights, folders, checkpoints: missing, damaged, wrong kind (exits with 2)
├── UnsupportedPipelineError   this pipeline family cannot do that; the alternative is named (exits with 2)
├── EndpointError              a server did not answer, or answered nonsense (exits with 1)
├── RewardError                a reward or judge failed or returned nonsense (exits with 1)
│   └── RewardServerError      the server of a reward is lost: the work stops, what is done is kept
├── ExecutorError              workers that cannot be had, or were lost (exits with 1)
│   └── WorkerLostError        the workers of one item were lost again and again
├── GenerationError            denoising failed: out of memory, NaN, disk (exits with 1)
├── TrainingError              a training run stopped (exits with 1)
├── StudyError                 a study's folder, plan, link or answer that is refused (exits with 2)
│   ├── ParticipantError       what somebody who takes part sent is refused; it may be shown to them
│   └── StudyDiskError         the disk refused an answer: nothing of it was kept (exits with 1)
└── EvaluationError            a method failed, or an evaluation's folder cannot be used (exits with 1)

Every message says what, which value, where, and what to do. The library raises; only the
command line and the web page catch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from dfprompt.excerpt import line_and_column, point_at, printable, shorten


class DFPromptError(Exception):
    """The root of every error dfprompt raises on purpose.

    >>> issubclass(ParseError, DFPromptError)
    True
    """

    exit_code = 1


class DFPromptWarning(UserWarning):
    """A result was produced, but the user should know something about it."""


class InputError(DFPromptError):
    """Bad input from the user; the command line exits with 2."""

    exit_code = 2


class Fix(NamedTuple):
    """A correction: put `replacement` in place of the characters start..end; `note` says what it means."""

    start: int
    end: int
    replacement: str
    note: str = ""

    def apply(self, text: str) -> str:
        """Return the corrected text."""
        return text[: self.start] + self.replacement + text[self.end :]


class ParseError(InputError):
    """Text that is not a DF-Prompt, with the offset, what was expected and how to mend it.

    `offset` counts characters (code points) from 0. `fixes` are corrections of the text;
    `suggestion` is the text corrected by the first of them, or a sentence saying what to write.
    `str(error)` is the whole report: the problem, the line with a caret, the expectation, the fixes.
    """

    def __init__(
        self,
        problem: str,
        *,
        text: str,
        offset: int,
        expected: str,
        suggestion: str | None = None,
        length: int = 1,
        fixes: tuple[Fix, ...] = (),
    ) -> None:
        self.problem = problem
        self.text = text
        self.offset = offset
        self.length = length
        self.expected = expected
        self.fixes = fixes
        self.advice = suggestion
        super().__init__(problem)

    @property
    def suggestion(self) -> str | None:
        """The text corrected by the first fix; without one, the advice; None if there is neither."""
        return self.fixes[0].apply(self.text) if self.fixes else self.advice

    def report(self, *, ascii_only: bool = False) -> str:
        """Return the message for people, several lines; `ascii_only` for consoles without Unicode."""
        line, column = line_and_column(self.text, self.offset)
        where = f"at character {self.offset}" + (f" (line {line}, column {column})" if line > 1 else "")
        lines = [f"{self.problem}, {where}"]
        lines += [
            f"  {line}" for line in point_at(self.text, self.offset, self.length, ascii_only=ascii_only)
        ]
        lines.append(f"  expected: {self.expected}")
        for fix in self.fixes:
            lines.append(f"  try: {shorten(fix.replacement)}" + (f"   ({fix.note})" if fix.note else ""))
        if self.advice:
            lines.append(f"  {'or' if self.fixes else 'try'}: {self.advice}")
        return "\n".join(printable(line, ascii_only=ascii_only) for line in lines)

    def to_json(self) -> dict[str, Any]:
        """Return the error as a JSON object: message, offset, length, expected, suggestion."""
        return {
            "message": self.problem,
            "offset": self.offset,
            "length": self.length,
            "expected": self.expected,
            "suggestion": self.suggestion,
        }

    def __str__(self) -> str:
        return self.report()

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions unpickle by position; this one takes keywords and must cross process borders.
        fields = (self.text, self.offset, self.expected, self.advice, self.length, self.fixes)
        return _rebuild_parse_error, (self.problem, *fields)


def _rebuild_parse_error(
    problem: str,
    text: str,
    offset: int,
    expected: str,
    advice: str | None,
    length: int,
    fixes: tuple[Fix, ...],
) -> ParseError:
    return ParseError(
        problem, text=text, offset=offset, expected=expected, suggestion=advice, length=length, fixes=fixes
    )


class PromptValueError(InputError):
    """A value that no prompt or plan can have: a range, a weight, a text, a number of steps."""


class ConversionError(InputError):
    """A dialect cannot express what was asked, or dfprompt refuses to guess."""


class ConfigError(InputError):
    """A recipe, a --set assignment or an argument value is wrong; all problems are listed at once."""


class ImageFileError(InputError):
    """A file that is not a readable picture."""


class LoadError(DFPromptError):
    """Weights, folders or checkpoints that are missing, damaged or of the wrong kind."""

    exit_code = 2


class UnsupportedPipelineError(DFPromptError):
    """This pipeline family cannot do that; the message names the alternative."""

    exit_code = 2


class EndpointError(DFPromptError):
    """A server did not answer, refused, or answered with what is no answer."""


class RewardError(DFPromptError):
    """A reward or judge failed, or returned values that cannot be scores."""


class RewardServerError(RewardError):
    """The server of a reward is lost: no other picture would fare better, so the work stops and can go on."""


class ExecutorError(DFPromptError):
    """Workers cannot be had, or what they ran on is gone."""


class WorkerLostError(ExecutorError):
    """An item ended worker after worker: killed, out of memory, or without an answer."""


class GenerationError(DFPromptError):
    """Drawing pictures failed: out of memory, NaN latents, a full disk."""


class TrainingError(DFPromptError):
    """A training run stopped; the message names the last good checkpoint."""


class EvaluationError(DFPromptError):
    """A method failed to rewrite prompts, or an evaluation's folder cannot be written or gone on with."""


class StudyError(DFPromptError):
    """A study by people: a folder, plan, link or answer that is refused, and why."""

    exit_code = 2


class ParticipantError(StudyError):
    """What somebody who takes part sent is refused; the message is for them, and names no file."""


class StudyDiskError(StudyError):
    """The disk refused what a participant said; nothing of it was kept, and it may be sent again."""

    exit_code = 1


@contextmanager
def load_errors(what: str, advice: str = "") -> Iterator[None]:
    """Turn whatever a library raises inside into one LoadError of one line: `what`: its reason; `advice`.

    Files of any content can make the libraries that read them raise anything at all, so no list of classes
    would do. Errors of our own that name their file already pass as they are.

    >>> with load_errors("my-policy cannot be loaded", "save it again"):
    ...     {}["n_head"]
    Traceback (most recent call last):
        ...
    dfprompt.errors.LoadError: my-policy cannot be loaded: 'n_head'; save it again
    """
    try:
        yield
    except (LoadError, UnsupportedPipelineError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise LoadError(f"{what}: {reason}" + (f"; {advice}" if advice else "")) from error


@contextmanager
def each_warning_once() -> Iterator[None]:
    """Show each of our warnings once in the block, however many batches repeat it."""
    said: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_once(message: Warning | str, category: type[Warning], *where: Any, **named: Any) -> None:
            if issubclass(category, DFPromptWarning):
                if str(message) in said:
                    return
                said.add(str(message))
            show(message, category, *where, **named)

        warnings.showwarning = show_once
        yield
