"""Install both wheels beside each torch, for each Python named, and run them: one line per pair.

    python .ci/try_wheels.py python3.11 python3.12 python3.13 [--torch 2.6 --torch 2.13]

A Python that has that torch itself (a distribution's own package) lends it. Otherwise torch comes from the
index; where it brings GBs of GPU packages along the pair is not run, and says so, unless
DFPROMPT_GPU_PACKAGES=1. `--wheels DIR` takes the wheels from there, for a machine that cannot build them.
The exit code is 0 where at least one pair was run and none failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLEAN = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
CLEAN |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
TEXT = "a red house in the snow, [watercolor:late]"
COMMANDS = (
    ("parse", TEXT),
    ("plan", TEXT, "--steps", "4"),
    ("convert", TEXT, "--to", "a1111"),
    ("compare", "a red house in the snow", "--vary", "watercolor", "--steps", "4", "--output", "first"),
)


def main() -> int:
    """Try every pair; prints one line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pythons", nargs="*", default=["python3.11", "python3.12", "python3.13"])
    parser.add_argument("--torch", action="append", help="a version without its last number; may repeat")
    parser.add_argument("--wheels", type=Path, help="a folder with both wheels, in place of building them")
    asked = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        wheels = asked.wheels or Path(folder) / "wheels"
        if not asked.wheels:
            build = [sys.executable, str(ROOT / ".ci" / "build_distributions.py"), str(wheels)]
            subprocess.run(build, check=True)
        for python in asked.pythons:
            for torch in asked.torch or ["2.6", "2.13"]:
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    outcome = try_pair(python, torch, wheels, Path(place))
                print(f"{python} torch {torch}: {outcome}", flush=True)  # noqa: T201
                outcomes.append(outcome)
    ran = [each for each in outcomes if not each.startswith("not run")]
    return 0 if ran and all(each.startswith("works") for each in ran) else 1


def try_pair(python: str, torch: str, wheels: Path, place: Path) -> str:
    """Install and run in a new environment: "works ...", "FAILED ..." or "not run ..."."""
    try:
        own = output(python, "-c", "import torch; print(torch.__version__)")
    except FileNotFoundError:
        return "not run: there is no such Python here"
    lent = own.split("\n")[-1].startswith(f"{torch}.")  # a library may have said something before
    subprocess.run([python, "-m", "venv", *(["--system-site-packages"] * lent), str(place)], check=True)
    binaries = place / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet"]
    if not lent and (hindered := heavy(pip, torch)):
        return f"not run: {hindered}"
    # torch first and alone: a looser request on an empty environment takes the newest and its GPU packages.
    first = [] if lent else [f"torch=={torch}.*"]
    for what in (first, [f"torch=={torch}.*", *map(str, sorted(wheels.glob("*.whl")))]):
        done = (
            subprocess.run([*pip, *what], env=CLEAN, capture_output=True, text=True, check=False)
            if what
            else None
        )
        if done and done.returncode:
            return f"FAILED to install: {done.stderr.strip()[-500:]}"
    for command in COMMANDS:
        done = subprocess.run(
            [str(binaries / "dfprompt"), *command],
            env=CLEAN,
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return f"FAILED dfprompt {command[0]}: {done.stderr.strip()[-500:]}"
    names = ("torch", "numpy", "diffusers", "transformers", "peft")
    show = (
        f"from importlib.metadata import version as v; print(*(f'{{n}} {{v(n)}}' for n in {names}), sep=', ')"
    )
    return f"works ({output(str(binaries / 'python'), '-c', show)})"


def output(*command: str) -> str:
    """What a command prints, nothing where it fails."""
    return subprocess.run(command, env=CLEAN, capture_output=True, text=True, check=False).stdout.strip()


def heavy(pip: list[str], torch: str) -> str:
    """Why this torch is not installed here; nothing where it may be."""
    report = output(
        *pip, "--dry-run", "--no-deps", "--ignore-installed", "--report", "-", f"torch=={torch}.*"
    )
    if not report:
        return "the index has no build for this Python and system"
    needs = json.loads(report)["install"][0]["metadata"].get("requires_dist", [])
    packed = [each for each in needs if each.startswith(("nvidia-", "cuda-"))]
    if packed and not os.environ.get("DFPROMPT_GPU_PACKAGES"):
        return f"the index's build brings {len(packed)} GPU packages (DFPROMPT_GPU_PACKAGES=1 installs them)"
    return ""


if __name__ == "__main__":
    sys.exit(main())
