"""Training, validation and test sets, by a hash of the short prompt: a subject is never on two sides."""

from __future__ import annotations

import hashlib

from dfprompt.policy.bans import normalize

SETS = ("train", "validation", "test")


def set_of(short: str, *, validation: float, test: float, salt: str = "") -> str:
    """The set a short prompt belongs to, whatever its modifiers; `salt` draws other sets.

    >>> set_of("a red cat", validation=0, test=0)
    'train'
    """
    digest = hashlib.sha256(f"{salt}\0{normalize(short)}".encode("utf-8", "surrogatepass")).digest()
    at = int.from_bytes(digest[:8]) / 2**64
    if at < test:
        return "test"
    return "validation" if at < test + validation else "train"
