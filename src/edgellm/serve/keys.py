"""Who may ask: API keys, sent as `Authorization: Bearer KEY` or as `x-api-key: KEY`."""

from __future__ import annotations

import hashlib
import hmac
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from edgellm.errors import EdgellmError
from edgellm.records.keys import KeyRecord
from edgellm.serve.caller import IN_SCOPE, Caller
from edgellm.serve.key_file import read_keys, salted
from edgellm.serve.problems import Problem

OPEN_PATHS = frozenset({"/health", "/"})  # the page at / asks for the key itself


class KeyRing:
    """The keys that count at this moment; `replace` changes them all at once, between two requests."""

    def __init__(self, records: Sequence[KeyRecord]) -> None:
        self.replace(records)

    def replace(self, records: Sequence[KeyRecord]) -> None:
        # What was verified is looked up by its unsalted digest, which stays in memory: no request but the first
        # with a key costs a hash for every record.
        verified: dict[bytes, KeyRecord] = {}
        self._state = (tuple(records), verified)

    def find(self, key: str) -> KeyRecord | None:
        """The record of a key, or None. The time that it takes tells nothing about the keys."""
        records, verified = self._state
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        if digest not in verified:
            matches = [r for r in records if hmac.compare_digest(salted(bytes.fromhex(r.salt), key).hex(), r.hash)]
            if not matches:
                return None
            verified[digest] = matches[0]
        return verified[digest]


def reload_on_hangup(ring: KeyRing, path: Path, say: Callable[[str], None]) -> None:
    """From now on SIGHUP reads the keys again; a file that cannot be read leaves those that there are.

    To be called in the main thread. Requests under way go on, also those of a key that is gone.
    """

    def reload(*_: object) -> None:
        try:
            records = read_keys(path)
        except (EdgellmError, OSError) as error:
            say(f"the keys stay as they were: {error}")
            return
        ring.replace(records)
        say(f"read {len(records)} keys from {path}")

    signal.signal(signal.SIGHUP, reload)


class KeyGate:
    """Lets a request pass to the application if it carries one of the keys, and says whose it is."""

    def __init__(self, app: ASGIApp, ring: KeyRing) -> None:
        self._app = app
        self._ring = ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            try:
                scope[IN_SCOPE] = self._caller(Headers(scope=scope))
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _caller(self, headers: Headers) -> Caller:
        """Raises Problem 401."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        offered = [headers.get("x-api-key", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
        for record in filter(None, map(self._ring.find, filter(None, offered))):
            if record.expires is None or datetime.now(UTC) < record.expires:
                return Caller(record.name, record)
            raise refusal(f"the API key {record.name!r} expired on {record.expires:%Y-%m-%d}; ask for a new one")
        raise refusal("the API key is missing or wrong; send it as Authorization: Bearer KEY or as x-api-key")


def refusal(message: str) -> Problem:
    headers = {"WWW-Authenticate": "Bearer"}
    return Problem(401, message, kind="authentication_error", code="invalid_api_key", headers=headers)
