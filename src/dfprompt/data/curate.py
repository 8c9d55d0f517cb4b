"""Curation from source to data set: read, clean, measure, divide; resumable, every row accounted for.

train.jsonl, validation.jsonl, test.jsonl    {"short", "modifiers", "kept", "confidence", ...} per row
removed.jsonl                                rows taken out, with the filter and its reason
scores.jsonl                                 what was measured; a resumed run measures only the rest
report.json, recipe.toml                     what each filter did, and with which settings
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dfprompt.config import load_config, save_resolved
from dfprompt.config.provenance import check_inputs
from dfprompt.data.cleaning import Removed, iter_pairs
from dfprompt.data.confidence import Instruments, Measured, Meter, Unmeasured
from dfprompt.data.records import Pair, PromptRecord
from dfprompt.data.report import Report, compare_groups
from dfprompt.data.sets import SETS, set_of
from dfprompt.data.settings import CurateSettings
from dfprompt.errors import ConfigError, InputError
from dfprompt.excerpt import quote
from dfprompt.measurement.shards import SHARD, Shard, note_shard
from dfprompt.storage import append_lines, check_ours, read_lines, remove, reported, write_text

_OURS = ("short", "modifiers", "kept", "confidence", "where")
RECIPE, SCORES, REMOVED, REPORT = "recipe.toml", "scores.jsonl", "removed.jsonl", "report.json"
_PARTS = (SCORES, REPORT, *(f"{name}.jsonl" for name in SETS), REMOVED, SHARD, RECIPE)
_MEASURED_WITH = ("pipeline", "aesthetic", "clip", "judges", "seeds", "first_seed")
Progress = Callable[[int, int], None]
MeasureBatches = Callable[[Iterable[Sequence[Pair]]], Iterator[Sequence[Measured | Unmeasured]]]
"""Measures batches of pairs, in order; what cannot be measured is said pair by pair."""
UNMEASURED = "not measured"


def curate(
    records: Iterable[PromptRecord],
    settings: CurateSettings,
    folder: Path,
    *,
    instruments: Callable[[], Instruments] | None = None,
    measure: MeasureBatches | None = None,
    shard: Shard | None = None,
    inputs: Mapping[str, str] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write a curated data set into a folder and return what was done.

    `instruments` makes what draws and scores, and is called only if something must be drawn or scored;
    or `measure` does all of it elsewhere. A pair that cannot be measured is removed by that name, and tried
    again with `resume`. With `shard` only its batches are measured, and nothing is divided: the report
    counts what was measured. `inputs` are digests of what draws and scores; what others measured is not gone
    on with.
    `progress` is called with pairs measured and in all. Raises ConfigError for a folder in use without
    `resume` or `force`, and for another recipe on `resume`; InputError where nothing is left.
    """
    _open(folder, settings, inputs or {}, resume=resume, force=force)
    outcomes = list(iter_pairs(records, settings.short_form, settings.cleaning))
    pairs = [each for each in outcomes if isinstance(each, Pair)]
    removed = [each for each in outcomes if isinstance(each, Removed)]
    if not pairs:
        counts = Counter(each.by for each in removed)
        raise InputError(
            f"no row is left of {len(outcomes)}: "
            + (", ".join(f"{count} removed by {name}" for name, count in counts.items()) or "none was read")
        )
    if measure is None and instruments is not None:
        measure = _measuring_here(instruments, settings)
    measured, failed = _measure(pairs, settings, folder / SCORES, measure, progress, shard)
    if shard is not None:
        return Report(len(outcomes), Counter(each.by for each in removed), len(measured), len(failed), {})
    removed += [
        Removed(pair.record, UNMEASURED, failed[pair.measured_as])
        for pair in pairs
        if pair.measured_as in failed
    ]
    pairs = [pair for pair in pairs if pair.measured_as not in failed]
    _write_rows(folder / REMOVED, (_removed_row(each) for each in removed))
    sure = [measured[pair.measured_as].confidence(settings.confidence.gamma) for pair in pairs if measured]
    kept = [each >= settings.confidence.sigma for each in sure] or [True] * len(pairs)
    sets = _divide(pairs, kept, sure, settings, folder)
    report = Report(
        read=len(outcomes),
        removed=Counter(each.by for each in removed),
        kept=sum(kept),
        rejected=len(kept) - sum(kept),
        sets=sets,
        confidence=sure,
        gains=compare_groups(
            [measured[pair.measured_as] for pair in pairs if measured], [pair.short for pair in pairs], kept
        ),
    )
    _write_text(folder / REPORT, json.dumps({"dfprompt": 1, **report.to_json()}, indent=1) + "\n")
    return report


def read_scores(path: Path) -> dict[str, Measured]:
    """What was measured so far, by pair; a line that a kill left half-written is left out."""
    found: dict[str, Measured] = {}
    for number, line in enumerate(read_lines(path), 1):
        try:
            row = json.loads(line)
            judged = {name: tuple(map(float, values)) for name, values in row["judge_gains"].items()}
            gains = (tuple(map(float, row["aesthetic_gain"])), tuple(map(float, row["clip_gain"])))
            found[row["key"]] = Measured(row["key"], *gains, judge_gains=judged)
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: not a measured pair: {quote(line)}") from error
    return found


def _measure(
    pairs: Sequence[Pair],
    settings: CurateSettings,
    path: Path,
    measure: MeasureBatches | None,
    progress: Progress | None,
    shard: Shard | None = None,
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Measure what is not in the file yet, a batch at a time, each written down as it comes.

    Returns what is measured, and why the rest is not.
    """
    if not settings.confidence.enabled:
        return {}, {}
    if measure is None:
        raise ConfigError("confidence is enabled, and there is nothing to draw and score with")
    found = read_scores(path)
    keys = {pair.measured_as for pair in pairs}
    if len(found) > 1 and pairs and not keys & found.keys():
        raise ConfigError(
            f"{path}: nothing measured there is of this source, or an earlier version measured it; take "
            "another --output"
        )
    # Pairs of one short prompt side by side: its plain picture is drawn once.
    unique = sorted({pair.measured_as: pair for pair in pairs}.values(), key=lambda pair: pair.short)
    size = settings.confidence.batch_size
    batches = [unique[start : start + size] for start in range(0, len(unique), size)]
    if shard is not None:
        note_shard(path.parent, "curation", shard, [[pair.measured_as for pair in each] for each in batches])
        batches = list(shard.pick(batches))
    left = [[pair for pair in each if pair.measured_as not in found] for each in batches]
    todo = [each for each in left if each]
    if not todo:
        return found, {}
    done, total, failed = 0, sum(map(len, todo)), dict[str, str]()
    if progress is not None:
        progress(0, total)
    for came in measure(todo):
        fresh = [each for each in came if isinstance(each, Measured)]
        failed |= {each.key: each.reason for each in came if isinstance(each, Unmeasured)}
        with reported(path, ConfigError, "make room and go on with --resume"):
            append_lines(path, (json.dumps(asdict(each)) for each in fresh))
        found |= {each.key: each for each in fresh}
        done += len(came)
        if progress is not None:
            progress(done, total)
    return found, failed


def _measuring_here(instruments: Callable[[], Instruments], settings: CurateSettings) -> MeasureBatches:
    def measure(batches: Iterable[Sequence[Pair]]) -> Iterator[list[Measured]]:
        meter = Meter(instruments(), settings.confidence)
        return map(meter.measure, batches)

    return measure


def _divide(
    pairs: Sequence[Pair],
    kept: Sequence[bool],
    sure: Sequence[float],
    settings: CurateSettings,
    folder: Path,
) -> dict[str, dict[str, int]]:
    """Write each pair into its set, in the order of the source; returns the counts."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SETS}
    for number, pair in enumerate(pairs):
        named = set_of(
            pair.short,
            validation=settings.sets.validation,
            test=settings.sets.test,
            salt=settings.sets.salt,
        )
        row: dict[str, Any] = {"short": pair.short, "modifiers": list(pair.modifiers), "kept": kept[number]}
        if sure:
            row["confidence"] = round(sure[number], 6)
        row["where"] = pair.record.where
        # A source's own column of such a name says nothing about this filter.
        beside = {name: value for name, value in pair.record.extra.items() if name not in _OURS}
        rows[named].append({**row, **beside})
    for name in SETS:
        _write_rows(folder / f"{name}.jsonl", rows[name])
    return {
        name: {
            "kept": sum(row["kept"] for row in rows[name]),
            "rejected": sum(not row["kept"] for row in rows[name]),
        }
        for name in SETS
    }


def _open(
    folder: Path, settings: CurateSettings, inputs: Mapping[str, str], *, resume: bool, force: bool
) -> None:
    """Begin or go on; what was measured stays good for any cleaning, sigma, gamma and sets."""
    recipe = folder / RECIPE
    check_ours(folder, _PARTS, RECIPE, force=force)
    if recipe.exists() and resume:
        before = load_config(CurateSettings, recipe).confidence
        changed = [
            name for name in _MEASURED_WITH if getattr(before, name) != getattr(settings.confidence, name)
        ]
        if changed:
            raise ConfigError(
                f"{folder}: what is there was measured with another confidence."
                f"{', confidence.'.join(changed)}; take the same, or another --output"
            )
        check_inputs(recipe, inputs)
    elif recipe.exists() and not force:
        raise ConfigError(
            f"{folder} holds a data set; add --resume to go on with it, --force to begin anew, or take "
            "another --output"
        )
    else:
        for part in _PARTS:  # the recipe goes last: a command killed here never has another's scores
            with reported(folder / part, ConfigError):
                remove(folder / part)
    seeds = range(settings.confidence.first_seed, settings.confidence.first_seed + settings.confidence.seeds)
    save_resolved(settings, recipe, seeds=seeds, force=True, inputs=inputs)


def _removed_row(removed: Removed) -> dict[str, Any]:
    record = removed.record
    return {"where": record.where, "prompt": record.prompt, "by": removed.by, "reason": removed.reason}


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    _write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def _write_text(path: Path, text: str) -> None:
    with reported(path, ConfigError):
        write_text(path, text)
