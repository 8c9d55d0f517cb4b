"""A modular block for diffusers: a step that draws DF-Prompts with the pipeline it is given."""

from __future__ import annotations

from typing import Any

from diffusers import DiffusionPipeline, ModularPipelineBlocks
from diffusers.modular_pipelines import ComponentSpec, InputParam, OutputParam

import dfprompt

# What other blocks commonly make or read; everything else goes into `call`.
_SHARED = {
    "negative_prompt": "what to keep away, a DF-Prompt as well",
    "num_inference_steps": "steps; the pipeline's own number where it is left out",
    "guidance_scale": "guidance; the pipeline's own where it is left out",
    "height": "pixels",
    "width": "pixels",
    "generator": "a torch.Generator, or a list with one per picture",
    "output_type": "pil, pt, np or latent",
}


class DFPromptBlock(ModularPipelineBlocks):
    """Read `prompt`, draw it with the component `pipeline` by `dfprompt.run`, write `images`."""

    @property
    def description(self) -> str:
        """What diffusers prints of the block."""
        return "Draws DF-Prompts (words with an effect range and a weight) with the pipeline it is given."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        """One whole pipeline of any class that takes a prompt."""
        return [ComponentSpec("pipeline", DiffusionPipeline, description="what draws")]

    @property
    def inputs(self) -> list[InputParam]:
        """The prompt, what blocks commonly share, and every other argument as a dictionary `call`."""
        shared = [InputParam(name, description=said) for name, said in _SHARED.items()]
        prompt = InputParam("prompt", required=True, description="a DF-Prompt, or a list of them")
        return [
            prompt,
            *shared,
            InputParam(kwargs_type="call", description="further arguments of dfprompt.run"),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        """What was drawn."""
        return [OutputParam("images", description="the pipeline's own output")]

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        """Draw; errors are dfprompt's own."""
        if components.pipeline is None:
            raise dfprompt.ConfigError(
                "the block has no pipeline; give it one: blocks.update_components(pipeline=pipe)"
            )
        asked = self.get_block_state(state)
        shared = {name: asked[name] for name in _SHARED if asked[name] is not None}
        asked.images = dfprompt.run(components.pipeline, asked.prompt, **{**shared, **asked["call"]})[0]
        self.set_block_state(state, asked)
        return components, state
