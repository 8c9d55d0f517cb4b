"""Where work runs: an `Executor` maps a function over items, in order: here, in processes, on Ray."""

from dfprompt.executor.local import LocalExecutor
from dfprompt.executor.opening import opened
from dfprompt.executor.protocol import Executor, Work

__all__ = ["Executor", "LocalExecutor", "Work", "opened"]
