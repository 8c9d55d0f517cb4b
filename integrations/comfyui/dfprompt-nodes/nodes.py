"""The nodes, in ComfyUI's V3 schema."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ComfyExtension, io

from dfprompt.prompt.dialects import DIALECTS, convert_prompt

from . import asking, drawing, encoding

_EXAMPLE = "a red horse in the snow, [anime style:early:1.5], [film grain:late]"
_CATEGORY = "conditioning/dfprompt"
_DIALECT = "how the text is written: native is a DF-Prompt"


def _text() -> Any:
    return io.String.Input("text", multiline=True, default=_EXAMPLE)


def _steps() -> Any:
    return io.Int.Input("steps", default=20, min=1, max=10_000, tooltip="the sampler's number of steps")


def _dialect(name: str, default: str) -> Any:
    return io.Combo.Input(name, options=list(DIALECTS), default=default, tooltip=_DIALECT)


class Encode(io.ComfyNode):
    """Text to conditioning on exact steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node takes and gives."""
        return io.Schema(
            node_id="DFPromptEncode",
            display_name="DF-Prompt Encode",
            category=_CATEGORY,
            description="Words with a range and a weight, as conditioning that changes at exact steps.",
            inputs=[
                io.Clip.Input("clip"),
                _text(),
                _steps(),
                _dialect("dialect", "native"),
                io.Sigmas.Input("sigmas", optional=True, tooltip="the scheduler's, to switch on its steps"),
                io.Model.Input("model", optional=True, tooltip="needed with sigmas"),
            ],
            outputs=[io.Conditioning.Output(), io.String.Output(display_name="remarks")],
        )

    @classmethod
    def execute(
        cls, clip: Any, text: str, steps: int, dialect: str, sigmas: Any = None, model: Any = None
    ) -> io.NodeOutput:
        """Encode every text of the plan once."""
        run = encoding.Run.of(steps, sigmas, model)
        conditioning, remarks = encoding.encode(clip, text, run, dialect)
        if run.steps != steps:
            remarks.insert(0, f"the sigmas hold {run.steps} steps, not {steps}; theirs count")
        return io.NodeOutput(conditioning, "\n".join(remarks))


class Plan(io.ComfyNode):
    """What runs at each step, as text and as a picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node takes and gives."""
        return io.Schema(
            node_id="DFPromptPlan",
            display_name="DF-Prompt Plan",
            category=_CATEGORY,
            description="The text of every step, and a bar for every span.",
            inputs=[_text(), _steps(), _dialect("dialect", "native")],
            outputs=[io.String.Output(display_name="plan"), io.Image.Output(display_name="bars")],
        )

    @classmethod
    def execute(cls, text: str, steps: int, dialect: str) -> io.NodeOutput:
        """Lay the prompt out over the steps."""
        table, tracks = encoding.describe(text, steps, dialect)
        return io.NodeOutput(table, drawing.draw(tracks, steps))


class Convert(io.ComfyNode):
    """A prompt from one tool's writing to another's."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node takes and gives."""
        return io.Schema(
            node_id="DFPromptConvert",
            display_name="DF-Prompt Convert",
            category=_CATEGORY,
            description="Between DF-Prompts, A1111, SwarmUI, prompt-control and compel.",
            inputs=[_text(), _steps(), _dialect("source", "a1111"), _dialect("target", "native")],
            outputs=[io.String.Output(display_name="text"), io.String.Output(display_name="remarks")],
        )

    @classmethod
    def execute(cls, text: str, steps: int, source: str, target: str) -> io.NodeOutput:
        """Convert the text."""
        done = convert_prompt(text, source, target, steps)
        remarks = [f"assumed: {each}" for each in done.assumed] + [f"lost: {each}" for each in done.lost]
        return io.NodeOutput(done.text, "\n".join(remarks))


class Suggest(io.ComfyNode):
    """Words that a running studio's policy adds to a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node takes and gives."""
        return io.Schema(
            node_id="DFPromptSuggest",
            display_name="DF-Prompt Suggest",
            category=_CATEGORY,
            description="Asks a running `dfprompt studio` for words with ranges and weights; yours stay.",
            inputs=[
                _text(),
                io.String.Input("studio", default="", tooltip="a file: dfprompt studio --no-browser > FILE"),
                io.Int.Input("seed", default=0, min=0, max=2**31, tooltip="another one, other words"),
                io.Int.Input("most", default=4, min=1, max=20, tooltip="words or phrases at most"),
            ],
            outputs=[io.String.Output(display_name="text"), io.String.Output(display_name="remarks")],
        )

    @classmethod
    def execute(cls, text: str, studio: str, seed: int, most: int) -> io.NodeOutput:
        """Ask, or hand the text on where no studio is named."""
        if not studio.strip():
            return io.NodeOutput(text, "no studio is named; the text is as it was")
        return io.NodeOutput(*asking.ask_studio(studio, text, seed, most))


class Extension(ComfyExtension):
    """The pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack."""
        return [Encode, Plan, Convert, Suggest]


async def comfy_entrypoint() -> ComfyExtension:
    """What ComfyUI asks a pack for."""
    return Extension()
