"""Where work runs: an `Executor` maps a function over items, in order; here, on this machine."""

from dfprompt.executor.local import LocalExecutor
from dfprompt.executor.protocol import Executor

__all__ = ["Executor", "LocalExecutor"]
