"""Sampling: one batch with a KV cache against decoding row by row without one, the same random model.

python benchmarks/bench_policy.py           gpt2-medium's size, 8 rows, 40 new tokens (minutes)
python benchmarks/bench_policy.py --smoke   a small model: does it run?
The reference is what the published code does: one prompt at a time, the whole text read again for each token.
It draws from the same logits and knows no grammar, no heads and no bans, so it does less per token.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config
from transformers.models.auto import AutoModelForCausalLM

from dfprompt.policy import Policy, PolicyModel, SamplingSettings, TokenBudget
from dfprompt.policy.modeling import PolicyOutput
from machine import header

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from tiny_policies import tiny_tokenizer

ROWS, NEW_TOKENS = 8, 40
PROMPTS = ("a red cat on a hill", "the blue star in the snow", "one heart at night", "a house by the sea")


def make_policy(width: int, layers: int, heads: int) -> Policy:
    """A random GPT-2 whose rows never end by themselves: separators and the end are out of reach."""
    torch.manual_seed(0)
    config = GPT2Config(n_embd=width, n_layer=layers, n_head=heads, n_positions=256, vocab_size=50257)
    model = PolicyModel.from_trunk(AutoModelForCausalLM.from_config(config), control="phrase").eval()
    policy = Policy(model, tiny_tokenizer(), budget=TokenBudget(10_000, (tiny_tokenizer(),)))
    shut = [token for token in range(len(policy.tokenizer)) if policy.vocabulary.closes(token)]

    def never(_: torch.nn.Module, __: Any, logits: torch.Tensor) -> torch.Tensor:
        logits[..., shut] = -1e4
        logits[..., policy.vocabulary.end_id] = -2e4  # a row begins with a separator or ends: it begins
        return logits

    model.trunk.get_output_embeddings().register_forward_hook(never)
    return policy


class Clock:
    """Seconds spent inside a model's forward passes, and how many there were."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.seconds, self.passes, self._started = 0.0, 0, 0.0
        self._hooks = [model.register_forward_pre_hook(self._start), model.register_forward_hook(self._stop)]

    def _start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._started
        self.passes += 1

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


def run_batched(policy: Policy, prompts: Sequence[str]) -> tuple[int, float, float]:
    """Tokens drawn, seconds, and the share of them outside the model."""
    settings = SamplingSettings(max_new_tokens=NEW_TOKENS).for_rollouts()
    clock = Clock(policy.model)
    started = time.perf_counter()
    trajectory = policy.sample(prompts, list(range(len(prompts))), settings)
    seconds = time.perf_counter() - started
    clock.close()
    return int(trajectory.token_mask.sum()), seconds, 1 - clock.seconds / seconds


@torch.no_grad()
def run_naively(policy: Policy, prompts: Sequence[str]) -> tuple[int, float]:
    """One prompt at a time, the whole text read again for every token."""
    tokens, started = 0, time.perf_counter()
    for number, prompt in enumerate(prompts):
        generator = torch.Generator().manual_seed(number)
        ids = torch.tensor([policy.tokenizer(prompt)["input_ids"]])
        for _ in range(NEW_TOKENS):
            output: PolicyOutput = policy.model(ids)
            probabilities = torch.softmax(output.logits[:, -1].float(), -1)
            ids = torch.cat([ids, torch.multinomial(probabilities, 1, generator=generator)], 1)
            tokens += 1
    return tokens, time.perf_counter() - started


def main() -> None:
    smoke = "--smoke" in sys.argv[1:]
    print(header("policy sampling"))
    policy = make_policy(128, 4, 4) if smoke else make_policy(1024, 24, 16)
    prompts = [PROMPTS[number % len(PROMPTS)] for number in range(ROWS)]
    run_batched(policy, prompts)  # warms up
    drawn, seconds, outside = run_batched(policy, prompts)
    few = prompts if smoke else prompts[:2]  # its speed per token does not depend on the number of rows
    said, reference = run_naively(policy, few)
    fast, slow = drawn / seconds, said / reference
    print(f"batched, KV cache   {drawn:5d} tokens {seconds:7.2f} s {fast:8.1f} tokens/s")
    print(f"row by row, no cache{said:5d} tokens {reference:7.2f} s {slow:8.1f} tokens/s")
    print(
        f"ratio {fast / slow:.1f} (goal >= 11); time outside the model {100 * outside:.1f} % (goal <= 10 %)"
    )


if __name__ == "__main__":
    main()
