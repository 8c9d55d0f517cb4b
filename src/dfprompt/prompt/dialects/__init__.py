"""Other tools' prompt control to DF-Prompts and back, each conversion saying what it assumed and lost."""

from dfprompt.prompt.dialects.conversion import Conversion, Exported, Imported, Remarks
from dfprompt.prompt.dialects.convert import DIALECTS, convert_prompt, export_prompt, import_prompt
from dfprompt.prompt.dialects.nodes import export_comfyui_nodes

__all__ = [
    "DIALECTS",
    "Conversion",
    "Exported",
    "Imported",
    "Remarks",
    "convert_prompt",
    "export_comfyui_nodes",
    "export_prompt",
    "import_prompt",
]
