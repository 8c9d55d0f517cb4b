"""The error tree. Everything dfprompt raises on purpose is a DFPromptError.

DFPromptError
├── InputError                 bad input from the user: the CLI exits with 2
│   ├── ParseError             text that is not a DF-Prompt (or not of the dialect named)
│   ├── ConversionError        a dialect cannot express what was asked, or refuses it
│   ├── ConfigError            a recipe, a --set or an argument value
│   └── ImageFileError         a file that is not a readable picture
├── LoadError                  weights, folders, checkpoints: missing, damaged, wrong kind (exits with 2)
├── UnsupportedPipelineError   this pipeline family cannot do that; the alternative is named (exits with 2)
├── RewardError                a reward or judge failed or returned nonsense (exits with 1)
├── GenerationError            denoising failed: out of memory, NaN, disk (exits with 1)
└── TrainingError              a training run stopped (exits with 1)

Every message says what, which value, where, and what to do. The library raises; only the
command line and the web page catch.
"""

from __future__ import annotations


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


class ParseError(InputError):
    """Text that is not a DF-Prompt, with the offset, what was expected and how to mend it.

    `offset` counts characters (code points) from 0. `suggestion` is a corrected text or a
    sentence saying what to write, or None.
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
    ) -> None:
        self.problem = problem
        self.text = text
        self.offset = offset
        self.length = length
        self.expected = expected
        self.suggestion = suggestion
        super().__init__(problem)


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


class RewardError(DFPromptError):
    """A reward or judge failed, or returned values that cannot be scores."""


class GenerationError(DFPromptError):
    """Drawing pictures failed: out of memory, NaN latents, a full disk."""


class TrainingError(DFPromptError):
    """A training run stopped; the message names the last good checkpoint."""
