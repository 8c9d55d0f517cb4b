"""Writing a study's folder: pairs and pictures under new names, methods sealed, the plan frozen last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np

from dfprompt.errors import StudyError
from dfprompt.storage import reported, whole_folder, write_bytes, write_text
from dfprompt.study.drawing import DrawnPair, Evaluation, count_prompts, describe_row
from dfprompt.study.pictures import encode_alike
from dfprompt.study.plan import (
    CONSENT,
    LEFT,
    PAIRS,
    PARTICIPANTS,
    PICTURES,
    PLAN,
    RIGHT,
    SCHEDULE,
    Exclusion,
    StudyPlan,
    digest_files,
    dump,
    read_plan,
)
from dfprompt.study.schedule import balance_sides, order_trials, share_out
from dfprompt.study.sealing import Names, seal

_Shown = list[tuple[DrawnPair, str, tuple[str, str]]]  # a pair, its id, its pictures' ids


def write_study(
    folder: Path,
    evaluation: Evaluation,
    drawn: Sequence[DrawnPair],
    consent: str,
    *,
    title: str,
    questions: Mapping[str, str],
    participants: int,
    per_participant: int,
    repeats: int,
    seed: int,
    exclusion: Exclusion,
    retain_until: str,
    power: str,
) -> tuple[StudyPlan, str]:
    """Write a study's folder, whole or not at all; returns its plan and the plan's digest.

    Raises StudyError for a folder that is there already and where the disk refuses, ImageFileError for a
    picture that cannot be read.
    """
    if folder.exists():
        raise StudyError(f"{folder} exists already; choose another --output: a plan is never written over")
    random = np.random.default_rng(seed)
    contents = encode_alike([evaluation.path(row) for pair in drawn for row in (pair.first, pair.second)])
    ids = iter(_new_ids(3 * len(drawn)))
    shown = [(pair, next(ids), (next(ids), next(ids))) for pair in drawn]
    with reported(folder, StudyError), whole_folder(folder) as unfinished:
        unfinished.chmod(0o700)  # and with it every file in it: answers and links are nobody else's business
        _write_pictures(unfinished / PICTURES, shown, contents)
        _write_pairs(unfinished / PAIRS, shown, random)
        schedule = _make_schedule(shown, participants, per_participant, repeats, seed)
        write_text(unfinished / SCHEDULE, "".join(f"{dump(each)}\n" for each in schedule))
        seal(unfinished, _sealed(evaluation, shown))
        plan = StudyPlan(
            title=title,
            questions=dict(questions),  # type: ignore[arg-type]
            methods=len(evaluation.methods),
            pairs=sum(pair.kind == "main" for pair in drawn),
            prompts=count_prompts(drawn),
            participants=participants,
            per_participant=per_participant,
            practice=sum(pair.kind == "practice" for pair in drawn),
            repeats=repeats,
            gold=sum(pair.kind == "gold" for pair in drawn),
            seed=seed,
            exclusion=exclusion,
            retain_until=retain_until,
            power=power,
            files=digest_files(unfinished),
        )
        write_text(unfinished / PLAN, json.dumps(plan.model_dump(), indent=1) + "\n")
        write_text(unfinished / CONSENT, consent)
        Names.make(unfinished, participants)
        (unfinished / PARTICIPANTS).mkdir()
    return read_plan(folder)


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


def _write_pairs(path: Path, shown: _Shown, random: np.random.Generator) -> None:
    lines = [
        {"pair": name, "kind": pair.kind, "prompt": pair.prompt, "pictures": sorted(pictures)}
        for pair, name, pictures in shown
    ]
    write_text(path, "".join(f"{dump(lines[number])}\n" for number in random.permutation(len(lines))))


def _make_schedule(
    shown: _Shown, participants: int, each: int, repeats: int, seed: int
) -> list[dict[str, Any]]:
    """Return every participant's line; sides are balanced by method, though no line says which that is."""
    if repeats > max(1, each // 2):
        raise StudyError(f"of {each} pairs at most {max(1, each // 2)} can be shown again; lower --repeats")
    places = {
        kind: [number for number, (pair, _, _) in enumerate(shown) if pair.kind == kind]
        for kind in ("main", "practice", "gold")
    }
    main = places["main"]
    hands = share_out(len(main), participants, each, seed)
    sides = balance_sides(hands, len(main))
    schedule = []
    for person, hand in enumerate(hands):
        random = np.random.default_rng([seed, person])
        first_left = {main[pair]: sides[person, pair] for pair in hand}
        for extra in places["practice"] + places["gold"]:
            first_left[extra] = bool(random.integers(2))
        trials = order_trials(
            [main[pair] for pair in hand], places["practice"], repeats, places["gold"], random
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
