"""Writing a study's folder: pairs and pictures under new names, methods sealed, the plan frozen last."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np

from dfprompt.errors import StudyError
from dfprompt.requests.study import StudyPlanRequest
from dfprompt.storage import whole_folder, write_bytes, write_text, writing_into
from dfprompt.study.drawing import DrawnPair, Evaluation, count_prompts, describe_row
from dfprompt.study.pictures import encode_alike
from dfprompt.study.plan import (
    CONSENT,
    LEFT,
    PAIRS,
    PARTICIPANTS,
    PICTURES,
    PLAN,
    PREFER,
    REGISTRATION,
    RIGHT,
    SCHEDULE,
    SHOWS,
    Exclusion,
    StudyPlan,
    digest_files,
    dump,
    read_plan,
)
from dfprompt.study.power import Power, compute_power
from dfprompt.study.schedule import balance_sides, order_trials, share_out
from dfprompt.study.sealing import Names, seal
from dfprompt.study.simulation import Spread
from dfprompt.study.texts import write_registration

_Shown = list[tuple[DrawnPair, str, tuple[str, str]]]  # a pair, its id, its pictures' ids


def check_plan(asked: StudyPlanRequest) -> None:
    """Raise StudyError for a plan that no folder can be made of, before anything is computed."""
    if os.path.lexists(asked.output):
        raise StudyError(
            f"{asked.output} exists already; choose another --output: a plan is never written over"
        )
    if asked.per_participant > asked.pairs:
        raise StudyError(
            f"nobody can see {asked.per_participant} different pairs of {asked.pairs}; lower "
            "--per-participant, or plan more --pairs"
        )
    if asked.participants * asked.per_participant < asked.pairs:
        raise StudyError(
            f"{asked.participants} people who see {asked.per_participant} pairs each leave some of "
            f"{asked.pairs} unseen; plan fewer --pairs, or ask more people"
        )
    repeated = max(1, asked.per_participant // 2)
    if asked.repeats > repeated:
        raise StudyError(
            f"of {asked.per_participant} pairs at most {repeated} can be shown again; lower --repeats"
        )


def plan_power(asked: StudyPlanRequest, drawn: Sequence[DrawnPair]) -> Power:
    """Return what the main pairs can tell of one pair of methods: of the one that has the fewest."""
    by_versus: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pair in drawn:
        if pair.kind == "main":
            by_versus[pair.first.method, pair.second.method].append(pair.first.prompt_id)
    fewest = min(by_versus.values(), key=len)
    numbers = {prompt: place for place, prompt in enumerate(dict.fromkeys(fewest))}
    each = min(len(fewest), max(1, round(asked.per_participant * len(fewest) / asked.pairs)))
    spread = Spread(asked.participant_spread, asked.prompt_spread, asked.draws)
    pairs = [numbers[prompt] for prompt in fewest]
    return compute_power(pairs, asked.participants, each, spread, seed=asked.seed)


def write_study(
    asked: StudyPlanRequest, evaluation: Evaluation, drawn: Sequence[DrawnPair], consent: str, power: str
) -> tuple[StudyPlan, str]:
    """Write a study's folder at `asked.output`, whole or not at all; returns its plan and the plan's digest.

    Raises StudyError for a folder that is there already and where the disk refuses, ImageFileError for a
    picture that cannot be read.
    """
    check_plan(asked)
    folder = asked.output
    contents = encode_alike([evaluation.path(row) for pair in drawn for row in (pair.first, pair.second)])
    ids = iter(_new_ids(3 * len(drawn)))
    shown = [(pair, next(ids), (next(ids), next(ids))) for pair in drawn]
    with writing_into(folder.parent, StudyError), whole_folder(folder) as unfinished:
        unfinished.chmod(0o700)  # and with it every file in it: answers and links are nobody else's business
        _write_pictures(unfinished / PICTURES, shown, contents)
        _write_pairs(unfinished / PAIRS, shown)
        schedule = _make_schedule(shown, asked)
        write_text(unfinished / SCHEDULE, "".join(f"{dump(each)}\n" for each in schedule))
        seal(unfinished, _sealed(evaluation, shown))
        plan = _make_plan(asked, drawn, power, digest_files(unfinished), _count_identical(drawn, contents))
        write_text(unfinished / PLAN, json.dumps(plan.model_dump(), indent=1) + "\n")
        write_text(unfinished / CONSENT, consent)
        plan, digest = read_plan(unfinished)
        write_text(unfinished / REGISTRATION, write_registration(plan, digest))
        Names.make(unfinished, asked.participants)
        (unfinished / PARTICIPANTS).mkdir()
    return plan, digest


def _make_plan(
    asked: StudyPlanRequest, drawn: Sequence[DrawnPair], power: str, files: dict[str, str], identical: int
) -> StudyPlan:
    kinds = Counter(pair.kind for pair in drawn)
    return StudyPlan(
        title=asked.title,
        questions={SHOWS: asked.ask_shows, PREFER: asked.ask_prefer},
        methods=len({row.method for pair in drawn for row in (pair.first, pair.second)}),
        pairs=kinds["main"],
        prompts=count_prompts(drawn),
        participants=asked.participants,
        per_participant=asked.per_participant,
        practice=kinds["practice"],
        repeats=asked.repeats,
        gold=kinds["gold"],
        identical=identical,
        seed=asked.seed,
        exclusion=Exclusion(
            gold_failed=min(asked.exclude_gold, asked.gold),
            fastest_median=asked.exclude_faster,
            same_side=asked.exclude_side,
        ),
        retain_until=(datetime.now(UTC).date() + timedelta(days=asked.retain_days)).isoformat(),
        power=power,
        files=files,
    )


def _count_identical(drawn: Sequence[DrawnPair], contents: Sequence[bytes]) -> int:
    """Return how many main pairs show one picture twice, as where a method left the words alone."""
    both = zip(drawn, contents[::2], contents[1::2], strict=True)
    return sum(pair.kind == "main" and first == second for pair, first, second in both)


def _new_ids(count: int) -> list[str]:
    """Return names that the plan's seed does not give away."""
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[token_hex(8)] = None
    return list(ids)


def _write_pictures(folder: Path, shown: _Shown, contents: list[bytes]) -> None:
    """Write the pictures by name, so that not even the order they were written in tells anything."""
    names = [picture for _, _, pictures in shown for picture in pictures]
    for name, content in sorted(zip(names, contents, strict=True)):
        write_bytes(folder / f"{name}.png", content)


def _write_pairs(path: Path, shown: _Shown) -> None:
    lines = [
        {"pair": name, "kind": pair.kind, "prompt": pair.prompt, "pictures": sorted(pictures)}
        for pair, name, pictures in shown
    ]
    lines.sort(key=lambda line: str(line["pair"]))  # random names: the order tells no kind
    write_text(path, "".join(f"{dump(line)}\n" for line in lines))


def _make_schedule(shown: _Shown, asked: StudyPlanRequest) -> list[dict[str, Any]]:
    """Return every participant's line; sides are balanced by method, though no line says which that is."""
    places = {
        kind: [number for number, (pair, _, _) in enumerate(shown) if pair.kind == kind]
        for kind in ("main", "practice", "gold")
    }
    main = places["main"]
    hands = share_out(len(main), asked.participants, asked.per_participant, asked.seed)
    sides = balance_sides(hands, len(main))
    schedule = []
    for person, hand in enumerate(hands):
        random = np.random.default_rng([asked.seed, person])
        first_left = {main[pair]: sides[person, pair] for pair in hand}
        for extra in places["practice"] + places["gold"]:
            first_left[extra] = bool(random.integers(2))
        trials = order_trials(
            [main[pair] for pair in hand], places["practice"], asked.repeats, places["gold"], random
        )
        ids = _new_ids(len(trials))
        schedule.append(
            {
                "participant": person,
                "trials": [
                    _trial(name, kind, shown[pair], first_left[pair] != (kind == "repeat"))
                    for name, (kind, pair) in zip(ids, trials, strict=True)
                ],
            }
        )
    return schedule


def _trial(
    name: str, kind: str, shown: tuple[DrawnPair, str, tuple[str, str]], first_left: bool
) -> dict[str, str]:
    """Return a trial's line; `first` is the side of the picture that the pair's line names first."""
    _, pair, pictures = shown
    named_first = first_left == (pictures[0] == min(pictures))
    return {"id": name, "kind": kind, "pair": pair, "first": LEFT if named_first else RIGHT}


def _sealed(evaluation: Evaluation, shown: _Shown) -> dict[str, Any]:
    return {
        "evaluation": str(evaluation.folder.resolve()),
        "methods": list(evaluation.methods),
        "pictures": {
            picture: describe_row(row)
            for pair, _, pictures in shown
            for picture, row in zip(pictures, (pair.first, pair.second), strict=True)
        },
        "gold": {name: pictures[0] for pair, name, pictures in shown if pair.kind == "gold"},
    }
