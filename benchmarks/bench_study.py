"""Two hundred simulated people through a study's pages while its server is killed five times: what is lost.

`python benchmarks/run.py study` prints what was answered, lost and doubled, and the processor seconds of one
answer with its two pictures, server and simulated browser together.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from dfprompt.study.journal import read_participants  # noqa: E402
from machine import header  # noqa: E402
from rehearsing import answers_in, asked, check_whole, kill_often  # noqa: E402
from tiny_study import make_study, write_evaluation  # noqa: E402

PEOPLE, PAIRS_EACH, KILLS = 200, 20, 5


def spent() -> float:
    """Processor seconds of this process and of those it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Rehearse, kill, hold the disk against what everybody chose."""
    print(header("a study whose server is killed"))
    with tempfile.TemporaryDirectory() as scratch:
        evaluation = write_evaluation(Path(scratch) / "evaluation", prompts=80)
        plan = {
            "pairs": 60,
            "participants": PEOPLE,
            "per_participant": PAIRS_EACH,
            "repeats": 3,
            "practice": 2,
        }
        study = make_study(Path(scratch) / "study", evaluation, **plan)
        before = spent()
        done = kill_often(study, KILLS, at_once=16)
        took = spent() - before
        kept, wanted = answers_in(study.folder), PEOPLE * study.plan.trials
        distinct = sum(len(each.answered) for each in read_participants(study.folder))
        check_whole(study, asked(study))
        print(f"people, answers, kills: {PEOPLE}, {kept:,}, {KILLS}; requests sent again: {done.sent_again}")
        print(f"answers lost (must be 0): {wanted - distinct}; doubled (must be 0): {kept - distinct}")
        print(f"processor time of an answer with its two pictures: {1000 * took / kept:.1f} ms")


if __name__ == "__main__":
    main()
