"""Try the language's own distribution in clean environments without torch, one per Python named.

    python .ci/try_language.py python3.11 python3.12 python3.13

Its wheel is built and installed, parse, plan and convert are run, and then the tests of the language.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMOKE = """
import importlib.util, sys
assert importlib.util.find_spec("torch") is None
import dfprompt
from dfprompt.prompt import convert_prompt, make_plan, parse_prompt
prompt = parse_prompt("a red horse, [anime style:early:1.5]")
assert make_plan(prompt, 10).steps[5].text == "a red horse"
assert convert_prompt(str(prompt), "native", "a1111").text == "a red horse, [(anime style:1.5)::0.5]"
try:
    dfprompt.run
except ImportError as error:
    assert "pip install dfprompt" in str(error)
else:
    raise AssertionError("dfprompt.run without the whole package")
assert not {name for name in sys.modules if name.partition(".")[0] in ("torch", "numpy", "PIL", "pydantic")}
"""
SECONDS, BYTES = 3.0, 1_000_000
CLEAN = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def main() -> int:
    """Try every Python named; the exit code is 0 where all of them pass."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        builder = [
            sys.executable,
            str(ROOT / ".ci" / "build_distributions.py"),
            str(out),
            "dfprompt-language",
        ]
        subprocess.run(builder, check=True)
        (wheel,) = out.glob("*.whl")
        print(f"{wheel.name}: {wheel.stat().st_size / 1000:.0f} kB (goal < {BYTES // 1000} kB)")  # noqa: T201
        passed = [
            try_python(python, wheel, out / f"env{at}")
            for at, python in enumerate(sys.argv[1:] or [sys.executable])
        ]
        return 0 if all(passed) and wheel.stat().st_size < BYTES else 1


def try_python(python: str, wheel: Path, place: Path) -> bool:
    """Install into a new environment, run the smoke test and the suite; prints one line."""
    subprocess.run([python, "-m", "venv", str(place)], check=True)
    binary = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [str(binary), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wall, spent = time.monotonic(), os.times()
    subprocess.run([*pip, "--no-index", str(wheel)], check=True)
    seconds, processor = time.monotonic() - wall, sum(os.times()[2:4]) - sum(spent[2:4])
    smoke = subprocess.run([str(binary), "-c", SMOKE], cwd=place, env=CLEAN, check=False).returncode == 0
    subprocess.run([*pip, "pytest>=8", "pytest-timeout", "hypothesis>=6.120"], check=True)
    suite = subprocess.run(
        [
            *(str(binary), "-m", "pytest", "tests/prompt", "-q", "-o", "addopts=--import-mode=importlib"),
            *(
                "--confcutdir=tests/prompt",
                "-p",
                "property_profiles",
                "-p",
                "no:cacheprovider",
                "--timeout=0",
            ),
        ],
        cwd=ROOT,
        env={
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "PYTHONPATH": "tests",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    version = subprocess.run([str(binary), "-V"], capture_output=True, text=True, check=True).stdout.strip()
    lines = suite.stdout.strip().splitlines() or [suite.stderr[-300:]]
    print(  # noqa: T201
        f"{version}: installed in {seconds:.1f} s ({processor:.1f} s of processor; goal < {SECONDS:g} s), "
        f"parse, plan, convert {'work' if smoke else 'FAIL'}, suite: {lines[-1]}"
    )
    if suite.returncode:
        print("\n".join(lines[-30:]))  # noqa: T201
    return smoke and suite.returncode == 0 and min(seconds, processor) < SECONDS


if __name__ == "__main__":
    sys.exit(main())
