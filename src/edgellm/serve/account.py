"""What becomes of one generating request, written down as it happens, and told to the observers at its end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Scope

from edgellm.inference.chat import Usage
from edgellm.inference.generation import Timing
from edgellm.serve.caller import Caller, caller_of
from edgellm.serve.outcome import Ending, Observer, Outcome
from edgellm.serve.problems import CLIENT_GONE, Problem

ID_IN_SCOPE = "edgellm.request_id"
LONGEST_ID = 128


def request_id_in(scope: Scope) -> str:
    """The client's own `x-request-id` if it is short and printable, else a new one; the same for the whole request."""
    known = scope.get(ID_IN_SCOPE)
    if isinstance(known, str):
        return known
    offered = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    usable = 0 < len(offered) <= LONGEST_ID and offered.isascii() and offered.isprintable()
    chosen = offered if usable else f"req-{secrets.token_hex(12)}"
    scope[ID_IN_SCOPE] = chosen
    return chosen


@dataclass
class Account:
    request_id: str
    endpoint: str
    caller: Caller
    observers: Sequence[Observer]
    max_time_s: float | None = None  # from its arrival on
    arrived: float = field(default_factory=time.time)
    model: str = ""
    prompt: str = ""
    answer: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    finish_reason: str = ""
    timings: list[Timing] = field(default_factory=list)
    ttft_s: float | None = None
    _begun: float = field(default_factory=time.monotonic)
    _ending: Ending = "answered"
    _status: int = 200
    _error: str = ""
    _closed: bool = False

    @classmethod
    def of(cls, request: Request, observers: Sequence[Observer]) -> Account:
        max_time_s: float | None = request.app.state.max_time_s
        return cls(request_id_in(request.scope), request.url.path, caller_of(request), observers, max_time_s)

    @property
    def left_s(self) -> float | None:
        """How much of its time is left; None where nothing limits it."""
        return None if self.max_time_s is None else max(0.0, self._begun + self.max_time_s - time.monotonic())

    def first_token(self) -> None:
        if self.ttft_s is None:
            self.ttft_s = time.monotonic() - self._begun

    def refused(self, problem: Problem) -> None:
        """It ended with this problem, which is the client's fault or the server's by its status."""
        self._ending = "failed" if problem.status >= 500 else "refused"
        self._status = problem.status
        self._error = problem.body.error.message

    def failed(self, error: BaseException) -> None:
        """It ended with a fault of ours."""
        self._ending, self._status, self._error = "failed", 500, type(error).__name__

    def abandoned(self, why: str) -> None:
        """Nobody reads the answer any more."""
        self._ending, self._status, self._error = "abandoned", CLIENT_GONE, why

    def close(self) -> None:
        """Tell the observers, the first time that it is called."""
        if self._closed:
            return
        self._closed = True
        outcome = self._outcome()
        for observe in self.observers:
            observe(outcome)

    def _outcome(self) -> Outcome:
        usage = self.usage
        return Outcome(
            request_id=self.request_id,
            endpoint=self.endpoint,
            caller=self.caller.name,
            person=self.caller.person,
            model=self.model,
            ending=self._ending,
            status=self._status,
            arrived=self.arrived,
            e2e_s=time.monotonic() - self._begun,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            queue_s=max((timing.queue_s for timing in self.timings), default=None),
            ttft_s=self.ttft_s,
            decode_s=max((timing.decode_s for timing in self.timings), default=None),
            finish_reason=self.finish_reason,
            error=self._error,
            prompt=self.prompt,
            answer="".join(self.answer),
        )
