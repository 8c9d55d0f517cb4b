"""dfprompt: prompts whose words know when and how strongly to act.

Public names are loaded on first use, so `import dfprompt` imports neither torch nor diffusers.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# What is loaded, drawn and fetched is told to the logger "dfprompt"; who wants to read it adds a handler.
logging.getLogger("dfprompt").addHandler(logging.NullHandler())

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
    "push_to_hub": "dfprompt.api.hub",
    "load_reward": "dfprompt.api.rewards",
    "score_images": "dfprompt.api.rewards",
    "evaluate": "dfprompt.api.evaluation",
    "run": "dfprompt.conditioning.run",
    "prepare": "dfprompt.conditioning.prepare",
    "attach": "dfprompt.conditioning.attach",
    "DFPromptError": "dfprompt.errors",
    "DFPromptWarning": "dfprompt.errors",
    "InputError": "dfprompt.errors",
    "ParseError": "dfprompt.errors",
    "PromptValueError": "dfprompt.errors",
    "ConversionError": "dfprompt.errors",
    "ConfigError": "dfprompt.errors",
    "ImageFileError": "dfprompt.errors",
    "LoadError": "dfprompt.errors",
    "UnsupportedPipelineError": "dfprompt.errors",
    "RewardError": "dfprompt.errors",
    "GenerationError": "dfprompt.errors",
    "TrainingError": "dfprompt.errors",
    "EvaluationError": "dfprompt.errors",
    "EndpointError": "dfprompt.errors",
    "ExecutorError": "dfprompt.errors",
    "WorkerLostError": "dfprompt.errors",
    "RewardServerError": "dfprompt.errors",
    "StudyError": "dfprompt.errors",
    "ParticipantError": "dfprompt.errors",
    "StudyDiskError": "dfprompt.errors",
}

__all__ = [*_EXPORTS, "__version__"]

if TYPE_CHECKING:
    from dfprompt.api.evaluation import evaluate as evaluate
    from dfprompt.api.hub import push_to_hub as push_to_hub
    from dfprompt.api.pipelines import generate_images as generate_images
    from dfprompt.api.pipelines import load_pipeline as load_pipeline
    from dfprompt.api.policies import load_policy as load_policy
    from dfprompt.api.policies import optimize_prompt as optimize_prompt
    from dfprompt.api.rewards import load_reward as load_reward
    from dfprompt.api.rewards import score_images as score_images
    from dfprompt.conditioning.attach import attach as attach
    from dfprompt.conditioning.prepare import prepare as prepare
    from dfprompt.conditioning.run import run as run
    from dfprompt.errors import ConfigError as ConfigError
    from dfprompt.errors import ConversionError as ConversionError
    from dfprompt.errors import DFPromptError as DFPromptError
    from dfprompt.errors import DFPromptWarning as DFPromptWarning
    from dfprompt.errors import EndpointError as EndpointError
    from dfprompt.errors import EvaluationError as EvaluationError
    from dfprompt.errors import ExecutorError as ExecutorError
    from dfprompt.errors import GenerationError as GenerationError
    from dfprompt.errors import ImageFileError as ImageFileError
    from dfprompt.errors import InputError as InputError
    from dfprompt.errors import LoadError as LoadError
    from dfprompt.errors import ParseError as ParseError
    from dfprompt.errors import ParticipantError as ParticipantError
    from dfprompt.errors import PromptValueError as PromptValueError
    from dfprompt.errors import RewardError as RewardError
    from dfprompt.errors import RewardServerError as RewardServerError
    from dfprompt.errors import StudyDiskError as StudyDiskError
    from dfprompt.errors import StudyError as StudyError
    from dfprompt.errors import TrainingError as TrainingError
    from dfprompt.errors import UnsupportedPipelineError as UnsupportedPipelineError
    from dfprompt.errors import WorkerLostError as WorkerLostError
    from dfprompt.prompt import DFPrompt as DFPrompt
    from dfprompt.prompt import Span as Span
    from dfprompt.prompt import convert_prompt as convert_prompt
    from dfprompt.prompt import format_prompt as format_prompt
    from dfprompt.prompt import parse_prompt as parse_prompt


if not TYPE_CHECKING:  # a type checker sees the names above and no others

    def __getattr__(name: str) -> Any:
        if name not in _EXPORTS:
            import difflib

            close = difflib.get_close_matches(name, _EXPORTS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise AttributeError(f"module 'dfprompt' has no attribute {name!r}{hint}")
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
