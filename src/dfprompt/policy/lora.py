"""LoRA for trunks too large to train whole: low-rank layers in the trunk, both heads trained in full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfprompt.errors import ConfigError
from dfprompt.policy.modeling import HEADS, TASTES, PolicyModel

if TYPE_CHECKING:
    from collections.abc import Sequence

# Query, key and value projections by the names families give them; GPT-2 keeps the three in one.
_ATTENTION = ("c_attn", "q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value", "Wqkv")


def add_lora(
    model: PolicyModel,
    *,
    rank: int = 16,
    alpha: float = 32.0,
    dropout: float = 0.0,
    target_modules: Sequence[str] = (),
    base: Path | None = None,
) -> PolicyModel:
    """Freeze the trunk and give its attention layers (or those named) low-rank layers to train.

    `base` is the folder the frozen weights came from; a saved adapter remembers it. The model is
    changed in place and returned. Raises ConfigError where no layer has any of the names.
    """
    from peft import LoraConfig

    targets = find_targets(model, target_modules or _ATTENTION)
    if base is not None:
        model.name_or_path = str(base.resolve())
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets,
        modules_to_save=[*HEADS, *([TASTES] if model.config.tastes else [])],
        fan_in_fan_out=_is_transposed(model, targets),
    )
    with _together():
        model.add_adapter(config)
    return model


def load_adapter(model: PolicyModel, folder: Path) -> PolicyModel:
    """Put the adapter of a folder, heads included, on the model it was trained on."""
    with _together():
        model.load_adapter(str(folder))
    return model


@contextmanager
def _together() -> Iterator[None]:
    """Say it where transformers asks for another peft than there is; both check it only when used."""
    try:
        yield
    except (ImportError, ValueError) as error:
        if "PEFT" not in str(error):
            raise
        raise ConfigError(
            f"this transformers and this peft do not go together ({error}); install those of dfprompt's "
            'ranges: pip install --upgrade --upgrade-strategy eager "transformers<5.24" peft'
        ) from error


def find_targets(model: PolicyModel, names: Sequence[str]) -> list[str]:
    """Which of the names are layers of the trunk; raises ConfigError when none is."""
    there = {path.rpartition(".")[2] for path, _ in model.trunk.named_modules()}
    found = [name for name in names if name in there]
    if not found:
        layers = sorted({path.rpartition(".")[2] for path, layer in _linear_layers(model)})
        raise ConfigError(
            f"no layer of the trunk is called {' or '.join(names)}; its linear layers are {', '.join(layers)}"
        )
    return found


def _linear_layers(model: PolicyModel) -> list[tuple[str, Any]]:
    return [(path, layer) for path, layer in model.trunk.named_modules() if _is_linear(layer)]


def _is_linear(layer: Any) -> bool:
    return type(layer).__name__ in ("Linear", "Conv1D")


def _is_transposed(model: PolicyModel, targets: Sequence[str]) -> bool:
    """GPT-2's Conv1D keeps its matrix the other way round, and peft wants to be told."""
    kinds = {
        type(layer).__name__ for path, layer in _linear_layers(model) if path.rpartition(".")[2] in targets
    }
    return kinds == {"Conv1D"}
