"""Tiny policies: a byte-level tokenizer built in code, random trunks of two layers, closers that come up."""

from __future__ import annotations

import functools
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import GPT2Config, LlamaConfig, PreTrainedTokenizerFast
from transformers.models.auto import AutoModelForCausalLM

from dfprompt.policy import Policy, PolicyModel, TokenBudget
from dfprompt.policy.policy import make_vocabulary
from dfprompt.policy.vocabulary import Vocabulary

WORDS = (
    "a red cat on a hill at night, golden hour, film grain, oil painting, close-up, 8k",
    "the blue star in the snow, soft glow, high contrast, vivid colors, wide shot, bokeh",
    "gorgeous Gore, gore (bad) [x:1] {a|b} <lora:x>",
)
END = "<|endoftext|>"
WIDTH = 32


@functools.cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """GPT-2's kind of tokenizer in miniature: every byte is a token, frequent words are one."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(WORDS * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=END, model_max_length=96
    )


def tiny_trunk(kind: str = "gpt2", *, tied: bool = True, positions: int = 96) -> Any:
    """A random causal language model, two layers, width 32."""
    marks = {"vocab_size": len(tiny_tokenizer()), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    if kind == "gpt2":
        sizes = {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": positions}
        config: Any = GPT2Config(**sizes, **marks, tie_word_embeddings=tied)
    else:
        sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "max_position_embeddings": positions}
        layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        config = LlamaConfig(**sizes, **layers, **marks, tie_word_embeddings=tied)
    return AutoModelForCausalLM.from_config(config)


def tiny_model(
    control: str = "phrase", *, trunk: str = "gpt2", seed: int = 0, **settings: Any
) -> PolicyModel:
    """A random policy whose heads depend on the words."""
    torch.manual_seed(seed)
    model = PolicyModel.from_trunk(tiny_trunk(trunk), control=control, **settings)
    with torch.no_grad():
        for head in (model.range_head, model.weight_head):
            head.weight.normal_(std=0.7)
    return model.eval()


def tiny_policy(
    control: str = "phrase",
    *,
    trunk: str = "gpt2",
    seed: int = 0,
    closing: float = 4.5,
    ending: float = 3.0,
    favour: tuple[str, ...] = (),
    budget: int = 75,
    **settings: Any,
) -> Policy:
    """A random policy in which separators, the end and the words of `favour` are likely enough to come up."""
    model = tiny_model(control, trunk=trunk, seed=seed, **settings)
    vocabulary = make_vocabulary(model, tiny_tokenizer())
    head = nn.Linear(WIDTH, vocabulary.size)
    with torch.no_grad():
        head.weight.copy_(8 * model.trunk.get_output_embeddings().weight)
        head.bias.zero_()
        head.bias[vocabulary.separator_id] = closing
        head.bias[vocabulary.end_id] = ending
        for text in favour:
            ids = vocabulary.encode_modifier(text)
            assert ids is not None
            head.bias[ids] = closing
    model.trunk.set_output_embeddings(head)
    return Policy(model, tiny_tokenizer(), budget=TokenBudget(budget, (tiny_tokenizer(),)), name="tiny")


def storable_policy(*, favour: tuple[str, ...] = (), seed: int = 0) -> Policy:
    """The same in weights that a file can hold: one channel behind the last norm is 1 and carries biases."""
    torch.manual_seed(seed)
    model = PolicyModel.from_trunk(tiny_trunk(tied=False), control="phrase").eval()
    vocabulary = make_vocabulary(model, tiny_tokenizer())
    with torch.no_grad():
        for control in (model.range_head, model.weight_head):
            control.weight.normal_(std=0.7)
        norm, head = model.trunk.transformer.ln_f, model.trunk.get_output_embeddings()
        head.weight.mul_(8)
        norm.weight[-1], norm.bias[-1] = 0.0, 1.0
        head.weight[:, -1] = 0.0
        head.weight[vocabulary.separator_id, -1] = 4.5
        head.weight[vocabulary.end_id, -1] = 3.0
        for text in favour:
            ids = vocabulary.encode_modifier(text)
            assert ids is not None
            head.weight[ids, -1] = 4.5
    return Policy(model, tiny_tokenizer(), budget=TokenBudget(75, (tiny_tokenizer(),)), name="tiny")


def naive_masks(vocabulary: Vocabulary) -> list[list[bool]]:
    """What may follow in each state, token by token: the grammar written down a second time."""
    tokenizer, rows = vocabulary.tokenizer, []
    for state in range(3):
        row = []
        for token in range(len(tokenizer)):
            text = tokenizer.decode([token])
            closer = token == tokenizer.eos_token_id or text.strip() == ","
            word = token != tokenizer.eos_token_id and text.isprintable() and "\ufffd" not in text
            word = word and not any(character in "[]{}()<>|\\," for character in text)
            row.append((closer and state != 1) or (word and state != 0))
        rows.append(row)
    return rows
