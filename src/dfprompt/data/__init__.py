"""Prompt data: reading what people wrote, splitting, cleaning, and the confidence filter of equation 1."""

from dfprompt.data.confidence import Instruments, compute_confidence
from dfprompt.data.curate import curate
from dfprompt.data.readers import read_records
from dfprompt.data.records import Pair, PromptRecord
from dfprompt.data.report import Report
from dfprompt.data.settings import CurateSettings

__all__ = [
    "CurateSettings",
    "Instruments",
    "Pair",
    "PromptRecord",
    "Report",
    "compute_confidence",
    "curate",
    "read_records",
]
