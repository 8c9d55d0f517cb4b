"""The policy model: any causal language model, with a head for effect ranges and one for weights."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    DynamicCache,
    PreTrainedModel,
    initialization,
)

from dfprompt.errors import LoadError
from dfprompt.policy.configuration import PolicyConfig

HEADS = ("range_head", "weight_head")
TASTES = "taste_vectors"


# What a language model calls its key-value cache: transformers 5.24 and later, and before.
_CACHE_KEYWORDS = ("cache", "past_key_values")


class PolicyOutput(NamedTuple):
    """What one pass gives, for the last K positions of T (all of them unless `keep` says otherwise).

    logits (B, K, V) of the next token; range_logits (B, K, R) and weight_logits (B, K, W), float32;
    states (B, K, D) are the hidden states that all three read. A plain tuple: the fields of transformers'
    own output classes are renamed from one release to the next.
    """

    logits: Tensor
    range_logits: Tensor
    weight_logits: Tensor
    states: Tensor


class PolicyModel(PreTrainedModel):
    """A causal language model that also says when (effect range) and how strongly (weight) words act.

    One that has tastes adds their vectors, each times its strength, to the embedding of every token.

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
        if trunk is None:
            trunk = AutoModelForCausalLM.from_config(config.trunk, trust_remote_code=False)
        self.trunk = trunk
        self.range_head = nn.Linear(config.hidden_size, len(config.ranges))
        self.weight_head = nn.Linear(config.hidden_size, len(config.weights))
        if config.tastes:
            self.add_tastes(config.tastes)
        accepted = inspect.signature(self.trunk.forward).parameters
        self._keeps_logits = "logits_to_keep" in accepted
        self._cache_keyword = next((name for name in _CACHE_KEYWORDS if name in accepted), None)
        self.post_init()

    @classmethod
    def from_trunk(cls, trunk: PreTrainedModel, **settings: Any) -> PolicyModel:
        """Put heads on a language model that is loaded already; `settings` are fields of PolicyConfig."""
        model = cls(PolicyConfig(trunk=trunk.config.to_dict(), **settings), trunk=trunk)
        for head in HEADS:
            getattr(model, head).to(trunk.device)
        return model

    def add_tastes(self, names: Sequence[str]) -> None:
        """Give the model a vector for each taste; they begin at zero, so that it writes as before."""
        vectors = nn.Linear(len(names), self.config.hidden_size, bias=False)
        nn.init.zeros_(vectors.weight)
        self.taste_vectors = vectors.to(self.range_head.weight.device)
        self.config.tastes = list(names)

    def get_input_embeddings(self) -> nn.Module:
        """The trunk's input embeddings."""
        return self.trunk.get_input_embeddings()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        keep: int = 0,
        tastes: Tensor | None = None,
        **kwargs: Any,
    ) -> PolicyOutput:
        """Run the trunk over input_ids (B, T) and read the heads at the last `keep` positions (0: all).

        `tastes` (B, N) are the strengths of its N tastes; none is the crowd's taste. A `cache` from
        `new_cache` is read and filled in place; never looked for in what the trunk returns.
        """
        inputs: dict[str, Any] = {"attention_mask": attention_mask}
        if tastes is None or not tastes.any():
            inputs["input_ids"] = input_ids
        else:
            embedded = self.get_input_embeddings()(input_ids)
            vectors = self.taste_vectors(tastes.to(self.taste_vectors.weight.dtype))
            inputs["inputs_embeds"] = embedded + vectors[:, None].to(embedded.dtype)
        inputs |= {"position_ids": position_ids, "use_cache": cache is not None}
        if cache is not None and self._cache_keyword is not None:
            inputs[self._cache_keyword] = cache
        if self._keeps_logits:
            inputs["logits_to_keep"] = keep
        seen: list[Tensor] = []
        # The head's own input, so that scaled or capped logits and post-norms need no special case.
        hook = self._token_head().register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        try:
            out = self.trunk(**inputs, return_dict=True, **kwargs)
        finally:
            hook.remove()
        states, logits = seen[0][:, -keep:], out.logits[:, -keep:]
        read = states.to(self.range_head.weight.dtype)
        return PolicyOutput(
            logits=logits,
            range_logits=self.range_head(read).float(),
            weight_logits=self.weight_head(read).float(),
            states=states,
        )

    def new_cache(self) -> DynamicCache | None:
        """An empty key-value cache; None where the trunk takes none under a name that is known here.

        Whoever gets None reads the whole sequence at every step: slower, the same numbers.
        """
        return DynamicCache(config=self.config.trunk) if self._cache_keyword is not None else None

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
        if module is getattr(self, TASTES, None):
            initialization.zeros_(self.taste_vectors.weight)
        starts = {"range_head": self.config.range_start, "weight_head": self.config.weight_start}
        for name, shares in starts.items():
            head = getattr(self, name, None)
            if head is not None and head is module:
                # transformers' own functions leave alone what was loaded from a file.
                initialization.zeros_(head.weight)
                initialization.copy_(head.bias, torch.tensor(shares).log().to(head.bias))


AutoConfig.register(PolicyConfig.model_type, PolicyConfig)
AutoModel.register(PolicyConfig, PolicyModel)
