"""The policy model: any causal language model, with a head for effect ranges and one for weights."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel, initialization
from transformers.modeling_outputs import ModelOutput

from dfprompt.errors import LoadError
from dfprompt.policy.configuration import PolicyConfig

HEADS = ("range_head", "weight_head")


@dataclass
class PolicyOutput(ModelOutput):
    """What one pass gives, for the last K positions of T (all of them unless `keep` says otherwise).

    logits (B, K, V) of the next token; range_logits (B, K, R) and weight_logits (B, K, W), float32;
    states (B, K, D) are the hidden states that all three read.
    """

    logits: Tensor = None
    range_logits: Tensor = None
    weight_logits: Tensor = None
    states: Tensor = None
    past_key_values: Any = None


class PolicyModel(PreTrainedModel):
    """A causal language model that also says when (effect range) and how strongly (weight) words act.

    Both heads are linear on the hidden state the token head reads. They start at `range_start` and
    `weight_start` of the config through their bias alone: their matrices start at zero.

    >>> model = PolicyModel(PolicyConfig(trunk={"model_type": "gpt2", "n_embd": 32, "n_layer": 1,
    ...     "n_head": 2, "vocab_size": 50}))
    >>> model(torch.zeros(1, 4, dtype=torch.long)).range_logits.shape
    torch.Size([1, 4, 3])
    """

    config_class = PolicyConfig
    config: PolicyConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    # Probabilities of .001 need more than half precision.
    _keep_in_fp32_modules_strict: ClassVar[set[str]] = set(HEADS)

    def __init__(self, config: PolicyConfig, trunk: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.trunk = AutoModelForCausalLM.from_config(config.trunk) if trunk is None else trunk
        self.range_head = nn.Linear(config.hidden_size, len(config.ranges))
        self.weight_head = nn.Linear(config.hidden_size, len(config.weights))
        self._keeps_logits = "logits_to_keep" in inspect.signature(self.trunk.forward).parameters
        self.post_init()

    @classmethod
    def from_trunk(cls, trunk: PreTrainedModel, **settings: Any) -> PolicyModel:
        """Put heads on a language model that is loaded already; `settings` are fields of PolicyConfig."""
        model = cls(PolicyConfig(trunk=trunk.config.to_dict(), **settings), trunk=trunk)
        for head in HEADS:
            getattr(model, head).to(trunk.device)
        return model

    def get_input_embeddings(self) -> nn.Module:
        """The trunk's input embeddings."""
        return self.trunk.get_input_embeddings()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
        keep: int = 0,
        **kwargs: Any,
    ) -> PolicyOutput:
        """Run the trunk over input_ids (B, T) and read the heads at the last `keep` positions (0: all)."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        if use_cache:
            inputs |= {"past_key_values": past_key_values}
        if self._keeps_logits:
            inputs["logits_to_keep"] = keep
        seen: list[Tensor] = []
        # The head's own input, so that scaled or capped logits and post-norms need no special case.
        hook = self._token_head().register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        try:
            out = self.trunk(**inputs, use_cache=use_cache, return_dict=True, **kwargs)
        finally:
            hook.remove()
        states, logits = seen[0][:, -keep:], out.logits[:, -keep:]
        read = states.to(self.range_head.weight.dtype)
        return PolicyOutput(
            logits=logits,
            range_logits=self.range_head(read).float(),
            weight_logits=self.weight_head(read).float(),
            states=states,
            past_key_values=out.past_key_values if use_cache else None,
        )

    def _token_head(self) -> nn.Module:
        head = self.trunk.get_output_embeddings()
        if head is None:
            raise LoadError(
                f"{type(self.trunk).__name__} has no separate token head, so a policy cannot be built on it; "
                "take a causal language model"
            )
        return head

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        starts = {"range_head": self.config.range_start, "weight_head": self.config.weight_start}
        for name, shares in starts.items():
            head = getattr(self, name, None)
            if head is not None and head is module:
                # transformers' own functions leave alone what was loaded from a file.
                initialization.zeros_(head.weight)
                initialization.copy_(head.bias, torch.tensor(shares).log().to(head.bias))


AutoConfig.register(PolicyConfig.model_type, PolicyConfig)
AutoModel.register(PolicyConfig, PolicyModel)
