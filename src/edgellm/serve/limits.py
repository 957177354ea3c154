"""What one key and one request may take: requests and tokens a minute, requests at once, bytes of a body."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgellm.serve.caller import Caller, caller_in
from edgellm.serve.heap import Sweeper
from edgellm.serve.outcome import Outcome
from edgellm.serve.problems import Problem

MINUTE_S = 60.0
MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass
class Bucket:
    """A token bucket, told by what was taken out of it: that flows back evenly, a whole bucket in a minute."""

    taken: float = 0.0
    at: float = 0.0

    def wait_s(self, amount: float, per_minute: int, now: float) -> float:
        """How long until `amount` more may be taken; 0: at once."""
        self.taken = max(0.0, self.taken - (now - self.at) * per_minute / MINUTE_S)
        self.at = now
        return max(0.0, self.taken + amount - per_minute) * MINUTE_S / per_minute


@dataclass
class Used:
    """What one key has taken."""

    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)
    running: int = 0


class Allowances:
    """What each key has used of its limits. Every method runs on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used: defaultdict[str, Used] = defaultdict(Used)

    def enter(self, caller: Caller) -> None:
        """Count a request that begins; raises Problem 429 if a limit of its key is reached, and counts nothing."""
        used, limits, now = self._used[caller.name], caller.limits, self._clock()
        if limits.concurrent_requests is not None and used.running >= limits.concurrent_requests:
            what = f"be answered {limits.concurrent_requests} requests at once"
            raise refusal(caller, what, 0, "concurrency_limit_exceeded")
        if limits.output_tokens_per_minute is not None:
            # What an answer takes is known at its end: it is let in while anything is left, and the next one waits.
            wait_s = used.tokens.wait_s(1, limits.output_tokens_per_minute, now)
            if wait_s > 0:
                what = f"be given {limits.output_tokens_per_minute} tokens a minute"
                raise refusal(caller, what, wait_s, "token_limit_exceeded")
        if limits.requests_per_minute is not None:
            wait_s = used.requests.wait_s(1, limits.requests_per_minute, now)
            if wait_s > 0:
                what = f"send {limits.requests_per_minute} requests a minute"
                raise refusal(caller, what, wait_s, "rate_limit_exceeded")
            used.requests.taken += 1
        used.running += 1

    def leave(self, caller: Caller) -> None:
        self._used[caller.name].running -= 1

    def observe(self, outcome: Outcome) -> None:
        """Charge an answer's tokens to its key."""
        self._used[outcome.caller].tokens.taken += outcome.completion_tokens


def refusal(caller: Caller, what: str, wait_s: float, code: str) -> Problem:
    seconds = max(1, math.ceil(wait_s))
    message = f"the key {caller.name!r} may {what}, and has reached that; try again in {seconds} s"
    return Problem(429, message, kind="rate_limit_error", code=code, headers={"Retry-After": str(seconds)})


class AllowanceGate:
    """Lets a request pass while its key's limits allow it. Only POST asks for work; the rest only looks."""

    def __init__(self, app: ASGIApp, allowances: Allowances) -> None:
        self._app = app
        self._allowances = allowances

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        caller = caller_in(scope)
        try:
            self._allowances.enter(caller)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._allowances.leave(caller)


class BodyGate:
    """Refuses a body of too many bytes: by what its head says, or when they have come."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._sweeper = Sweeper()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "")
        if told.isdecimal() and int(told[:20]) > self._max_bytes:
            await self._too_large().response()(scope, receive, send)
            return
        came = 0

        async def counting() -> Message:
            """Raises Problem 413 where the endpoint reads, which the application turns into the answer."""
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._max_bytes:
                raise self._too_large()
            return message

        try:
            await self._app(scope, counting, send)
        finally:
            self._sweeper.after(came)

    def _too_large(self) -> Problem:
        message = f"the request is larger than {self._max_bytes} bytes, which is the most that this server takes"
        return Problem(413, f"{message}; shorten it", code="request_too_large")
