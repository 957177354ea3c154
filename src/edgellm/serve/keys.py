"""Who may ask: API keys from a file, sent as `Authorization: Bearer KEY` or as `x-api-key: KEY`."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from edgellm.errors import BadInput, UsageError
from edgellm.serve.problems import Problem

OPEN_PATHS = frozenset({"/health"})


def read_keys(path: Path) -> list[str]:
    """One key a line; empty lines and lines that start with # are skipped. Raises UsageError or BadInput."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no key file at {path}; write one key a line into it") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text; write one key a line into it") from None
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise BadInput(f"{path} holds no key, so nobody could use the server; write one key a line into it")
    return keys


class KeyGate:
    """Lets a request pass to the application if it carries one of the keys."""

    def __init__(self, app: ASGIApp, keys: list[str]) -> None:
        self._app = app
        self._digests = [digest(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._allows(Headers(scope=scope)):
            message = "the API key is missing or wrong; send it as Authorization: Bearer KEY or as x-api-key"
            headers = {"WWW-Authenticate": "Bearer"}
            problem = Problem(401, message, kind="authentication_error", code="invalid_api_key", headers=headers)
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _allows(self, headers: Headers) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        offered = [headers.get("x-api-key", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
        # Digests of equal length, every one compared: the time tells nothing about the keys.
        matches = [hmac.compare_digest(digest(key), known) for key in offered for known in self._digests]
        return any(matches)


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
