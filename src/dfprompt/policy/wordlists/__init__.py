"""Lists of words that come with the package: what prompts for everybody leave out, and artists' names."""

from __future__ import annotations

from functools import cache
from importlib import resources

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote

LISTS = ("artists", "nsfw")


@cache
def read_wordlist(name: str) -> tuple[str, ...]:
    """The entries of a list, one per line of its file; `#` starts a comment.

    >>> "greg rutkowski" in read_wordlist("artists")
    True
    """
    if name not in LISTS:
        raise ConfigError(f"there is no word list {quote(name)}; there are {', '.join(LISTS)}")
    text = resources.files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)
