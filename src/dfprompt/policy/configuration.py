"""What a policy is made of: its trunk's config, its control tables, its separators."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.policy.tables import (
    RANGE_START,
    RANGES,
    WEIGHT_START,
    WEIGHTS,
    ControlTables,
    check_start,
    make_tables,
)
from dfprompt.policy.tastes import check_names

# phrase: one draw per phrase, after its last token; token: the paper's draw per token, majority per
# phrase; none: words only, every modifier with the default control (a plain language model).
CONTROLS = ("phrase", "token", "none")
SEPARATORS = (",", ".", ";")
# Brackets of every kind and backslashes are some tool's control; modifiers are words.
FORBIDDEN = "[]{}()<>|\\"
POLICY_FIELDS = (
    "control",
    "ranges",
    "weights",
    "range_start",
    "weight_start",
    "separators",
    "forbidden",
    "tastes",
)


class PolicyConfig(PreTrainedConfig):
    """The config of a PolicyModel; raises ConfigError for tables or starts that cannot be.

    `trunk` is the config of any causal language model. `ranges` and `weights` are the control tables,
    `range_start` and `weight_start` the probabilities the heads begin with (the paper's .001 for the
    outer weights is a legal start, but is drawn once in 1,000 phrases). `separators` close a phrase
    (generation writes the first one). Tokens that hold a `forbidden` character are never appended. `tastes`
    names the tastes there are vectors of.

    >>> PolicyConfig(trunk={"model_type": "gpt2", "n_embd": 32}).tables.ranges[1].words
    'early half'
    """

    model_type = "dfprompt_policy"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "trunk": SubConfigSpec(config_class=AutoConfig, model_type="gpt2")
    }

    trunk: dict[str, Any] | PreTrainedConfig | None = None
    control: str = "phrase"
    ranges: list[str] | tuple[str, ...] = RANGES
    weights: list[float] | tuple[float, ...] = WEIGHTS
    range_start: list[float] | tuple[float, ...] = RANGE_START
    weight_start: list[float] | tuple[float, ...] = WEIGHT_START
    separators: list[str] | tuple[str, ...] = (",",)
    forbidden: str = FORBIDDEN
    tastes: list[str] | tuple[str, ...] = ()

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.control not in CONTROLS:
            raise ConfigError(f"control must be one of {', '.join(CONTROLS)}, not {quote(self.control)}")
        if not self.separators or not set(self.separators) <= set(SEPARATORS):
            raise ConfigError(
                f"separators must be some of {' '.join(SEPARATORS)}, not {quote(list(self.separators))}"
            )
        if not isinstance(self.forbidden, str):
            raise ConfigError(f"forbidden must be a text of characters, not {quote(self.forbidden)}")
        self.tastes = check_names(self.tastes)
        tables = self.tables
        self.range_start = list(check_start(self.range_start, len(tables.ranges), "range_start"))
        self.weight_start = list(check_start(self.weight_start, len(tables.weights), "weight_start"))

    @property
    def tables(self) -> ControlTables:
        """The control tables, decoded."""
        return make_tables(self.ranges, self.weights)

    @property
    def hidden_size(self) -> int:
        """Width of the trunk's hidden states."""
        return int(self._text_trunk().hidden_size)

    @property
    def context_size(self) -> int | None:
        """Most tokens the trunk can read at once; None where its config does not say."""
        found = getattr(self._text_trunk(), "max_position_embeddings", None)
        return int(found) if found else None

    def _text_trunk(self) -> PreTrainedConfig:
        assert isinstance(self.trunk, PreTrainedConfig)  # made by super().__post_init__
        return self.trunk.get_text_config()
