"""A community pipeline for diffusers: `DiffusionPipeline.from_pretrained(MODEL, custom_pipeline=THIS_FILE)`.

Its call is `dfprompt.run` on the model's own pipeline, which is made of the parts that diffusers loaded here.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import diffusers
from diffusers import DiffusionPipeline

import dfprompt
from dfprompt.errors import UnsupportedPipelineError

_WAY_OUT = "load the model's own pipeline and call dfprompt.run(pipe, prompt, ...), which takes every class"


class DFPromptPipeline(DiffusionPipeline):
    """Any text-to-image model made of the parts that `__init__` names, drawn with DF-Prompts."""

    # Parts that a model lacks stay None; diffusers loads what is named here and stands in its folder.
    _optional_components: ClassVar[list[str]] = []

    def __init__(
        self,
        scheduler: Any = None,
        vae: Any = None,
        unet: Any = None,
        transformer: Any = None,
        text_encoder: Any = None,
        tokenizer: Any = None,
        text_encoder_2: Any = None,
        tokenizer_2: Any = None,
        text_encoder_3: Any = None,
        tokenizer_3: Any = None,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        image_encoder: Any = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self._optional_components}
        super().__init__()
        self.register_modules(**given)

    @property
    def own(self) -> DiffusionPipeline:
        """The model's own pipeline, made anew of the parts as they are now.

        Raises UnsupportedPipelineError where the model's folder is not known or has further parts.
        """
        said = self._said()
        kind = getattr(diffusers, str(said.get("_class_name")), None)
        if not (inspect.isclass(kind) and issubclass(kind, DiffusionPipeline)):
            raise UnsupportedPipelineError(
                f"diffusers has no pipeline {said.get('_class_name')!r}; {_WAY_OUT}"
            )
        loaded = {name: value for name, value in said.items() if isinstance(value, list) and any(value)}
        if further := sorted(set(loaded) - set(self._optional_components)):
            raise UnsupportedPipelineError(
                f"{kind.__name__} has parts that this file does not load: {further}; {_WAY_OUT}"
            )
        known = {**said, **{name: getattr(self, name) for name in self._optional_components}}
        asked = [name for name in inspect.signature(kind.__init__).parameters if name in known]
        own: DiffusionPipeline = kind(**{name: known[name] for name in asked})
        own.set_progress_bar_config(**getattr(self, "_progress_bar_config", {}))
        return own

    @property
    def model_cpu_offload_seq(self) -> str | None:
        """The order in which the model's own pipeline uses its parts."""
        return self.own.model_cpu_offload_seq

    def __call__(self, prompt: Any, negative_prompt: Any = None, **call: Any) -> Any:
        """Draw: the arguments of `dfprompt.run`, the output of the model's own call."""
        output = dfprompt.run(self.own, prompt, negative_prompt, **call)
        self.maybe_free_model_hooks()
        return output

    def _said(self) -> dict[str, Any]:
        if not self.name_or_path:
            raise UnsupportedPipelineError(f"no model was loaded with from_pretrained here; {_WAY_OUT}")
        return dict(DiffusionPipeline.load_config(self.name_or_path))


DFPromptPipeline._optional_components += list(inspect.signature(DFPromptPipeline.__init__).parameters)[1:]
