"""Methods that let somebody else's model rewrite: a pipeline's own rewriter, a command, a chat endpoint."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dfprompt.endpoint import Endpoint, is_url, read_token
from dfprompt.errors import ConfigError, EndpointError, EvaluationError
from dfprompt.excerpt import quote
from dfprompt.measurement.prompts import PlainPrompt, noise_seed
from dfprompt.prompt import DFPrompt

INSTRUCTION = (
    "Rewrite the user's text-to-image prompt so that the picture becomes better. Keep all that it asks for: "
    "subjects, counts, colours, places. Add what makes a picture good: light, style, composition, detail. "
    "Answer with the new prompt alone, on one line."
)
_LONGEST = 4000  # characters of a rewrite
_LARGEST_ANSWER = 2**20


class Vendor(Protocol):
    """A pipeline's own rewriter (`dfprompt.pipeline.vendor`)."""

    @property
    def name(self) -> str:
        """The class and method that rewrite."""
        ...

    def rewrite(
        self, prompts: Sequence[str], seeds: Sequence[int], *, height: int | None, width: int | None
    ) -> list[str]:
        """Return one rewrite per prompt."""
        ...


@dataclass
class VendorMethod:
    """The pipeline's own rewriter, which is off in every other method."""

    rewriter: Vendor
    height: int | None = None
    width: int | None = None
    name: str = "vendor"
    pictures: int = 1
    vendor: bool = True
    at_once: int = 1
    definition: str = ""

    def __post_init__(self) -> None:
        self.definition = (
            f"the pipeline's own rewriter {self.rewriter.name}, seeded per prompt; off in all other methods"
        )

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """Ask for each prompt with a seed of its own."""
        seeds = [noise_seed(prompt.id, seed) for prompt in prompts]
        texts = [prompt.text for prompt in prompts]
        written = self.rewriter.rewrite(texts, seeds, height=self.height, width=self.width)
        return [DFPrompt.from_plain(text) for text in written]


@dataclass
class LlmMethod:
    """A language model behind `ask`, which gets a prompt and a seed and returns its rewrite.

    `source` says in the definition who is asked. Rewrites are written down one by one, so that a run that
    goes on asks for none again.
    """

    ask: Callable[[str, int], str]
    source: str
    name: str = "llm"
    pictures: int = 1
    at_once: int = 1

    definition: str = ""

    def __post_init__(self) -> None:
        self.definition = f"the rewrites of {self.source}"

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """Ask for each prompt; raises EvaluationError where one is not answered."""
        return [DFPrompt.from_plain(self._one(prompt, seed)) for prompt in prompts]

    def _one(self, prompt: PlainPrompt, seed: int) -> str:
        text = self.ask(prompt.text, noise_seed(prompt.id, seed) % 2**31)
        return clean_rewrite(text, prompt.text)


def clean_rewrite(text: str, plain: str) -> str:
    """Return a rewrite as one line, without the quotes around it; raises EvaluationError for none.

    >>> clean_rewrite('\\n "a red house at dawn" ', "a red house")
    'a red house at dawn'
    """
    line = " ".join(text.split())
    if len(line) > 1 and line[0] == line[-1] and line[0] in "\"'`":
        line = line[1:-1].strip()
    if not line:
        raise EvaluationError(f"the rewrite of {quote(plain)} is empty")
    if len(line) > _LONGEST:
        raise EvaluationError(
            f"the rewrite of {quote(plain)} has {len(line)} characters, more than {_LONGEST}"
        )
    return line


@dataclass(frozen=True)
class ChatRewriter:
    """An OpenAI-compatible chat endpoint: {model, messages, seed} is answered in choices[0].message.content.

    `endpoint` is the whole address (http://127.0.0.1:8080/v1/chat/completions). Raises EvaluationError for an
    answer of another shape and where nobody answers.
    """

    endpoint: Endpoint
    model: str = ""
    instruction: str = INSTRUCTION
    temperature: float = 0.7

    def __call__(self, prompt: str, seed: int) -> str:
        """Return the rewrite of a prompt."""
        messages = [
            {"role": "system", "content": self.instruction},
            {"role": "user", "content": prompt},
        ]
        question = {"messages": messages, "temperature": self.temperature, "seed": seed, "stream": False}
        if self.model:
            question["model"] = self.model
        try:
            answer = self.endpoint.post(question)
            text = answer["choices"][0]["message"]["content"]
        except EndpointError as error:
            raise EvaluationError(str(error)) from error
        except (LookupError, TypeError) as error:
            raise EvaluationError(
                f"{self.endpoint.url}: no choices[0].message.content in the answer"
            ) from error
        if not isinstance(text, str):
            raise EvaluationError(f"{self.endpoint.url}: the rewrite is no text: {quote(text)}")
        return text


@dataclass(frozen=True)
class CommandRewriter:
    """A command that reads a JSON line {"prompt", "seed"} and writes the rewrite: a line, or JSON "rewrite".

    It is started once per prompt, without a shell. Raises EvaluationError where it fails, says nothing, or
    takes longer than `timeout` seconds.
    """

    arguments: tuple[str, ...]
    timeout: float = 120.0

    def __call__(self, prompt: str, seed: int) -> str:
        """Return the rewrite of a prompt."""
        name = self.arguments[0]
        line = json.dumps({"prompt": prompt, "seed": seed}) + "\n"
        try:
            done = subprocess.run(
                self.arguments, input=line.encode(), capture_output=True, timeout=self.timeout, check=False
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise EvaluationError(f"the command {quote(name)} did not rewrite: {error}") from error
        if done.returncode:
            said = done.stderr[-300:].decode("utf-8", "replace").strip()
            raise EvaluationError(f"the command {quote(name)} ended with {done.returncode}: {quote(said)}")
        if len(done.stdout) > _LARGEST_ANSWER:
            raise EvaluationError(f"the command {quote(name)} wrote more than {_LARGEST_ANSWER} bytes")
        return _read_line(done.stdout.decode("utf-8", "replace"))


def _read_line(text: str) -> str:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return str(value["rewrite"]) if isinstance(value, dict) and "rewrite" in value else text


def make_llm(source: str, *, model: str = "", token_file: Path | None = None) -> LlmMethod:
    """Return the method of an address or a command; raises ConfigError for a command that is not there.

    An address that ends in /v1 or in nothing is completed to /v1/chat/completions.
    """
    if is_url(source):
        url = source.rstrip("/")
        if not url.endswith("/chat/completions"):
            url += "/chat/completions" if url.endswith("/v1") else "/v1/chat/completions"
        chat = ChatRewriter(Endpoint(url, read_token(token_file)), model)
        return LlmMethod(chat, f"the chat endpoint {url}" + (f", model {model}" if model else ""))
    try:
        arguments = tuple(shlex.split(source))
    except ValueError as error:
        raise ConfigError(f"--llm {quote(source)} is no command: {error}") from error
    if not arguments or not _is_there(arguments[0]):
        raise ConfigError(
            f"--llm {quote(source)} is neither an address (http://...) nor a command that is there"
        )
    return LlmMethod(CommandRewriter(arguments), f"the command {Path(arguments[0]).name}")


def _is_there(command: str) -> bool:
    from shutil import which

    return which(command) is not None and not os.path.isdir(command)
