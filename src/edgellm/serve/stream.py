"""The answers to one HTTP request on the event loop: items come from an engine's thread, deltas leave in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from starlette.types import Receive

from edgellm.errors import EdgellmError, TimeLimit
from edgellm.inference.answer import AnswerReader
from edgellm.inference.chat import Delta, Usage
from edgellm.inference.generation import End, Generation, Generations, Item, Request
from edgellm.serve.account import Account
from edgellm.serve.mailbox import Mailbox

Batch = list[tuple[int, Delta]]


@dataclass(frozen=True)
class Job:
    """One generation and what reads its tokens; `prompt` counts the prompts of the HTTP request, which may each be
    answered several times."""

    request: Request
    reader: AnswerReader
    prompt: int = 0


class Answers:
    """The answers to one HTTP request, until the client goes away.

    Nothing polls: an engine's thread wakes the loop, and the server wakes `receive` when the connection ends, which
    cancels what is under way.
    """

    def __init__(self, receive: Receive, scheduler: Generations, jobs: Sequence[Job], account: Account) -> None:
        """Submit every request, or none; raises what `Generations.submit` raises."""
        self.abandoned = False
        self._account = account
        self._box: Mailbox[tuple[int, Item]] = Mailbox()
        self._readers = [job.reader for job in jobs]
        self._open = set(range(len(jobs)))
        self._generations: list[Generation] = []
        try:
            for index, job in enumerate(jobs):
                self._generations.append(scheduler.submit(job.request, partial(self._hand_over, index)))
        except EdgellmError:
            self._cancel()
            raise
        loop = asyncio.get_running_loop()
        self._watcher = loop.create_task(self._watch(receive))
        left_s = account.left_s
        self._alarm = None if left_s is None else loop.call_later(left_s, self._expire)

    @property
    def waiting(self) -> int:
        """Items that have come and were not read yet."""
        return self._box.waiting

    async def batch(self) -> Batch:
        """All deltas that have come, neighbours of one answer joined, once there are any; none when all have ended.

        Raises the EngineFailed with which a generation ended.
        """
        batch: Batch = []
        while not batch and self._open:
            items = await self._box.take()
            if not items:
                return []
            for index, item in items:
                batch += [(index, delta) for delta in self._read(index, item)]
            batch = joined(batch)
        return batch

    def abandon(self, why: str) -> None:
        """Nobody reads any more. The first reason counts."""
        if self.abandoned:
            return
        self.abandoned = True
        self._account.abandoned(why)
        self._cancel()
        self._box.close()

    def close(self) -> None:
        """Free the places of whatever is still under way."""
        self._watcher.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        self._cancel()

    def cost(self, index: int) -> Usage:
        """What an answer has taken that has not come to its end."""
        generation = self._generations[index]
        return Usage(generation.prompt_tokens, generation.completion_tokens)

    def _read(self, index: int, item: Item) -> list[Delta]:
        """The deltas of an item. The last ones come with the engine's own end, also where a stop string ended the
        answer before: what was computed for it is only known then."""
        reader = self._readers[index]
        if isinstance(item, End):
            self._open.discard(index)
            if item.error is not None and not reader.stopped:
                raise item.error
            if item.reason == "cancelled" and not reader.stopped:
                return []
            return self._finished(reader, item)
        self._account.first_token()
        if reader.stopped:
            return []
        deltas = reader.take(item)
        if reader.stopped:
            self._generations[index].cancel()
        return deltas

    def _finished(self, reader: AnswerReader, end: End) -> list[Delta]:
        if end.timing is not None:
            self._account.timings.append(end.timing)
        return reader.finish("length" if end.reason == "length" else "stop", end.timing)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.abandon("the client went away")

    def _expire(self) -> None:
        error = TimeLimit(
            f"the request took longer than {self._account.max_time_s:g} s, which is the most that this server gives "
            "one; ask for a shorter answer"
        )
        for index in self._open:
            self._box.receive((index, End("failed", error)))
        self._cancel()

    def _cancel(self) -> None:
        for generation in self._generations:
            if generation.end is None:
                generation.cancel()

    def _hand_over(self, index: int, item: Item) -> None:
        self._box.put((index, item))


def joined(batch: Batch) -> Batch:
    """Deltas that wait together as few: each that only goes on with the same text of the same answer is one with it."""
    if len(batch) < 2:
        return batch
    out: Batch = []
    last: dict[int, int] = {}  # the place in `out` of each answer's last delta
    for index, delta in batch:
        at = last.get(index)
        whole = None if at is None else join(out[at][1], delta)
        if at is not None and whole is not None:
            out[at] = (index, whole)
        else:
            last[index] = len(out)
            out.append((index, delta))
    return out


def join(one: Delta, two: Delta) -> Delta | None:
    """Both as one delta, if they are of one kind."""
    if one.finish_reason or two.finish_reason or one.tools or two.tools:
        return join_arguments(one, two)
    if one.reasoning and two.reasoning and not one.content and not two.content:
        return Delta(reasoning=one.reasoning + two.reasoning)
    # Tokens that are told of stay beside the text that they spell.
    if one.content and two.content and not one.reasoning and not two.reasoning and not one.logprobs + two.logprobs:
        return Delta(content=one.content + two.content)
    return None


def join_arguments(one: Delta, two: Delta) -> Delta | None:
    if one.finish_reason or two.finish_reason or len(one.tools) != 1 or len(two.tools) != 1:
        return None
    (begun,), (more,) = one.tools, two.tools
    if more.id or more.name or more.index != begun.index:
        return None
    return Delta(tools=(replace(begun, arguments=begun.arguments + more.arguments),))
