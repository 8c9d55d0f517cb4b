"""Words from a running `dfprompt studio`: one question over HTTP to the address it has written into a file.

The address holds the studio's token, and ComfyUI writes every widget of a workflow into its pictures: so a
node is told the file, never the address.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from dfprompt.errors import EndpointError, InputError

_ADDRESS = re.compile(r"(https?://[^/\s#]+)/?#token=([\w-]+)")
_PATIENCE = 120  # seconds: the studio may be drawing, and the question waits its turn
_LARGEST = 2**20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow nowhere: the token belongs to one address."""


def ask_studio(file: str, text: str, seed: int, most: int) -> tuple[str, str]:
    """Return a prompt with the words that a studio's policy adds behind it, and remarks.

    Raises InputError for a file without an address, EndpointError for a studio that does not answer, or says
    why it will not.
    """
    found = _ADDRESS.search(_read(file))
    if found is None:
        raise InputError(
            f"{file} holds no address of a studio; write it: dfprompt studio --no-browser > {file}"
        )
    asked = {"text": text, "candidates": 1, "seed": seed, "max_modifiers": most, "wait": True}
    job = _post(found[1], found[2], asked)["job"]
    if job["state"] != "done":
        raise EndpointError(f"the studio suggests nothing: {job['message'] or job['state']}")
    (best, *_) = job["result"]["candidates"]
    dropped = [f"left out {each['words']}: {each['reason']}" for each in best["dropped"]]
    left = [] if best["modifiers"] else ["the policy leaves this prompt alone"]
    return str(best["text"]), "\n".join([*left, *dropped, *job["notes"]])


def _read(file: str) -> str:
    if "://" in file:
        raise InputError(
            "name a file that holds the address, not the address: its token would stand in every picture; "
            "write it: dfprompt studio --no-browser > studio.txt"
        )
    try:
        with Path(file.strip()).open(encoding="utf-8", errors="replace") as opened:
            return opened.read(_LARGEST)
    except (OSError, ValueError) as error:
        raise InputError(f"the studio's file cannot be read: {error}") from error


def _post(base: str, token: str, values: dict[str, Any]) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    request = urllib.request.Request(
        f"{base}/api/suggest", json.dumps(values).encode(), {"x-dfprompt-token": token}
    )
    try:
        with opener.open(request, timeout=_PATIENCE) as answer:
            return json.loads(answer.read(_LARGEST))
    except urllib.error.HTTPError as error:
        try:
            told = json.loads(error.read(_LARGEST))["error"]["message"]
        except (ValueError, KeyError, TypeError):
            told = f"status {error.code}"
        raise EndpointError(f"the studio refuses: {told}") from error
    except (OSError, ValueError) as error:
        raise EndpointError(f"no studio answers at {base}: {error}; is `dfprompt studio` running?") from error
