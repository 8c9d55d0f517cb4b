"""The DF-Prompt language in pure Python: tree, parser, formatter, plan and dialects, no torch."""

from dfprompt.prompt.ast import EARLY, FULL, LATE, DFPrompt, EffectRange, Span, Weight
from dfprompt.prompt.dialects import Conversion, convert_prompt, export_prompt, import_prompt
from dfprompt.prompt.formatter import format_prompt
from dfprompt.prompt.parser import parse_prompt
from dfprompt.prompt.plan import Plan, PlannedStep, Track, WeightedText, make_plan

__all__ = [
    "EARLY",
    "FULL",
    "LATE",
    "Conversion",
    "DFPrompt",
    "EffectRange",
    "Plan",
    "PlannedStep",
    "Span",
    "Track",
    "Weight",
    "WeightedText",
    "convert_prompt",
    "export_prompt",
    "format_prompt",
    "import_prompt",
    "make_plan",
    "parse_prompt",
]
