"""From the threads of engines to the event loop, which is woken once for all that comes together."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from threading import get_ident
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class Mailroom:
    """What other threads posted and the loop has not seen yet. A step of an engine posts one item for each of its
    answers; waking a loop costs more than all the rest of handing them over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake_loop = loop.call_soon_threadsafe
        self._thread = get_ident()  # the loop's, on which it is made
        self._posted: deque[tuple[Mailbox[object], object]] = deque()
        self._called = False

    def post(self, box: Mailbox[object], item: object) -> None:
        """Any thread."""
        if get_ident() == self._thread and not self._posted:
            box.receive(item)
            return
        self._posted.append((box, item))
        if not self._called:
            self._called = True
            with suppress(RuntimeError):  # the loop is closed: the server ends, and nobody reads any more
                self._wake_loop(self._sort)

    def _sort(self) -> None:
        self._called = False  # before looking: what is posted from here on calls again
        posted = self._posted
        while posted:
            box, item = posted.popleft()
            box.receive(item)


ROOMS: WeakKeyDictionary[asyncio.AbstractEventLoop, Mailroom] = WeakKeyDictionary()


class Mailbox(Generic[T]):
    """Items for one coroutine. All methods but `put` belong to the loop that it was made on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = ROOMS.setdefault(self._loop, Mailroom(self._loop))
        self._items: list[T] = []
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, item: T) -> None:
        """Any thread."""
        self._room.post(self, item)  # type: ignore[arg-type]

    def receive(self, item: T) -> None:
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        """From now on `take` gives what is there, and then nothing."""
        self._closed = True
        self._wake()

    @property
    def waiting(self) -> int:
        """Items that nobody has taken."""
        return len(self._items)

    async def take(self) -> list[T]:
        """All that has come, once there is any; empty only after `close`."""
        if not self._items and not self._closed:
            self._waiter = self._loop.create_future()
            await self._waiter
        items, self._items = self._items, []
        return items

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
