"""A scheduler in a process of its own: the server's end, which starts it again when it dies.

llama.cpp ends the process on some errors, and the kernel does when memory runs out. Then the requests under way end
with an error, new ones are refused for as long as the model needs to load again, and the server goes on.
"""

from __future__ import annotations

import itertools
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from edgellm.engines.protocol import Logits, RuntimeInfo
from edgellm.errors import EdgellmError, EngineFailed, EngineRestarting
from edgellm.inference.admission import ServiceTime, check_request
from edgellm.inference.engine import EngineOrder
from edgellm.inference.engine_life import Life
from edgellm.inference.engine_messages import Cancel, Embed, Embedded, Submit, Turn
from edgellm.inference.generation import End, Generation, Item, Listener, Request, SchedulerState

LOOP_LOOK_S = 1.0  # between looks whether the event loop is still there


@dataclass(frozen=True)
class Restarts:
    """When to start again. A death is quick if the process served for less than `steady_s`."""

    quick_deaths: int = 5  # so many in a row are the end
    steady_s: float = 60.0
    delay_s: float = 0.5  # before the second attempt in a row; doubled for each further one
    look_s: float = 5.0  # between attempts while the machine cannot start any process


class EngineProcess:
    """`Generations` by a child process; see `Scheduler` for what its methods do.

    Listeners are called on one thread of this process: that of `loop` where one is given, which must run for as long
    as there are requests. While the child is being started again, `submit` raises EngineRestarting.
    """

    def __init__(
        self, order: EngineOrder, *, restarts: Restarts | None = None, tell: Callable[[str], None] = lambda _: None,
        loop: AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        """Blocks while the model loads; raises what loading raises. `tell` gets what whoever runs the server should
        know: a sentence for each death, and what the process itself warns of."""
        self._loop = loop
        self._order = order
        self._restarts = restarts or Restarts()
        self._tell = tell
        self._name = order.target.name
        self._lock = threading.Lock()  # guards what submits and ends share: all down to _failure
        self._numbers = itertools.count()
        self._generations: dict[int, Generation] = {}
        self._embeddings: dict[int, Future[Logits]] = {}
        self._closing = threading.Event()
        self._failure: EngineFailed | None = None
        self._service_time = ServiceTime()
        self._life = Life(order, self._pass_on)
        began = time.monotonic()
        try:
            loaded = self._life.load()
        except BaseException:
            self._life.kill()
            raise
        self._loading_s = time.monotonic() - began
        self.info: RuntimeInfo = loaded.info
        self._state = loaded.state
        self._thread = threading.Thread(target=self._supervise, name="edgellm-engine", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> EngineFailed | None:
        """EngineRestarting while a new process loads, another EngineFailed once it was given up."""
        return self._failure

    @property
    def pid(self) -> int:
        """Of the process that serves now, or loads to serve."""
        return self._life.pid

    def submit(self, request: Request, listener: Listener | None = None) -> Generation:
        check_request(request, self.info)
        with self._lock:
            self._check_open()
            places, waiting = self.info.sequences, self._order.scheduling.max_waiting
            if len(self._generations) >= places + waiting:
                raise self._service_time.queue_full(places, waiting)
            number = next(self._numbers)
            self._life.send(Submit(number, request))
            generation = self._generations[number] = Generation(request, listener, partial(self._cancel, number))
        return generation

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        with self._lock:
            self._check_open()
            number = next(self._numbers)
            self._life.send(Embed(number, prompts))
            future = self._embeddings[number] = Future()
        return future.result()

    def state(self) -> SchedulerState:
        """As of the last step; `waiting` is of this moment."""
        state, under_way = self._state, len(self._generations)
        running = min(state.running, under_way)
        return state._replace(running=running, waiting=under_way - running)

    def close(self, patience_s: float | None = None) -> bool:
        """As `Generations.close`; whatever still runs after `patience_s` is killed, so it always ends."""
        with self._lock:
            self._closing.set()
        self._life.end(patience_s)
        self._thread.join()
        return True

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise EngineFailed(f"{self._name} is closed and takes no more requests; open the model again")
        if self._failure is not None:
            raise self._failure.again()

    def _cancel(self, number: int) -> None:
        with self._lock:
            if number in self._generations:
                self._life.send(Cancel(number))

    # From here on everything runs on the supervising thread, but for what the event loop reads.

    def _supervise(self) -> None:
        try:
            self._live()
        except BaseException as fault:  # a fault of ours must not leave anyone waiting for ever
            reason = f"the engine process of {self._name} is left alone after {type(fault).__name__}: {fault}"
            self._end_all(EngineFailed(f"{reason}; restart the server"))
            raise

    def _live(self) -> None:
        quick_deaths = 0
        while True:
            self._receive()
            how = self._life.ending()
            if self._closing.is_set():
                self._end_all(EngineFailed("the model was closed before the answer was complete; ask again"))
                return
            loaded_at = self._life.loaded_at
            steady = loaded_at is not None and time.monotonic() - loaded_at >= self._restarts.steady_s
            quick_deaths = 0 if steady else quick_deaths + 1
            if quick_deaths >= self._restarts.quick_deaths:
                reason = f"the engine process of {self._name} {how}, {quick_deaths} times in a row; restart the server"
                self._end_all(EngineFailed(reason))
                return
            sentence = f"the engine process of {self._name} {how}; it is being started again"
            self._end_all(EngineRestarting(sentence, max(1, round(self._loading_s))))
            self._closing.wait(0 if quick_deaths < 2 else self._restarts.delay_s * 2 ** (quick_deaths - 2))
            self._revive()

    def _receive(self) -> None:
        """Hand over what comes, until the process dies."""
        if self._loop is not None:
            read_on(self._loop, self._life, self._take)
        while messages := self._life.receive():
            self._take(messages)

    def _take(self, messages: Sequence[object]) -> None:
        for message in messages:
            match message:
                case Turn(items, state):
                    self._state = state
                    for number, item in items:
                        self._deliver(number, item)
                case Embedded(number, vectors):
                    with self._lock:
                        future = self._embeddings.pop(number)
                    settle(future, vectors)

    def _deliver(self, number: int, item: Item) -> None:
        with self._lock:
            generation = self._generations[number]
            if isinstance(item, End):
                del self._generations[number]
        if isinstance(item, End) and item.timing is not None:
            self._service_time.note(item.timing.prompt_s + item.timing.decode_s)
        generation.deliver(item)
        if generation.cancelled:  # the child does not know that a listener has lost interest
            self._cancel(number)

    def _end_all(self, failure: EngineFailed) -> None:
        """Nothing is taken any more, and whatever is under way ends with this failure."""
        with self._lock:
            self._failure = failure
            generations, self._generations = list(self._generations.values()), {}
            futures, self._embeddings = list(self._embeddings.values()), {}
        for generation in generations:
            generation.deliver(End("failed", failure))
        for future in futures:
            settle(future, failure)
        if not self._closing.is_set():
            self._tell(str(failure))

    def _revive(self) -> None:
        """Start a process and load the model again; if that fails, the next turn of the loop finds it dead."""
        if not self._begin_anew():
            return
        try:
            loaded = self._life.load()
        except EdgellmError:
            return
        with self._lock:
            self._state = loaded.state
            self._failure = None
        self._tell(f"the engine process of {self._name} serves again")

    def _begin_anew(self) -> bool:
        """A new process, as soon as the machine can start one; False if the model is closed before that."""
        while True:
            with self._lock:
                if self._closing.is_set():
                    return False
                try:
                    self._life = Life(self._order, self._pass_on)
                    return True
                except EngineFailed as error:
                    reason = error
            self._tell(f"{self._name}: {reason}")
            self._closing.wait(self._restarts.look_s)

    def _pass_on(self, line: str) -> None:
        self._tell(f"{self._name}: {line}")


def read_on(loop: AbstractEventLoop, life: Life, take: Callable[[Sequence[object]], None]) -> None:
    """Let the event loop read messages and give them to `take`, until the process has died or the loop has ended.

    A thread that read them would have to wake the loop at every step, beside cores that are busy with the next one.
    """
    done = threading.Event()
    faults: list[BaseException] = []

    def read() -> None:
        try:
            take(life.heard(life.wire.receive_once()))
        except (EOFError, OSError):
            stop()
        except BaseException as fault:
            faults.append(fault)
            stop()

    def stop() -> None:
        loop.remove_reader(life.wire.fileno())
        done.set()

    with suppress(RuntimeError):  # the loop has ended, and what comes is read by the thread
        loop.call_soon_threadsafe(loop.add_reader, life.wire.fileno(), read)
        while not done.wait(LOOP_LOOK_S) and not loop.is_closed():
            pass
    if faults:
        raise faults[0]


def settle(future: Future[Logits], vectors: Logits | EdgellmError) -> None:
    if isinstance(vectors, EdgellmError):
        future.set_exception(vectors)
    else:
        future.set_result(vectors)
