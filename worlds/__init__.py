"""Worlds that dfprompt is tried in: how they are built and measured. Beside the package, not in its wheel."""
