"""The HTTP side of a load: requests out, bytes with their arrival times in. Talks to the given host and to no other."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from edgellm.bench.load.stream import message_of
from edgellm.errors import BadInput, EngineFailed, UsageError

REJECTIONS = (429, 503)
CONNECT_S = 10.0
ERROR_BYTES = 4096  # of an error's body that are read


@dataclass(frozen=True)
class Server:
    """Whom to ask, and how."""

    url: str  # the root, or its `/v1`
    api_key: str | None = None
    ca: Path | None = None  # certificates (PEM) that may have signed the server's, instead of the system's
    timeout_s: float = 600.0  # for a whole answer
    fresh_connections: bool = False

    @property
    def base(self) -> str:
        """The address of `/v1`; raises UsageError if `url` is no http(s) address."""
        base = self.url.rstrip("/").removesuffix("/chat/completions")
        if not base.startswith(("http://", "https://")) or not urlsplit(base).hostname:
            raise UsageError(f"{self.url!r} is no address of a server; it must begin with http:// or https://")
        return base if base.endswith("/v1") else f"{base}/v1"

    @property
    def host(self) -> str:
        return urlsplit(self.base).hostname or ""


@dataclass
class Raw:
    """One exchange as it happened; times on `perf_counter`."""

    sent_s: float
    end_s: float = 0.0
    status: int = 0  # HTTP's; 0: no answer
    reads: list[tuple[float, bytes]] = field(default_factory=list)
    error: str = ""  # why there is no whole response


class Client:
    """Connections to one server. Within `async with`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._chat = URL(f"{server.base}/chat/completions")
        self._models = URL(f"{server.base}/models")

    async def __aenter__(self) -> Client:
        server = self._server
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if server.api_key:
            headers["Authorization"] = f"Bearer {server.api_key}"
        connector = aiohttp.TCPConnector(
            limit=0, force_close=server.fresh_connections, ssl=trusted(server.ca),
            keepalive_timeout=None if server.fresh_connections else 60.0,
        )  # fmt: skip
        self._session = aiohttp.ClientSession(
            connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=server.timeout_s, sock_connect=CONNECT_S),
            trust_env=False,  # a proxy of the environment would come in between, also for 127.0.0.1
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, body: bytes) -> Raw:
        """Send one chat request and read the whole response. Never raises for what a server or a network does."""
        raw = Raw(perf_counter())
        reads = raw.reads
        try:
            async with self._session.post(self._chat, data=body, allow_redirects=False) as response:
                raw.status = response.status
                read = response.content.readany
                while data := await read():
                    reads.append((perf_counter(), data))
        except aiohttp.ConnectionTimeoutError:
            raw.error = f"no connection within {CONNECT_S:g} s"
        except TimeoutError:  # before aiohttp's own errors: its timeouts are both
            raw.error = f"no whole answer within {self._server.timeout_s:g} s"
        except (aiohttp.ClientError, OSError) as error:
            raw.error = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raw.end_s = perf_counter()
        return raw

    async def first_model(self) -> str:
        """The first of `/v1/models`; raises EngineFailed or UsageError in one sentence."""
        listing = await self._listing()
        try:
            name = listing["data"][0]["id"]
        except (KeyError, IndexError, TypeError):
            raise EngineFailed(f"{self._models} lists no model; name one with --model") from None
        return str(name)

    async def _listing(self) -> Any:
        try:
            async with self._session.get(self._models, allow_redirects=False) as response:
                body = await response.read()
                if response.status != 200:
                    raise refused(str(self._models), response.status, body)
                return json.loads(body)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise unreachable(str(self._models), str(error) or type(error).__name__) from None
        except ValueError:
            raise EngineFailed(
                f"{self._models} answered with no JSON; is the URL an OpenAI-compatible server's?"
            ) from None


def unreachable(url: str, why: str) -> EngineFailed:
    return EngineFailed(f"{url} gave no answer ({why}); check that the server runs")


def refused(url: str, status: int, body: bytes) -> Exception:
    said = refusal(status, body)
    if status in (401, 403):
        return UsageError(f"{url} {said}; give the server's key with --api-key-file")
    return EngineFailed(f"{url} {said}; check the URL and the server's log")


def refusal(status: int, body: bytes) -> str:
    """What a response other than 200 says."""
    try:
        error = json.loads(body[:ERROR_BYTES])
        error = error.get("error", error)
    except (ValueError, AttributeError):
        error = body[:ERROR_BYTES].decode("utf-8", "replace")
    said = message_of(error) or "nothing more"
    if 300 <= status < 400:
        said = "redirects are not followed"
    return f"answered {status}: {said}"


def trusted(ca: Path | None) -> ssl.SSLContext | bool:
    """Raises BadInput for a file without certificates."""
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (ssl.SSLError, OSError) as error:
        raise BadInput(f"{ca} holds no certificates that can be read ({error}); give a PEM file") from None
