"""Rehearsals against a server that is killed, and what must be on the disk after them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from browsing import Hosted, hosting
from dfprompt.requests.participants import SimulateStudyRequest
from dfprompt.storage import read_lines
from dfprompt.study.journal import read_participants
from dfprompt.study.study import Study
from dfprompt.web.rehearsal import Crowd, Rehearsed, rehearse


def asked(study: Study, **changes: Any) -> SimulateStudyRequest:
    """A rehearsal of a study, preference 0.6 unless told otherwise."""
    return SimulateStudyRequest(**{"study": study.folder, "preference": 0.6, **changes})


def check_whole(study: Study, request: SimulateStudyRequest) -> None:
    """Hold what is on the disk against what everybody chose: nothing lost, doubled or changed."""
    crowd, people = Crowd(study, request), request.participants or study.plan.participants
    everybody = read_participants(study.folder)
    assert sorted(each.number or 0 for each in everybody) == list(range(people))
    assert all(each.simulated and each.finished for each in everybody)
    by_link = {each.who: each for each in everybody}
    assert len(by_link) == people
    for person in range(people):
        stored = by_link[study._names.who(study.tokens[person], None)]
        assert stored.number is not None
        trials = [trial.id for trial in study.trials(stored.number)]
        assert [answer.trial for answer in stored.answers] == trials
        for answer in stored.answers:
            assert dict(answer.choices) == crowd.choose(person, answer.trial)
            assert answer.seconds == crowd.seconds(person, answer.trial)


def answers_in(folder: Path) -> int:
    """How many answers lie on the disk, as lines."""
    return sum(
        '"event": "answer"' in line
        for path in (folder / "participants").glob("*.jsonl")
        for line in read_lines(path)
    )


def kill_often(study: Study, kills: int, **changes: Any) -> Rehearsed:
    """Rehearse against a server that is killed, and started again on its port, at even stages of the work."""
    people = study.plan.participants
    done: list[Rehearsed] = []
    request = asked(study, **changes)
    port, total = 0, people * study.plan.trials
    work: threading.Thread | None = None
    for stage in range(kills + 1):
        with hosting(study.folder, "--rehearsal", port=port) as hosted:
            if work is None:
                port = int(hosted.base.rpartition(":")[2])
                work = threading.Thread(
                    target=lambda at: done.append(rehearse(study, request, at)), args=(hosted.base,)
                )
                work.start()
            if stage == kills:
                work.join()
                break
            wait_for_answers(hosted, work, total * (stage + 1) // (kills + 1))
            hosted.process.kill()
            hosted.process.wait(timeout=30)
    return done[0]


def wait_for_answers(hosted: Hosted, work: threading.Thread, count: int) -> None:
    """Wait until so many answers are kept; the work and the server must live."""
    while answers_in(hosted.folder) < count:
        work.join(0.05)
        assert work.is_alive()
        assert hosted.process.poll() is None
