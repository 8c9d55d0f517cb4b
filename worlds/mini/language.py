"""The mini language model: a small GPT-2 pretrained on the words of the prompt logs, nothing more.

It is the base model of stage 1: it has seen good and bad modifiers alike and knows nothing of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from dfprompt.mini.captions import known_words
from worlds.mini.loop import StepLoss, StepRandom, device_of

CONTEXT = 96
_END = "<|endoftext|>"


def make_language_tokenizer(prompts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, GPT-2's kind: any text encodes, this world's words cost one token each."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        min_frequency=2,
        special_tokens=[_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words = sorted(known_words())
    bpe.train_from_iterator([*prompts, *words, *(" " + w for w in words)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=_END, eos_token=_END, pad_token=_END, model_max_length=CONTEXT
    )


def make_language_model(
    tokenizer: PreTrainedTokenizerFast, *, width: int = 160, layers: int = 4
) -> GPT2LMHeadModel:
    """An untrained GPT-2 of this world's size."""
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return GPT2LMHeadModel(config)


def language_loss(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], batch: int) -> StepLoss:
    """A step's loss: next-token cross-entropy, one prompt a row; a row never runs into another prompt."""
    rows = [[*tokenizer(p).input_ids[: CONTEXT - 1], tokenizer.eos_token_id] for p in prompts]

    def loss(model: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        chosen = [rows[i] for i in random.numpy.integers(len(rows), size=batch)]
        longest = max(map(len, chosen))
        ids = torch.full((batch, longest), tokenizer.pad_token_id)
        mask = torch.zeros((batch, longest))
        for row, tokens in enumerate(chosen):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        ids, mask = ids.to(device_of(model)), mask.to(device_of(model))
        logits = model(input_ids=ids, attention_mask=mask).logits
        each = functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        value = (each * mask[:, 1:].flatten()).sum() / mask[:, 1:].sum()
        return value, {"perplexity": float(value.detach().exp())}

    return loss
