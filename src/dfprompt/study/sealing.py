"""What a study keeps to itself: the sealed methods, tokens, and the hashes of who took part."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from secrets import token_hex
from typing import Any

from dfprompt.errors import ParticipantError, StudyError
from dfprompt.storage import read_json, read_text, write_text
from dfprompt.study.plan import KEY, LINKS, PLATFORM_KEY, SEALED

_KEY = 1000  # bytes of a key's file at most
_TAG = 16  # hexadecimal digits of a participant's name that say it is one of ours


def seal(folder: Path, methods: Any) -> None:
    """Write sealed.json, masked by a keystream, and beside it the key; raises OSError.

    The mask keeps whoever opens the folder from reading the methods by accident, and search tools from
    finding them. It protects from nobody who reads both files on purpose.
    """
    key = token_hex(32)
    write_text(folder / KEY, key + "\n")
    text = json.dumps(methods, sort_keys=True).encode()
    write_text(folder / SEALED, json.dumps({"dfprompt": 1, "sealed": _mask(text, key).hex()}) + "\n")


def unseal(folder: Path) -> Any:
    """Return what was sealed; raises StudyError where either file is gone or of another study."""
    try:
        key = read_text(folder / KEY, _KEY).strip()
        masked = bytes.fromhex(read_json(folder / SEALED)["sealed"])
        return json.loads(_mask(masked, key))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise StudyError(
            f"{folder}: {SEALED} cannot be opened with {KEY} ({type(error).__name__}); restore both as the "
            "plan wrote them: without them no answer says which method it was for"
        ) from error


def _mask(content: bytes, key: str) -> bytes:
    blocks = (len(content) + 31) // 32
    stream = b"".join(hashlib.sha256(f"{key}:{block}".encode()).digest() for block in range(blocks))
    return bytes(one ^ other for one, other in zip(content, stream, strict=False))


class Names:
    """Tokens and participants' names of one folder: made, checked, hashed.

    A participant's name is random with a tag of the study's secret, so that one that was made up is known
    before anything is looked for on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            values = read_json(folder / LINKS)
            self._secret = bytes.fromhex(values["secret"])
            self.tokens: tuple[str, ...] = tuple(map(str, values["tokens"]))
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise StudyError(f"{folder / LINKS} cannot be read; restore it as the plan wrote it") from error

    @staticmethod
    def make(folder: Path, count: int) -> None:
        """Write the tokens of `count` people and the key of platform ids; raises OSError."""
        values = {"secret": token_hex(32), "tokens": [token_hex(16) for _ in range(count)]}
        write_text(folder / LINKS, json.dumps(values) + "\n")
        write_text(folder / PLATFORM_KEY, token_hex(32) + "\n")

    def new(self) -> str:
        """Return a new participant's name."""
        name = token_hex(8)
        return name + self._tag(name)

    def knows(self, participant: str) -> bool:
        """Return whether `new` gave a name."""
        name, tag = participant[:-_TAG], participant[-_TAG:]
        return bool(name) and hmac.compare_digest(self._tag(name).encode(), tag.encode("utf-8", "replace"))

    def check(self, participant: str) -> str:
        """Return a name that `new` gave; raises StudyError for any other."""
        if not self.knows(participant):
            raise ParticipantError("this study gave nobody this id; open the link of your invitation again")
        return participant

    def who(self, token: str | None, platform_id: str | None) -> str | None:
        """Return the keyed hash by which somebody is found again; None for an open link.

        Raises StudyError for a token of no link, and for platform ids once their key was deleted.
        """
        if token is not None:
            if token not in self.tokens:
                raise ParticipantError(
                    "this link is not of this study; open the one of your invitation again"
                )
            return _hash(self._secret, token)
        return None if platform_id is None else self._hash_platform(platform_id)

    def _hash_platform(self, platform_id: str) -> str:
        if not 1 <= len(platform_id) <= 200:
            raise ParticipantError("the platform's id must have 1 to 200 characters; open its link again")
        try:
            key = bytes.fromhex(read_text(self.folder / PLATFORM_KEY, _KEY).strip())
        except (OSError, ValueError) as error:
            raise ParticipantError(
                "the key of platform ids was deleted: this study takes nobody new"
            ) from error
        return _hash(key, platform_id)

    def _tag(self, name: str) -> str:
        return _hash(self._secret, name)[:_TAG]


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode("utf-8", "backslashreplace"), hashlib.sha256).hexdigest()
