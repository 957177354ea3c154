"""How every generating endpoint answers: as one body, or as events written straight to the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from edgellm.errors import EdgellmError
from edgellm.serve.account import Account
from edgellm.serve.collected import Collected, total
from edgellm.serve.problems import CLIENT_GONE, Problem, problem_of
from edgellm.serve.service import Service
from edgellm.serve.stream import Answers, Batch

HANG_UP_IN_SCOPE = "edgellm.hang_up"  # a callable that drops the connection with what waits to be sent
SEND_IN_SCOPE = "edgellm.send"  # the server's own `send`
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Shape(Protocol):
    """How one of the interfaces words its answers."""

    def whole(self, answers: Sequence[Collected]) -> BaseModel: ...

    def opening(self) -> bytes: ...

    def events(self, batch: Batch) -> bytes: ...

    def closing(self, answers: Sequence[Collected]) -> bytes: ...

    def failure(self, problem: Problem) -> bytes:
        """The last event of a stream that fails in the middle."""
        ...


@dataclass(frozen=True)
class ReaderLimits:
    """How far a client may fall behind with reading a stream before it is dropped."""

    patience_s: float = 30.0  # in which it takes nothing
    waiting_tokens: int = 16_384  # that wait for it; some 1 MiB of events if they were sent one by one
    look_s: float = 1.0  # how often this is looked after


class Generating:
    """An ASGI endpoint whose requests generate. However one ends, observers are told before its last bytes are sent:
    who has an answer finds it counted and on record."""

    def __init__(self, answer: Callable[[Request, Account], Awaitable[ASGIApp]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        service: Service = request.app.state.service
        account = Account.of(request, service.observers)
        try:
            reply = await self._answer(request, account)
            if isinstance(reply, Response):  # others are still at work, and close it themselves
                account.close()
            await reply(scope, receive, send)
        except Problem as problem:
            account.refused(problem)
            account.close()
            await problem.response()(scope, receive, send)
        except ClientDisconnect:
            account.abandoned("the client went away")
        except BaseException as error:
            account.failed(error)
            raise
        finally:
            account.close()


async def respond(answers: Answers, prompts: Sequence[int], stream: bool, shape: Shape, account: Account) -> ASGIApp:
    """Wait for the first deltas, so that a failure before them has a status of its own; then stream, or wait for all.

    `prompts` has the number of each answer's prompt. Raises Problem.
    """
    collected = [Collected(prompt) for prompt in prompts]
    streaming = False
    try:
        batch = await take(answers, collected)
        if stream and batch:
            streaming = True
            return EventStream(answers, batch, collected, shape, account)
        while batch:
            batch = await take(answers, collected)
        if answers.abandoned:
            return Response(status_code=CLIENT_GONE)
        return Response(shape.whole(collected).model_dump_json(), media_type="application/json")
    except EdgellmError as error:
        raise problem_of(error) from error
    finally:
        if not streaming:  # a stream closes its answers itself, when it ends
            close(answers, collected, account)


async def take(answers: Answers, collected: Sequence[Collected]) -> Batch:
    batch = await answers.batch()
    for index, delta in batch:
        collected[index].add(delta)
    return batch


def close(answers: Answers, collected: Sequence[Collected], account: Account) -> None:
    answers.close()
    for index, answer in enumerate(collected):
        if not answer.finish_reason:  # it was given up, and has cost nevertheless
            answer.usage = answers.cost(index)
    account.usage = total(collected)
    account.finish_reason = collected[0].finish_reason
    account.answer = [piece for answer in collected for piece in answer.pieces]


class EventStream:
    """The body of a streamed answer. A failure in the middle is an event, and nothing follows it."""

    def __init__(
        self, answers: Answers, first: Batch, collected: Sequence[Collected], shape: Shape, account: Account
    ) -> None:
        self._answers = answers
        self._first = first
        self._collected = collected
        self._shape = shape
        self._account = account
        self._sending_since: float | None = None  # on the loop's clock, while the connection takes no more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guard = asyncio.get_running_loop().create_task(self._guard(scope))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
            # What follows goes past the layers above, which look at starts alone.
            direct: Send = scope.get(SEND_IN_SCOPE, send)
            last = await self._deltas(direct)
            close(self._answers, self._collected, self._account)
            self._account.close()
            if last:
                await self._write(direct, last)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            guard.cancel()
            close(self._answers, self._collected, self._account)

    async def _deltas(self, send: Send) -> bytes:
        """Send all but the last event, and give that; nothing is left to send where nobody reads any more."""
        try:
            await self._write(send, self._shape.opening() + self._shape.events(self._first))
            while batch := await take(self._answers, self._collected):
                await self._write(send, self._shape.events(batch))
        except EdgellmError as error:
            problem = problem_of(error)
            self._account.refused(problem)
            return self._shape.failure(problem)
        return b"" if self._answers.abandoned else self._shape.closing(self._collected)

    async def _write(self, send: Send, data: bytes) -> None:
        """Blocks while the connection holds as much as it may."""
        self._sending_since = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": data, "more_body": True})
        self._sending_since = None

    async def _guard(self, scope: Scope) -> None:
        """Drop a client that does not read what it is sent; the answers of others go on."""
        limits: ReaderLimits = scope["app"].state.reader_limits
        hang_up: Callable[[], None] = scope.get(HANG_UP_IN_SCOPE, lambda: None)
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(limits.look_s)
            since = self._sending_since
            late = since is not None and clock() - since > limits.patience_s
            if late or (since is not None and self._answers.waiting > limits.waiting_tokens):
                self._answers.abandon("the client did not read its answer")
                hang_up()
                return
