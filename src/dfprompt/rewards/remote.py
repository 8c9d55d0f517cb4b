"""A reward or judge behind an address: pictures go out as PNG, numbers come back, or the work stops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfprompt.endpoint import Endpoint, read_token
from dfprompt.errors import EndpointError, InputError, LoadError, RewardError, RewardServerError
from dfprompt.rewards import wire
from dfprompt.rewards.contract import Records
from dfprompt.rewards.scores import Score
from dfprompt.rewards.settings import RemoteSettings
from dfprompt.rewards.tower import ImageBatch


class RemoteScore(Score):
    """The score of a server that speaks the reward protocol (`dfprompt.rewards.wire`).

    Its name is the one the server gives itself. A server that is silent, busy or dying is asked again with
    growing pauses; then, and at once for an answer that is none (another version, another number of scores,
    NaN), RewardServerError stops the work, or with `on_failure = "row"` RewardError leaves these rows without
    a score. No number is ever put in its place. Raises LoadError where no such server answers.
    """

    def __init__(self, url: str, settings: RemoteSettings | None = None, *, base: Path = Path()) -> None:
        self.settings = chosen = settings or RemoteSettings()
        token = read_token(None if chosen.token_file is None else base / chosen.token_file)
        self.endpoint = Endpoint(url, token, chosen.timeout, chosen.retries, chosen.backoff)
        try:
            self.described = wire.read_description(self.endpoint.get())
        except EndpointError as error:
            raise LoadError(f"the reward server cannot be used: {error}") from error
        except InputError as error:
            raise LoadError(f"the reward server cannot be used: {url}: {error}") from error
        super().__init__(self.described.name)
        self.measures = self.described.measures

    @property
    def family(self) -> str:
        """Nobody here knows what a server computes: each is a family of its own."""
        return self.endpoint.url

    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """Ask in parts of at most `batch` pictures, in their order."""
        at_once = min(self.described.batch, self.settings.batch)
        scores: list[float] = []
        for start in range(0, len(batch), at_once):
            part = slice(start, start + at_once)
            rows = None if records is None else records[part]
            scores += self._ask(batch.images[part], prompts[part], rows)
        return torch.tensor(scores, dtype=torch.float32)

    def _ask(self, images: Tensor, prompts: Sequence[str], records: Records | None) -> list[float]:
        try:
            question = wire.ask(images, prompts, records)
            return wire.read_answer(self._post(question), len(images), self.name)
        except EndpointError as error:
            raise self._failure(str(error)) from error
        except InputError as error:
            raise self._failure(f"{self.endpoint.url}: {error}") from error

    def _post(self, question: dict[str, Any]) -> Any:
        try:
            return self.endpoint.post(question)
        except (TypeError, ValueError, RecursionError) as error:
            raise RewardError(f"{self.name}: the prompt file's fields are not JSON: {error}") from error

    def _failure(self, reason: str) -> RewardError:
        if self.settings.on_failure == "row":
            return RewardError(f"{self.name} gave no score: {reason}")
        return RewardServerError(
            f"{self.name} gave no score, and none is put in its place: {reason}; what is done is kept: mend "
            "the server and run the command again"
        )
