"""dfprompt: prompts whose words know when and how strongly to act.

Public names are loaded on first use, so `import dfprompt` imports neither torch nor diffusers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.1"

# name -> module that defines it; the module is imported when the name is first used.
_EXPORTS = {
    "DFPrompt": "dfprompt.prompt",
    "Span": "dfprompt.prompt",
    "parse_prompt": "dfprompt.prompt",
    "format_prompt": "dfprompt.prompt",
    "convert_prompt": "dfprompt.prompt",
    "load_pipeline": "dfprompt.api.pipelines",
    "generate_images": "dfprompt.api.pipelines",
    "load_policy": "dfprompt.api.policies",
    "optimize_prompt": "dfprompt.api.policies",
    "load_reward": "dfprompt.api.rewards",
    "score_images": "dfprompt.api.rewards",
    "evaluate": "dfprompt.api.evaluation",
    "run": "dfprompt.conditioning.run",
    "prepare": "dfprompt.conditioning.prepare",
    "attach": "dfprompt.conditioning.attach",
    "DFPromptError": "dfprompt.errors",
    "DFPromptWarning": "dfprompt.errors",
}

__all__ = [*_EXPORTS, "__version__"]

if TYPE_CHECKING:
    from dfprompt.api.evaluation import evaluate as evaluate
    from dfprompt.api.pipelines import generate_images as generate_images
    from dfprompt.api.pipelines import load_pipeline as load_pipeline
    from dfprompt.api.policies import load_policy as load_policy
    from dfprompt.api.policies import optimize_prompt as optimize_prompt
    from dfprompt.api.rewards import load_reward as load_reward
    from dfprompt.api.rewards import score_images as score_images
    from dfprompt.conditioning.attach import attach as attach
    from dfprompt.conditioning.prepare import prepare as prepare
    from dfprompt.conditioning.run import run as run
    from dfprompt.errors import DFPromptError as DFPromptError
    from dfprompt.errors import DFPromptWarning as DFPromptWarning
    from dfprompt.prompt import DFPrompt as DFPrompt
    from dfprompt.prompt import Span as Span
    from dfprompt.prompt import convert_prompt as convert_prompt
    from dfprompt.prompt import format_prompt as format_prompt
    from dfprompt.prompt import parse_prompt as parse_prompt


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'dfprompt' has no attribute {name!r}")
    try:
        module = importlib.import_module(_EXPORTS[name])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "dfprompt":
            raise
        # The language is a distribution of its own, without what needs torch.
        raise ImportError(f"dfprompt.{name} needs the whole package: pip install dfprompt") from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
