"""Cleaning prompts before any picture is drawn: each filter is named, counts what it removes and says why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfprompt.data.records import Pair, PromptRecord
from dfprompt.data.settings import CleaningSettings, ShortFormSettings
from dfprompt.data.splitting import SPLITS
from dfprompt.data.syntax import strip_syntax
from dfprompt.errors import ConfigError
from dfprompt.policy.bans import Bans, normalize, split_words
from dfprompt.policy.wordlists import LISTS, read_wordlist
from dfprompt.storage import iter_user_lines


@dataclass(frozen=True)
class Removed:
    """A row that was taken out: by which filter, and what that filter saw."""

    record: PromptRecord
    by: str
    reason: str


Filter = Callable[[Pair], str | None]


def iter_pairs(
    records: Iterable[PromptRecord], short_form: ShortFormSettings, cleaning: CleaningSettings
) -> Iterator[Pair | Removed]:
    """Every record as a pair that may be trained on, or as removed: none is lost, the order stays."""
    filters = make_filters(cleaning)
    bans = _artist_bans(cleaning)
    for record in records:
        pair = make_pair(record, short_form, strip=cleaning.strip_syntax)
        if bans is not None and cleaning.artists == "drop_modifiers":
            pair = replace(pair, modifiers=tuple(each for each in pair.modifiers if not bans.find(each)))
        pair = replace(pair, modifiers=pair.modifiers[: cleaning.max_modifiers])
        for name, judge in filters.items():
            reason = judge(pair)
            if reason is not None:
                yield Removed(record, name, reason)
                break
        else:
            yield pair


def make_pair(record: PromptRecord, settings: ShortFormSettings, *, strip: bool = True) -> Pair:
    """A record's short form and modifiers: as given with the row, else split as the settings say."""
    clean = strip_syntax if strip else _spaced
    if record.short is not None and settings.use_given:
        short = clean(record.short)
        if record.modifiers is not None:
            found = record.modifiers
        else:
            rest = record.prompt[len(record.short) :] if record.prompt.startswith(record.short) else ""
            found = SPLITS["comma"](f"x,{clean(rest)}")[1]
        return Pair(short, _distinct(clean(each) for each in found), record)
    short, modifiers = SPLITS[settings.split](clean(record.prompt))
    return Pair(short, _distinct(modifiers), record)


def make_filters(settings: CleaningSettings) -> dict[str, Filter]:
    """The filters in the order they are asked, by name; each gives the reason to remove a pair, or None."""
    filters: dict[str, Filter] = {
        "empty": lambda pair: None if pair.short else "no short form is left",
        "length": _length_filter(settings),
        "modifiers": lambda pair: (
            None if len(pair.modifiers) >= settings.min_modifiers else "too few modifiers"
        ),
        "words": _word_filter(settings),
    }
    artists = _artist_bans(settings)
    if artists is not None and settings.artists == "drop_rows":
        filters["artists"] = lambda pair: artists.find(pair.prompt)
    if settings.deduplicate:
        filters["duplicate"] = _duplicate_filter()
    return filters


def _length_filter(settings: CleaningSettings) -> Filter:
    def judge(pair: Pair) -> str | None:
        short, whole = len(split_words(pair.short)), len(split_words(pair.prompt))
        if short < settings.min_short_words:
            return f"the short form has {short} words"
        return f"{whole} words" if whole > settings.max_words else None

    return judge


def _word_filter(settings: CleaningSettings) -> Filter:
    words = [word for name in settings.wordlists for word in load_wordlist(name)]
    bans = Bans(words=words, patterns=settings.patterns)
    return lambda pair: bans.find(pair.prompt) if bans else None


def _artist_bans(settings: CleaningSettings) -> Bans | None:
    return None if settings.artists == "keep" else Bans(artists=True)


def _duplicate_filter() -> Filter:
    seen: dict[str, str] = {}

    def judge(pair: Pair) -> str | None:
        first = seen.setdefault(pair.key, pair.record.where)
        return None if first == pair.record.where else f"the same as {first}"

    return judge


def load_wordlist(name: str) -> Sequence[str]:
    """The words of a packaged list by name, or of a text file with one entry a line."""
    if name in LISTS:
        return read_wordlist(name)
    advice = f"the packaged word lists are {', '.join(LISTS)}"
    lines = iter_user_lines(Path(name), ConfigError, advice=advice)
    return [word for line in lines if (word := line.partition("#")[0].strip())]


def _distinct(phrases: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for phrase in phrases:
        if phrase:
            found.setdefault(normalize(phrase), phrase)
    return tuple(found.values())


def _spaced(text: str) -> str:
    return " ".join(text.split())
