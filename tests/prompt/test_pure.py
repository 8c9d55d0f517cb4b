"""The language is pure Python: importing it pulls in neither torch nor anything heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "diffusers", "transformers", "PIL", "pydantic", "rich", "matplotlib", "typer")


@pytest.mark.parametrize(
    "work",
    [
        "import dfprompt",
        "import dfprompt; dfprompt.DFPrompt, dfprompt.parse_prompt, dfprompt.format_prompt",
        "from dfprompt.prompt import *; make_plan(parse_prompt('a, [b:late]'), 10)",
        "import dfprompt.prompt.picture, dfprompt.prompt.reading",
    ],
)
def test_nothing_heavy_is_imported(work: str) -> None:
    check = f"{work}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
