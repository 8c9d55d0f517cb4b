"""LoRA files loaded for one call: the models are afterwards as they were, down to their module tree."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from dfprompt.conditioning.lora_words import loaded_loras, peft_layers, pipeline_modules
from dfprompt.errors import ConfigError, LoadError, UnsupportedPipelineError
from dfprompt.excerpt import quote

# Where loaders note on a model what they loaded, and which of its own weights they overwrote.
_OVERWRITTEN = ("_transformer_norm_layers", "_overwritten_params")
_NOTES = ("peft_config", "_hf_peft_config_loaded", *_OVERWRITTEN)


@contextmanager
def load_loras(pipe: Any, loras: Mapping[str, str | Path] | None) -> Iterator[None]:
    """Load adapters under their names for as long as the block lasts; a name already loaded stays.

    The values are .safetensors files, or the name itself where it is loaded. Raises LoadError for a file that
    is missing, damaged, fits no layer or changes the model's own weights, ConfigError for a taken name.
    """
    with ExitStack() as stack:
        for name, source in (loras or {}).items():
            if name in loaded_loras(pipe):
                if str(source) != name:
                    raise ConfigError(
                        f"a LoRA named {quote(name)} is loaded already; use loras={{{name!r}: {name!r}}} for "
                        "it, or another name"
                    )
                continue
            stack.enter_context(_loaded(pipe, name, Path(source)))
        yield


@contextmanager
def _loaded(pipe: Any, name: str, path: Path) -> Iterator[None]:
    if not hasattr(pipe, "load_lora_weights"):
        raise UnsupportedPipelineError(f"{type(pipe).__name__} takes no LoRA; leave {quote(name)} out")
    if path.suffix != ".safetensors" or not path.is_file():
        raise LoadError(f"the LoRA {path} is no .safetensors file; name the file, or load it yourself")
    if any(layer.merged_adapters for layer in peft_layers(pipeline_modules(pipe))):
        raise UnsupportedPipelineError(
            f"a LoRA of {type(pipe).__name__} was fused, and loading {path} would take it out; call the "
            "pipeline's unfuse_lora first"
        )
    before = _Before(pipe)
    try:
        _load(pipe, name, path)
        before.silence()  # what was loaded acts only where words say so
        if before.overwritten():
            raise LoadError(
                f"the LoRA {path} changes weights of {type(pipe).__name__} itself, as control LoRAs do: no "
                "word can give those a strength; call load_lora_weights yourself"
            )
        yield
    finally:
        before.put_back(name)


def _load(pipe: Any, name: str, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several are meant
            pipe.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise LoadError(
            f"the LoRA {path} does not fit {type(pipe).__name__}: {str(error).strip().splitlines()[:1]}; "
            "use one made for this model"
        ) from error
    if name not in loaded_loras(pipe):
        raise LoadError(f"the LoRA {path} fits no layer of {type(pipe).__name__}; use one made for it")


class _Before:
    """A pipeline's models before a LoRA is loaded: what a loader changes and its unloader leaves changed.

    Unloading everything would take the user's adapters too, and deleting one leaves its layers wrapped,
    under other names than a saved model may have.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._models = pipeline_modules(pipe)
        self._children = {part: dict(part._modules) for model in self._models for part in model.modules()}
        self._trained = {each: each.requires_grad for model in self._models for each in model.parameters()}
        self._active = {layer: list(layer.active_adapters) for layer in peft_layers(self._models)}
        self._notes = {model: _read_notes(model) for model in self._models}
        self._configs = [
            (model.config, dict(vars(model.config)))
            for model in self._models
            if isinstance(getattr(model, "config", None), dict)
        ]

    def silence(self) -> None:
        """Let only those adapters act that did before."""
        for layer in peft_layers(self._models):
            layer._active_adapter = self._active.get(layer, [])

    def overwritten(self) -> bool:
        """Whether weights of the models themselves were changed."""
        return any(
            vars(model).get(name) is not self._notes[model].get(name)
            for model in self._models
            for name in _OVERWRITTEN
        )

    def put_back(self, name: str) -> None:
        """Take the adapter of this name out, with all that came with it."""
        self._pipe.delete_adapters(name)
        for part, children in self._children.items():
            part._modules.clear()
            part._modules.update(children)
        for model, notes in self._notes.items():
            self._give_back_norms(model)
            for note in _NOTES:
                vars(model).pop(note, None)
            vars(model).update(notes)
        for config, attributes in self._configs:
            vars(config).update(attributes)
        for layer, active in self._active.items():
            layer._active_adapter = active
        for parameter, trained in self._trained.items():
            parameter.requires_grad_(trained)

    def _give_back_norms(self, model: nn.Module) -> None:
        """Give FLUX the norms back that a control LoRA overwrote in place."""
        norms = vars(model).get("_transformer_norm_layers")
        if norms and norms is not self._notes[model].get("_transformer_norm_layers"):
            model.load_state_dict(norms, strict=False)


def _read_notes(model: nn.Module) -> dict[str, Any]:
    notes = {name: vars(model)[name] for name in _NOTES if name in vars(model)}
    if isinstance(notes.get("peft_config"), dict):  # changed in place
        notes["peft_config"] = dict(notes["peft_config"])
    return notes
