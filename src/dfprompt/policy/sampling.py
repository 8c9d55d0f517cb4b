"""Drawing modifiers, ranges and weights for a batch: one loop, one cache, one generator per row."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from dfprompt.errors import ConfigError, DFPromptWarning
from dfprompt.excerpt import quote
from dfprompt.policy.categorical import draw, masked_logprobs
from dfprompt.policy.modeling import PolicyModel, PolicyOutput
from dfprompt.policy.row_sampler import FirstWord, RowSampler, SampledRow
from dfprompt.policy.settings import SamplingSettings
from dfprompt.policy.trajectory import Trajectory
from dfprompt.policy.vocabulary import INSIDE, OPEN, Vocabulary


def sample_trajectory(
    model: PolicyModel,
    vocabulary: Vocabulary,
    prompts: Sequence[str],
    seeds: Sequence[int],
    settings: SamplingSettings,
    *,
    acting: Sequence[bool] | None = None,
    tastes: Sequence[Sequence[float]] | None = None,
) -> Trajectory:
    """Draw one row per prompt, row i from the numbers of seeds[i] alone.

    `acting` says which range classes may be drawn (`ControlTables.acting`); all by default.
    `tastes` holds the strengths of the model's tastes for each row. The model is put into evaluation
    mode. Raises ConfigError for seeds that do not match the prompts and for more new tokens than the
    trunk can read.
    """
    if not prompts:
        raise ConfigError("there is no prompt to continue")
    if len(seeds) != len(prompts):
        raise ConfigError(f"{len(prompts)} prompts need {len(prompts)} seeds, got {len(seeds)}")
    model.eval()
    return _Loop(model, vocabulary, prompts, seeds, settings, acting, tastes).run()


class _Loop:
    """The state of one batch: what the model has read, and the rows."""

    def __init__(
        self,
        model: PolicyModel,
        vocabulary: Vocabulary,
        prompts: Sequence[str],
        seeds: Sequence[int],
        settings: SamplingSettings,
        acting: Sequence[bool] | None,
        tastes: Sequence[Sequence[float]] | None,
    ) -> None:
        self.model, self.vocabulary, self.settings = model, vocabulary, settings
        self.device = model.device
        tables = model.config.tables
        self.rows = [
            RowSampler(prompt, seed, model.config.control, vocabulary, settings, tables)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        self.masks = vocabulary.masks.to(self.device)
        self.acting = torch.tensor(acting if acting is not None else [True] * len(tables.ranges))
        if self.acting.shape != (len(tables.ranges),) or not self.acting.any():
            raise ConfigError(f"acting needs {len(tables.ranges)} entries, one at least true, got {acting}")
        self.acting = self.acting.to(self.device)
        self.ids, self.mask = encode_contexts(model, vocabulary, prompts, settings.max_new_tokens)
        rows = tastes if tastes is not None else [[0.0] * len(model.config.tastes)] * len(prompts)
        self.tastes = torch.tensor(rows, dtype=torch.float, device=self.device).reshape(len(prompts), -1)
        self.context = self.ids.shape[1]
        self.cache = model.new_cache() if settings.use_cache else None

    @torch.no_grad()
    def run(self) -> Trajectory:
        fresh = self.context
        while not all(row.done for row in self.rows):
            out = self._read(fresh)
            self._draw_controls(out)
            if all(row.done for row in self.rows):
                break
            self._append(self._draw_tokens(out))
            fresh = 1
        return self._trajectory()

    def _read(self, fresh: int) -> PolicyOutput:
        """One pass over the tokens that are new; over all of them where there is no cache."""
        new = fresh if self.cache is not None else self.ids.shape[1]
        positions = (self.mask.cumsum(1) - 1).clamp_min(0)
        out: PolicyOutput = self.model(
            input_ids=self.ids[:, -new:],
            attention_mask=self.mask,
            position_ids=positions[:, -new:],
            cache=self.cache,
            keep=1,
            tastes=self.tastes,
        )
        return out

    def _append(self, tokens: Sequence[int | None]) -> None:
        """Let the model read the drawn tokens next; rows without one read padding nobody attends to."""
        read = [self.vocabulary.end_id if token is None else token for token in tokens]
        there = [token is not None for token in tokens]
        self.ids = torch.cat([self.ids, self._column(read)], dim=1)
        self.mask = torch.cat([self.mask, self._column(there).to(self.mask)], dim=1)

    def _draw_controls(self, out: PolicyOutput) -> None:
        """A range and a weight for every modifier whose closing token the model has just read."""
        closing = [index for index, row in enumerate(self.rows) if row.closing]
        if not closing:
            return
        ranges, weights = self._control_logprobs(out)
        for index in closing:
            row = self.rows[index]
            row.set_control(*self._draw_control(row, ranges[index], weights[index]))

    def _draw_tokens(self, out: PolicyOutput) -> list[int | None]:
        """The next token of every row that goes on; None for the others."""
        states = torch.tensor([row.state for row in self.rows], device=self.device)
        logprobs = masked_logprobs(out.logits[:, -1], self.masks[states])
        allowed = self._without_early_ends(logprobs)
        drawn = self._draw_words(allowed, [0.0 if row.done else row.uniform() for row in self.rows])
        chosen = logprobs.gather(1, drawn[:, None])[:, 0].tolist()
        per_token = self.model.config.control == "token"
        ranges, weights = self._control_logprobs(out) if per_token else (None, None)
        tokens: list[int | None] = []
        for index, (row, token) in enumerate(zip(self.rows, drawn.tolist(), strict=True)):
            if row.done:
                tokens.append(None)
                continue
            controls = None if ranges is None or weights is None else (ranges[index], weights[index])
            here = FirstWord(logprobs[index], controls)
            if row.state == OPEN:
                row.first_word = here
            tokens.append(self._take(index, token, chosen[index], here))
        return tokens

    def _take(self, index: int, token: int, logprob: float, here: FirstWord) -> int:
        """Offer a row its token; where it refuses, draw the first word of its modifier again."""
        row = self.rows[index]
        refused = row.take(self._drawn(row, token, logprob, here))
        if refused is None:
            return token
        self.mask[index, refused] = 0  # as if the model had never read the modifier
        first = row.first_word
        assert first is not None  # only a modifier that was begun can be refused
        again = int(self._draw_words(first.logprobs[None], [row.uniform()]))
        row.take(self._drawn(row, again, float(first.logprobs[again]), first))
        return again

    def _drawn(self, row: RowSampler, token: int, logprob: float, here: FirstWord) -> SampledRow:
        drawn = SampledRow(token, row.state, logprob, slot=self.ids.shape[1])
        if here.controls is not None and not self.vocabulary.closes(token):
            drawn.control, drawn.control_logprobs = self._draw_control(row, *here.controls)
        return drawn

    def _draw_control(
        self, row: RowSampler, ranges: Tensor, weights: Tensor
    ) -> tuple[tuple[int, int], tuple[float, float]]:
        """Draw from the two heads of one row: range_logprobs (R,) and weight_logprobs (W,)."""
        drawn = []
        for logprobs in (ranges, weights):
            uniform = torch.tensor([row.uniform()], dtype=torch.float64)
            at = int(draw(logprobs[None], uniform, temperature=self.settings.control_temperature))
            drawn.append((at, float(logprobs[at])))
        (range_id, range_logprob), (weight_id, weight_logprob) = drawn
        return (range_id, weight_id), (range_logprob, weight_logprob)

    def _control_logprobs(self, out: PolicyOutput) -> tuple[Tensor, Tensor]:
        """Log-probabilities of both heads at the last position, (B, R) and (B, W), on the CPU."""
        ranges = masked_logprobs(out.range_logits[:, -1], self.acting)
        return ranges.cpu(), out.weight_logits[:, -1].float().log_softmax(-1).cpu()

    def _without_early_ends(self, logprobs: Tensor) -> Tensor:
        """Forbid the end to rows that have too few modifiers; what is recorded is without this, too."""
        early = [row.modifiers_if_ended < self.settings.min_modifiers for row in self.rows]
        if not any(early):
            return logprobs
        logprobs = logprobs.clone()
        logprobs[torch.tensor(early, device=self.device), self.vocabulary.end_id] = -torch.inf
        return logprobs

    def _draw_words(self, logprobs: Tensor, uniforms: Sequence[float]) -> Tensor:
        """Tokens of log-probabilities (B, V), with the bias of the end; what is recorded is without it."""
        settings = self.settings
        if settings.end_bias:
            logprobs = logprobs.clone()
            logprobs[:, self.vocabulary.end_id] += settings.end_bias
        return draw(
            logprobs,
            torch.tensor(uniforms, dtype=torch.float64),
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
        )

    def _column(self, values: Sequence[int | bool]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)[:, None]

    def _trajectory(self) -> Trajectory:
        choice = (self.vocabulary.masks.sum(1) > 1).tolist()
        width = max(len(row.drawn) for row in self.rows)

        def column(read: object, fill: float, dtype: torch.dtype) -> Tensor:
            assert callable(read)
            table = [[read(drawn) for drawn in row.drawn] for row in self.rows]
            padded = [row + [fill] * (width - len(row)) for row in table]
            return torch.tensor(padded, dtype=dtype, device=self.device).reshape(len(self.rows), width)

        long, bool_, real = torch.long, torch.bool, torch.float32
        return Trajectory(
            control=self.model.config.control,
            context_ids=self.ids[:, : self.context],
            context_mask=self.mask[:, : self.context],
            tokens=column(lambda drawn: drawn.token, self.vocabulary.end_id, long),
            token_mask=column(lambda drawn: True, False, bool_),
            states=column(lambda drawn: drawn.state, INSIDE, long),
            text_mask=column(lambda drawn: choice[drawn.state], False, bool_),
            control_mask=column(lambda drawn: drawn.control is not None, False, bool_),
            range_ids=column(lambda drawn: drawn.control[0] if drawn.control else 0, 0, long),
            weight_ids=column(lambda drawn: drawn.control[1] if drawn.control else 0, 0, long),
            text_logprobs=column(lambda drawn: drawn.logprob, 0.0, real),
            range_logprobs=column(lambda drawn: drawn.control_logprobs[0], 0.0, real),
            weight_logprobs=column(lambda drawn: drawn.control_logprobs[1], 0.0, real),
            range_allowed=self.acting.expand(len(self.rows), -1).clone(),
            phrases=tuple(tuple(row.phrases) for row in self.rows),
            ends=tuple(row.end for row in self.rows),
            tastes=self.tastes,
        )


def encode_contexts(
    model: PolicyModel, vocabulary: Vocabulary, prompts: Sequence[str], max_new_tokens: int
) -> tuple[Tensor, Tensor]:
    """Token ids and mask (B, P) of what the policy reads of each prompt, left-padded, on the model's device.

    A prompt too long for the trunk keeps its beginning, with a warning; raises ConfigError where the
    new tokens alone are too many.
    """
    rows = [vocabulary.encode_context(prompt) for prompt in prompts]
    size = model.config.context_size
    if size is not None:
        room = size - max_new_tokens  # the last token drawn is read as well, but no more follows
        if room < 1:
            raise ConfigError(
                f"max_new_tokens is {max_new_tokens}, and the policy reads {size} tokens in all; take fewer"
            )
        for prompt, row in zip(prompts, rows, strict=True):
            if len(row) > room:
                message = f"the policy reads only the first {room} of {len(row)} tokens of {quote(prompt)}"
                warnings.warn(message, DFPromptWarning, stacklevel=4)
        rows = [row[:room] for row in rows]
    width = max(map(len, rows))
    ids = [[vocabulary.end_id] * (width - len(row)) + row for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=model.device), torch.tensor(mask, device=model.device)
