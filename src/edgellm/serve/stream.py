"""Answers on the event loop: items come from the decode thread by callback, deltas leave by `async for`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial

from pydantic import BaseModel
from starlette.types import Receive

from edgellm.errors import EdgellmError
from edgellm.inference.answer import AnswerReader
from edgellm.inference.chat import Delta
from edgellm.inference.generation import End, Generation, Item, Request
from edgellm.inference.scheduler import Scheduler
from edgellm.serve.problems import problem_of

DONE = b"data: [DONE]\n\n"


class Answers:
    """The answers to one HTTP request (several where it holds several prompts), until the client goes away.

    Nothing polls: the decode thread wakes the loop for each item, and the server wakes `receive` when the
    connection ends, which cancels what is under way.
    """

    def __init__(self, receive: Receive, scheduler: Scheduler, pairs: Sequence[tuple[Request, AnswerReader]]) -> None:
        """Submit every request, or none; raises what `Scheduler.submit` raises."""
        self.abandoned = False
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[tuple[int, Item]] = asyncio.Queue()
        self._readers = [reader for _, reader in pairs]
        self._generations: list[Generation] = []
        try:
            for index, (request, _) in enumerate(pairs):
                self._generations.append(scheduler.submit(request, partial(self._hand_over, index)))
        except EdgellmError:
            self._cancel()
            raise
        self._watcher = self._loop.create_task(self._watch(receive))

    async def deltas(self) -> AsyncIterator[tuple[int, Delta]]:
        """(index of the prompt, delta) as they come; ends early if the client is gone.

        Raises the EngineFailed with which a generation ended.
        """
        open_answers = set(range(len(self._readers)))
        while open_answers:
            index, item = await self._items.get()
            if index not in open_answers:
                continue  # what was drawn after a stop string
            reader = self._readers[index]
            if isinstance(item, End):
                open_answers.discard(index)
                if item.error is not None:
                    raise item.error
                if item.reason in ("stop", "length"):
                    for delta in reader.finish(item.reason):
                        yield index, delta
                continue
            for delta in reader.take(item):
                yield index, delta
            if reader.stopped:
                open_answers.discard(index)
                self._generations[index].cancel()
                for delta in reader.finish("stop"):
                    yield index, delta

    def close(self) -> None:
        """Free the places of whatever is still under way."""
        self._watcher.cancel()
        self._cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.abandoned = True
        self._cancel()

    def _cancel(self) -> None:
        for generation in self._generations:
            if generation.end is None:
                generation.cancel()

    def _hand_over(self, index: int, item: Item) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server ends, and nobody reads any more
            self._loop.call_soon_threadsafe(self._items.put_nowait, (index, item))


async def first_then_rest(
    deltas: AsyncIterator[tuple[int, Delta]],
) -> AsyncIterator[tuple[int, Delta]] | None:
    """Wait for the first delta, so that a failure before it still gets a status of its own.

    None if there is no delta, because the client has gone.
    """
    try:
        first = await anext(deltas)
    except StopAsyncIteration:
        return None

    async def both() -> AsyncIterator[tuple[int, Delta]]:
        yield first
        async for item in deltas:
            yield item

    return both()


def event(record: BaseModel) -> bytes:
    """One server-sent event. JSON escapes line ends, so one data line holds it."""
    return f"data: {record.model_dump_json()}\n\n".encode()


async def events(
    answers: Answers,
    deltas: AsyncIterator[tuple[int, Delta]],
    chunk: Callable[[int, Delta], BaseModel],
    opening: Sequence[BaseModel],
    closing: Callable[[], Sequence[BaseModel]],
) -> AsyncIterator[bytes]:
    """The body of a streamed answer: opening chunks, one chunk a delta, closing chunks, [DONE].

    A failure in the middle is sent as an error event, and no [DONE] follows it.
    """
    try:
        for record in opening:
            yield event(record)
        async for index, delta in deltas:
            yield event(chunk(index, delta))
        for record in closing():
            yield event(record)
        yield DONE
    except EdgellmError as error:
        yield event(problem_of(error).body)
    finally:
        answers.close()
