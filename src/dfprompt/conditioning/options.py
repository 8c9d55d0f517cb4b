"""The choices a compile takes besides the prompts and the schedule."""

from __future__ import annotations

from dataclasses import dataclass

from dfprompt.conditioning.capabilities import WEIGHTINGS, Weighting
from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.prompt.plan import Absence
from dfprompt.requests.render import LongPrompts as LongPrompts


@dataclass(frozen=True, slots=True)
class Options:
    """How texts become encodings; the defaults are the family's.

    `weighting` names the rule, `absence` what happens to a span outside its range, `clip_skip` how
    many of the encoder's last layers are skipped for the positive prompt, `long_prompts` what
    happens beyond the window, `lora_scale` scales the encoders' LoRA layers while encoding.
    """

    weighting: Weighting | None = None
    absence: Absence = "delete"
    clip_skip: int | None = None
    long_prompts: LongPrompts = "chunk"
    encode_batch_size: int = 32
    lora_scale: float | None = None

    def __post_init__(self) -> None:
        if self.weighting not in (None, *WEIGHTINGS):
            raise ConfigError(
                f"weighting must be one of {', '.join(WEIGHTINGS)}, not {quote(self.weighting)}"
            )
        if self.long_prompts not in ("chunk", "truncate"):
            raise ConfigError(f"long_prompts must be chunk or truncate, not {quote(self.long_prompts)}")
        for name, least in (("clip_skip", 0), ("encode_batch_size", 1)):
            value = getattr(self, name)
            optional = value is None and name == "clip_skip"
            if not optional and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be an integer of at least {least}, not {quote(value)}")
