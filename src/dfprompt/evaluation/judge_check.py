"""How often a judge agrees with choices between two pictures: people's, or anybody's.

A file of pairs has JSON lines: {"prompt": TEXT, "a": FILE, "b": FILE, "choice": "a" | "b" | "tie"}, files
relative to the file's folder; and, where known, "generator_a" and "generator_b", "rater", "prompt_id", and
any fields a judge reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.statistics.agreement import Share, share_with_interval
from dfprompt.statistics.intervals import Interval
from dfprompt.storage import parse_lines, read_json, write_text

CHOICES = ("a", "b", "tie")
_OWN = ("prompt", "a", "b", "choice", "generator_a", "generator_b", "rater", "prompt_id")


@dataclass(frozen=True)
class Pair:
    """Two pictures of one prompt and the one that was chosen; `record` holds the other fields of its line."""

    prompt: str
    a: Path
    b: Path
    choice: str
    prompt_id: str
    generators: tuple[str, str] | None
    rater: str | None
    record: Mapping[str, Any]


@dataclass(frozen=True)
class JudgeCheck:
    """What a judge was checked on and how often it agreed.

    `agreement` is over the pairs in which somebody chose (`undecided` others were ties), a judge's own ties
    count half; `same` and `different` are its parts by whether one generator drew both pictures. `ties` are
    pairs to which the judge gave one score, `order` those it judged otherwise with the pictures swapped.
    """

    judge: str
    pairs_file: str
    digest: str
    agreement: Share
    same: Share | None = None
    different: Share | None = None
    undecided: int = 0
    ties: int = 0
    order: int = 0

    def sentence(self) -> str:
        """Return one sentence for a table's foot.

        >>> share = Share(0.75, Interval(0.61, 0.85), 100, 50)
        >>> JudgeCheck("hps", "pairs.jsonl", "ab12", share).sentence()
        'Agrees with 75 % (61 to 85 %) of 100 choices on 50 prompts (pairs.jsonl, ab12).'
        """
        said = f"Agrees with {describe_share(self.agreement)} of {self.agreement.count} choices"
        parts = [("one generator's pairs", self.same), ("two generators'", self.different)]
        by = [f"{name} {describe_share(share)}" for name, share in parts if share is not None]
        more = f"; {', '.join(by)}" if len(by) == 2 else ""
        return f"{said} on {self.agreement.prompts} prompts ({self.pairs_file}, {self.digest}){more}."

    def to_json(self) -> dict[str, Any]:
        """Return every number."""
        return {
            "judge": self.judge,
            "pairs_file": self.pairs_file,
            "digest": self.digest,
            "agreement": _share_json(self.agreement),
            "same": _share_json(self.same),
            "different": _share_json(self.different),
            "undecided": self.undecided,
            "ties": self.ties,
            "order": self.order,
        }


def describe_share(share: Share) -> str:
    """Return a share and its interval in per cent.

    >>> describe_share(Share(0.5, Interval(float("nan"), float("nan")), 3, 1))
    '50 % (too few for an interval)'
    """
    ends = share.interval.to_json()
    told = "too few for an interval" if ends is None else f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f} %"
    return f"{100 * share.share:.0f} % ({told})"


def read_pairs(source: str | Path, *, all_ties: bool = False) -> list[Pair]:
    """Read a file of pairs; raises InputError naming every line that is wrong, and unless `all_ties` may be
    so for a file in which nobody chose.
    """
    path = Path(source)
    pairs = parse_lines(path, lambda line: _read_pair(line, path.parent))
    if not all_ties and not any(pair.choice != "tie" for pair in pairs):
        raise InputError(f"{path}: nobody chose in any of its {len(pairs)} pairs")
    return pairs


def _read_pair(line: str, folder: Path) -> Pair:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {quote(line)}") from error
    if not isinstance(row, dict):
        raise InputError(f"expected an object, got {quote(line)}")
    for name in ("prompt", "a", "b"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise InputError(f"no text under {name!r}")
    if row.get("choice") not in CHOICES:
        raise InputError(f"the choice must be a, b or tie, not {quote(row.get('choice'))}")
    generators = row.get("generator_a"), row.get("generator_b")
    rater = row.get("rater")
    return Pair(
        row["prompt"],
        folder / row["a"],
        folder / row["b"],
        row["choice"],
        str(row.get("prompt_id", row["prompt"])),
        None if None in generators else (str(generators[0]), str(generators[1])),
        None if rater is None else str(rater),
        {name: value for name, value in row.items() if name not in _OWN},
    )


def check_judge(
    judge: str,
    pairs: Sequence[Pair],
    forth: Sequence[tuple[float, float]],
    back: Sequence[tuple[float, float]],
    *,
    pairs_file: str = "",
    digest: str = "",
) -> JudgeCheck:
    """Return how often a judge agrees; `forth` are its scores of (a, b), `back` of the same given as (b, a).

    Both orders count half each: a judge that leans to one side gains nothing by it.
    """
    agreed = [pair_agreement(*each) for each in zip(pairs, forth, back, strict=True)]
    decided = [(pair, value) for pair, value in zip(pairs, agreed, strict=True) if value is not None]
    by_kind = {
        kind: [(pair, value) for pair, value in decided if _is_same(pair) is kind] for kind in (True, False)
    }
    return JudgeCheck(
        judge,
        pairs_file,
        digest,
        _share(decided),
        _share(by_kind[True]) if by_kind[True] else None,
        _share(by_kind[False]) if by_kind[False] else None,
        undecided=len(pairs) - len(decided),
        ties=sum(a == b for a, b in forth),
        order=sum(_sign(*one) != _sign(*other) for one, other in zip(forth, back, strict=True)),
    )


def pair_agreement(pair: Pair, forth: tuple[float, float], back: tuple[float, float]) -> float | None:
    """Return 1 for agreement in both orders, 1/2 for one or a tie, 0 for none; None where nobody chose."""
    if pair.choice == "tie":
        return None
    wanted = 1 if pair.choice == "a" else -1
    return (2 + wanted * _sign(*forth) + wanted * _sign(*back)) / 4


def _share(decided: Sequence[tuple[Pair, float]]) -> Share:
    raters = [pair.rater for pair, _ in decided]
    known = None if None in raters else [str(rater) for rater in raters]
    return share_with_interval(
        [value for _, value in decided], [pair.prompt_id for pair, _ in decided], known
    )


def _is_same(pair: Pair) -> bool | None:
    return None if pair.generators is None else pair.generators[0] == pair.generators[1]


def _sign(a: float, b: float) -> int:
    return (a > b) - (a < b)


def digest_pairs(path: Path) -> str:
    """Return what a file of pairs is known by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def write_checks(checks: Sequence[JudgeCheck], path: Path) -> None:
    """Write what was found, for `read_checks`."""
    write_text(path, json.dumps({"dfprompt": 1, "judges": [check.to_json() for check in checks]}) + "\n")


def read_checks(path: Path) -> dict[str, JudgeCheck]:
    """Read what `write_checks` wrote, by judge; raises InputError for anything else.

    >>> read_checks(Path("nowhere.json"))
    Traceback (most recent call last):
        ...
    dfprompt.errors.InputError: cannot read nowhere.json: No such file or directory
    """
    try:
        values = read_json(path)
        found = [_read_check(value) for value in values["judges"]]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not what `dfprompt judge-check` writes: {error}") from error
    return {check.judge: check for check in found}


def _read_check(value: Mapping[str, Any]) -> JudgeCheck:
    texts = [value[name] for name in ("judge", "pairs_file", "digest")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name that is no text")
    agreement = _read_share(value["agreement"])
    if agreement is None:
        raise ValueError("no agreement")
    judge, pairs_file, digest = texts
    undecided, ties, order = (int(value[name]) for name in ("undecided", "ties", "order"))
    parts = _read_share(value["same"]), _read_share(value["different"])
    return JudgeCheck(judge, pairs_file, digest, agreement, *parts, undecided, ties, order)


def _share_json(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    ends = share.interval.to_json()
    return {
        "share": share.share,
        "interval": ends,
        "count": share.count,
        "prompts": share.prompts,
        "raters": share.raters,
    }


def _read_share(value: Mapping[str, Any] | None) -> Share | None:
    if value is None:
        return None
    ends = value["interval"]
    interval = Interval(float("nan"), float("nan")) if ends is None else Interval(*map(float, ends))
    share = float(value["share"])
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is no share")
    return Share(share, interval, int(value["count"]), int(value["prompts"]), int(value["raters"]))
