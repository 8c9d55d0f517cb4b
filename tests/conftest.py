"""What every test shares: one thread, no network, and the same examples in every CI run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator

# Before anything imports torch or a Hugging Face library.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("NO_COLOR", None)

import pytest

pytest_plugins = ["property_profiles", "tiny_fixtures", "reward_fixtures", "ray_fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a world built for it is nightly, and whatever is nightly is slow."""
    for item in items:
        if "miniature_world" in getattr(item, "fixturenames", ()):
            item.add_marker("nightly")
        if item.get_closest_marker("nightly"):
            item.add_marker("slow")
    _leave_a_few(items)
    # Long files first: the last that a worker takes should be a short one. (-n needs --no-loadscope-reorder.)
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def _leave_a_few(items: list[pytest.Item]) -> None:
    """`few(3)`: three of the test's cases, spread over them, stay in `make test`; `few("sd1", "flux")`: those
    of these names. The others run the same lines once more: nightly, and not slow. On a module: of each test
    that has such cases."""
    cases: dict[tuple[object, str], list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("few"):
            if not item.get_closest_marker("nightly"):
                cases.setdefault((item.path, item.originalname), []).append(item)
    for group in cases.values():
        marker = group[0].get_closest_marker("few")
        assert marker is not None
        kept = _spread(group, *marker.args) if isinstance(marker.args[0], int) else _named(group, marker.args)
        for item in group if kept else ():  # where no case has such a name, all stay
            if item not in kept:
                item.add_marker("nightly")


def _spread(group: list[pytest.Function], count: int) -> list[pytest.Function]:
    """As many of them, from the first to the last."""
    return [group[each * len(group) // count] for each in range(min(count, len(group)))]


def _named(group: list[pytest.Function], names: tuple[str, ...]) -> list[pytest.Function]:
    """Those of whose id one of these names is a part between hyphens."""
    words = [f"-{item.callspec.id}-" if hasattr(item, "callspec") else "" for item in group]
    return [item for item, has in zip(group, words, strict=True) if any(f"-{name}-" in has for name in names)]


_LESS = ("default", "avx2")  # what ATEN_CPU_CAPABILITY can force


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip what torch cannot do where it is told less of the processor than oneDNN finds out for itself.

    Its bfloat16 and float16 attention then packs for AMX with code that needs AVX-512. A processor that truly
    has no AVX-512 has no AMX either, and the test runs there.
    """
    try:
        return (yield)
    except Exception as error:
        forced = os.environ.get("ATEN_CPU_CAPABILITY")
        if forced in _LESS and "pack_vnni2 is only supported when avx512 is supported" in f"{error!r}":
            pytest.skip(f"ATEN_CPU_CAPABILITY={forced}: torch raises {error}")
        raise


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests and the processes they start put among the temporary files goes with the session."""
    tmp_path_factory.getbasetemp()  # pytest's own folder stays outside, to be looked at
    with tempfile.TemporaryDirectory(prefix="dfp-") as place:  # short: names of sockets are
        os.environ["TMPDIR"] = tempfile.tempdir = place
        yield
        tempfile.tempdir = None
        del os.environ["TMPDIR"]


@pytest.fixture(autouse=True)
def _nothing_was_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process says once is said in every test, whichever ran before it in this process."""
    if sources := sys.modules.get("dfprompt.sources"):
        monkeypatch.setattr(sources, "_warned", set())


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("plan", "a cat", stdin=b"...", encoding="ascii")`: the command line, run here through its `main`.

    Streams, arguments, width and exit are those of a process of its own; what it writes is decoded with its
    own encoding, strictly. Tests of the process itself (closed pipes, imports, kills) start one.
    """

    def run(*arguments: str, stdin: bytes = b"", encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
        from dfprompt.cli.main import main

        written = [io.BytesIO(), io.BytesIO()]
        out, err = (io.TextIOWrapper(each, encoding=encoding, newline="\n") for each in written)
        command = ["dfprompt", *arguments]
        with monkeypatch.context() as patch, warnings.catch_warnings():
            patch.setenv("COLUMNS", "100")
            patch.setattr(sys, "argv", command)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding=encoding))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = exit_code(main)
            out.flush()
            err.flush()
        texts = (each.getvalue().decode(encoding) for each in written)
        return subprocess.CompletedProcess(command, code, *texts)

    return run


def exit_code(main: Callable[[], None]) -> int:
    """Run a program's main; returns what its process would exit with, the traceback on stderr as there."""
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0
