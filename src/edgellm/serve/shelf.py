"""The models of a server in memory: loaded when they are asked for, kept by least-recent use, never dropped in use."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from edgellm.errors import EngineFailed, QueueFull, UsageError
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.serve.problems import Problem

ROOM_WAIT_S = 30.0  # for models in use to fall idle, before a request for another one is told to come back
LOOK_S = 0.1
RETRY_S = 5
CLOSE_PATIENCE_S = 10.0  # for an idle model to make room, before its process is killed

T = TypeVar("T")


@dataclass(frozen=True)
class Offer:
    """A model that a server may load, and what is known of it before."""

    name: str
    # Blocks while it loads, in a thread of its own; raises an EdgellmError. What it answers may come on the loop.
    open: Callable[[asyncio.AbstractEventLoop], LocalChat]
    adapters: tuple[str, ...] = ()
    defaults: SamplingOptions = field(default_factory=SamplingOptions)
    memory_bytes: int = 0  # what it takes when it is loaded, by estimate


@dataclass
class Slot:
    offer: Offer
    chat: LocalChat | None = None
    loading: asyncio.Task[LocalChat] | None = None
    users: int = 0  # requests that wait for it, or have it and have not submitted yet
    used: float = 0.0  # when the last one let go of it, on the monotonic clock

    @property
    def idle(self) -> bool:
        """Loaded and without work. A request is under way in the scheduler from `submit` to its end."""
        if self.chat is None or self.users:
            return False
        state = self.chat.scheduler.state()
        return state.running + state.waiting == 0


class Shelf:
    """Every method runs on the event loop."""

    def __init__(self, offers: Sequence[Offer], *, memory_bytes: int | None, max_waiting: int) -> None:
        """Raises UsageError for a model that needs more than `memory_bytes` alone."""
        self._slots: dict[str, Slot] = {}
        self._memory_bytes = memory_bytes
        self._max_waiting = max_waiting
        self._one_at_a_time = asyncio.Lock()  # two that load at once would each see the room that only one can have
        for offer in offers:
            if memory_bytes is not None and offer.memory_bytes > memory_bytes:
                raise UsageError(
                    f"{offer.name} needs about {offer.memory_bytes / 1e9:.2f} GB and --memory allows "
                    f"{memory_bytes / 1e9:.2f} GB; raise it, or lower --context, --parallel or --cache-memory"
                )
            self._slots[offer.name] = Slot(offer)

    @property
    def loaded(self) -> Mapping[str, LocalChat]:
        return {name: slot.chat for name, slot in self._slots.items() if slot.chat is not None}

    @asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[LocalChat]:
        """The model called `name`, loaded if need be, and not dropped within the block nor while it answers.

        Raises QueueFull if too many wait for it, Problem 503 if there is no room beside models in use, and what
        loading raises.
        """
        slot = self._slots[name]
        if slot.chat is None and slot.users > self._max_waiting:  # the first of them is whom it is loaded for
            raise QueueFull(f"{slot.users} requests wait until {name} is loaded; try again later", RETRY_S)
        slot.users += 1
        try:
            yield slot.chat or await self._loaded(slot)
        finally:
            slot.users -= 1
            slot.used = time.monotonic()

    async def close(self, patience_s: float) -> None:
        """End every model, with what it answers at the moment; one that loads is left to the end of the process."""
        for slot in self._slots.values():
            if slot.loading is not None:
                slot.loading.cancel()
        chats = self.loaded.values()
        await asyncio.gather(*(run_in_threadpool(chat.close, patience_s) for chat in chats))

    async def _loaded(self, slot: Slot) -> LocalChat:
        """All who wait share one attempt. It goes on when one of them goes away."""
        if slot.loading is None:
            slot.loading = asyncio.create_task(self._load(slot))
            # Its error counts as seen, even if nobody waits for it any more.
            slot.loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        loading = slot.loading
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            if loading.cancelled():
                raise EngineFailed(f"the server was stopped before {slot.offer.name} was loaded; ask again") from None
            raise

    async def _load(self, slot: Slot) -> LocalChat:
        try:
            async with self._one_at_a_time:
                await self._make_room(slot.offer)
                slot.chat = await in_thread(partial(slot.offer.open, asyncio.get_running_loop()))
            return slot.chat
        finally:
            slot.loading = None

    async def _make_room(self, offer: Offer) -> None:
        deadline = time.monotonic() + ROOM_WAIT_S
        while self._memory_bytes is not None and self._taken_bytes() + offer.memory_bytes > self._memory_bytes:
            idle = [slot for slot in self._slots.values() if slot.idle]
            if idle:
                slot = min(idle, key=lambda each: each.used)
                chat, slot.chat = slot.chat, None
                assert chat is not None
                await run_in_threadpool(chat.close, CLOSE_PATIENCE_S)
            elif time.monotonic() < deadline:
                await asyncio.sleep(LOOK_S)
            else:
                message = f"there is no memory for {offer.name} beside the models in use; try again later"
                headers = {"Retry-After": str(RETRY_S)}
                raise Problem(503, message, kind="server_error", code="no_memory", headers=headers)

    def _taken_bytes(self) -> int:
        return sum(slot.offer.memory_bytes for slot in self._slots.values() if slot.chat is not None)


async def in_thread(work: Callable[[], T]) -> T:
    """Run in a thread that the end of the process does not wait for, unlike one of a pool."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (work(), None)
        except BaseException as error:
            outcome = (None, error)
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            loop.call_soon_threadsafe(finish, *outcome)

    threading.Thread(target=run, name="edgellm-load", daemon=True).start()
    return await done
