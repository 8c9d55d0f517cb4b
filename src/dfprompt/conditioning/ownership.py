"""Who owns a hook: one run of one pipeline in one thread. It acts for nobody else and ends with its owner."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any

from diffusers import DiffusionPipeline
from torch import nn

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
InputHook = Callable[[Any, tuple[Any, ...], dict[str, Any]], Arguments | None]
OutputHook = Callable[[Any, tuple[Any, ...], Any], Any]


class RunHooks:
    """Every hook that acts for one run, and where that run is.

    `denoisers` are the modules whose calls make up the run's evaluations, `is_ours` says whether the
    call that reaches one of them belongs to the run; it is asked once per call. Hooks put on with
    `on_input` and `on_output`, on a denoiser or on any module inside one, act only within a call
    that is ours, in its own thread. `close` (or the end of a `with` block) removes them all.

    `evaluation` is the number (0..S-1) of the evaluation under way, `call` how often this denoiser
    was called in it before: 0 for the prompt and 1 for the negative prompt where guidance makes
    separate calls.

    >>> import torch
    >>> model = torch.nn.Identity()
    >>> with RunHooks([model], lambda: True) as hooks:
    ...     hooks.on_output(model, lambda module, inputs, output: output * 2)
    ...     float(model(torch.ones(1, 1)))
    2.0
    """

    def __init__(self, denoisers: Sequence[nn.Module], is_ours: Callable[[], bool]) -> None:
        self.evaluation = 0
        self._is_ours = is_ours
        self._calls: Counter[int] = Counter()
        self._inside: list[int] = []  # the denoisers whose calls are under way, outermost first
        self._thread = 0
        self._paused = False
        self._handles: list[Any] = []
        self._denoisers = set(denoisers)
        for module in self._denoisers:
            self._handles += [
                module.register_forward_pre_hook(self._enter, with_kwargs=True),
                module.register_forward_hook(self._leave, always_call=True),
            ]

    def __enter__(self) -> RunHooks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def call(self) -> int:
        """How often the denoiser whose call is under way was called before in this evaluation."""
        return self._calls[self._inside[-1]] - 1 if self._inside else 0

    @property
    def acting(self) -> bool:
        """Whether this very thread is inside a denoiser call of the run."""
        return bool(self._inside) and self._thread == get_ident()

    @property
    def reached(self) -> bool:
        """Whether the run has called a denoiser in this evaluation, as far as the hooks could see."""
        return bool(self._calls)

    def on_input(self, module: nn.Module, hook: InputHook) -> None:
        """Let `hook(module, args, kwargs)` change what a module is given in this run; None leaves it."""

        def guarded(module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None) -> Any:
            # torch may still call a hook that another thread is taking off, then without the keywords.
            return hook(module, arguments, keywords) if keywords is not None and self.acting else None

        self._handles.append(module.register_forward_pre_hook(guarded, with_kwargs=True))

    def on_output(self, module: nn.Module, hook: OutputHook) -> None:
        """Let `hook(module, args, output)` change what a module returns in this run; None leaves it."""

        def guarded(module: Any, arguments: tuple[Any, ...], output: Any) -> Any:
            return hook(module, arguments, output) if self.acting else None

        # Before the hook that notes the end of a denoiser's call.
        self._handles.append(module.register_forward_hook(guarded, prepend=module in self._denoisers))

    def begin(self, evaluation: int = 0) -> None:
        """Note that the run's next denoiser call belongs to this evaluation."""
        self.evaluation = evaluation
        self._calls.clear()
        self._inside.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave every call alone in this block: the user's callback may run the denoiser, for a preview."""
        self._paused = True
        self._inside.clear()
        try:
            yield
        finally:
            self._paused = False

    def close(self) -> None:
        """Take every hook off."""
        self._inside.clear()
        while self._handles:
            self._handles.pop().remove()

    @property
    def closed(self) -> bool:
        """Whether the hooks are gone."""
        return not self._handles

    def _enter(self, module: Any, arguments: Any, keywords: Any = None) -> None:
        if not self._paused and self._is_ours():
            self._thread = get_ident()
            self._inside.append(id(module))
            self._calls[id(module)] += 1

    def _leave(self, module: Any, arguments: Any, output: Any) -> None:
        if self.acting and self._inside[-1] == id(module):
            self._inside.pop()


class CarriedRun:
    """Tells the run that carries a step callback from every other by looking at who calls the denoiser.

    The caller nearest on the stack that is a pipeline must be `pipe`, called with this very callback.
    So a run that broke off claims nothing: its call is no longer on the stack. `hooks` begin anew
    with each new run.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.callback: Any = None
        self.hooks: RunHooks | None = None
        self._timesteps: Any = None

    def __call__(self) -> bool:
        frame = find_pipeline_call(sys._getframe(1))
        if frame is None or frame.f_locals.get("self") is not self.pipe:
            return False
        if self.callback is None or frame.f_locals.get("callback_on_step_end") is not self.callback:
            return False
        # Every run sets its timesteps anew, so the tensor itself tells one run from another.
        timesteps = frame.f_locals["self"].scheduler.timesteps
        if timesteps is not self._timesteps:
            self._timesteps = timesteps
            if self.hooks is not None:
                self.hooks.begin()
        return True


class OwnRun:
    """Tells the run that dfprompt itself is making in this thread from every other."""

    def __init__(self) -> None:
        self._thread = get_ident()

    def __call__(self) -> bool:
        return get_ident() == self._thread


def find_pipeline_call(frame: FrameType | None) -> FrameType | None:
    """Return the nearest frame on the stack that is a pipeline's own call."""
    while frame is not None:
        if frame.f_code.co_name == "__call__" and isinstance(frame.f_locals.get("self"), DiffusionPipeline):
            return frame
        frame = frame.f_back
    return None
