"""Run every benchmark, benchmarks/bench_*.py, each in its own process; or only those named.

python benchmarks/run.py            all of them
python benchmarks/run.py language   benchmarks/bench_language.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    """Return 1 if a benchmark failed or a name is unknown."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    if unknown := set(names) - set(known):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 1
    failed = [
        name
        for name in names or known
        if subprocess.run([sys.executable, known[name]], check=False).returncode
    ]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
