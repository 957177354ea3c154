"""A scheduler in a process of its own, which may die without taking the server along: the child's end.

Run as `python -m edgellm.inference.engine_child FD`, where FD is a socket to the process that started it, over which
messages go as `engine_wire` says; the first one is the `EngineOrder`. The process never outlives the other end of its
socket.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from queue import SimpleQueue
from typing import NoReturn

from edgellm.engines.protocol import Logits
from edgellm.errors import EdgellmError, EngineFailed
from edgellm.inference.engine import EngineOrder, grammars_of, open_engine
from edgellm.inference.engine_messages import Cancel, Close, Embed, Embedded, Loaded, Refused, Said, Submit, Turn
from edgellm.inference.engine_wire import Wire
from edgellm.inference.generation import End, Generation, Item, Request


class EngineChild:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        # Sent by a thread of its own, which does it while the next step computes: whoever is woken by a message takes
        # a core, and between two steps all cores wait for the one thread that decodes.
        self._outbox: SimpleQueue[object] = SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._sender.start()
        self._generations: dict[int, Generation] = {}
        self._items: list[tuple[int, Item]] = []  # of the turn that runs; touched by the decode thread alone
        self._grammars = ThreadPoolExecutor(1, "edgellm-grammars")
        self._uncompiled: set[int] = set()  # requests that wait for their grammar and were not cancelled
        self._closing = threading.Event()
        self._patience_s: float | None = None  # for the last step, once it closes

    def run(self) -> None:
        """Load, then serve until the other end says so."""
        order, *others = self._wire.receive()  # whoever has no use for the model any more says so at once
        assert isinstance(order, EngineOrder)
        loaded = threading.Event()
        logging.getLogger("edgellm").addHandler(Telling(self._send))
        # While the weights are read: later it would hold up every answer under way.
        grammars = self._grammars.submit(grammars_of, order)
        try:
            # Listened to from the start: if the other end goes away meanwhile, loading is in vain.
            threading.Thread(target=self._listen, args=(others, loaded), daemon=True).start()
            with open_engine(order, lambda constraint: grammars.result()(constraint)) as scheduler:
                wait([grammars])  # where it failed, requests for a grammar are told, and others are served
                self._scheduler = scheduler
                scheduler.after_turn = self._end_turn
                self._send(Loaded(scheduler.info, scheduler.state()))
                loaded.set()
                self._closing.wait()
                if not scheduler.close(self._patience_s):
                    os._exit(0)
        except EdgellmError as error:
            self._send(Refused(error))
            self._give_up(error)
        self._finish_sending()

    def _listen(self, messages: Sequence[object], loaded: threading.Event) -> None:
        try:
            while True:
                for message in messages:
                    self._obey(message, loaded)
                messages = self._wire.receive()
        except (EOFError, OSError):
            os._exit(1)  # the other process has died: nobody wants what is computed here
        except BaseException:  # a process that hears nothing any more is of no use
            traceback.print_exc()
            os._exit(1)

    def _obey(self, message: object, loaded: threading.Event) -> None:
        match message:
            case Close(patience_s):
                if not loaded.is_set():
                    os._exit(0)
                self._patience_s = patience_s
                self._closing.set()
            case Submit(number, request):
                loaded.wait()
                if request.constraint is None:
                    self._submit(number, request)
                else:
                    self._uncompiled.add(number)
                    self._grammars.submit(self._submit_constrained, number, request)
            case Cancel(number):
                self._uncompiled.discard(number)
                if generation := self._generations.get(number):
                    generation.cancel()
            case Embed():
                threading.Thread(target=self._embed, args=(message,), daemon=True).start()

    def _submit_constrained(self, number: int, request: Request) -> None:
        """On a thread of its own, since a grammar may take a while: other requests come and go meanwhile."""
        if number not in self._uncompiled:
            self._send(Turn([(number, End("cancelled"))], self._scheduler.state()))
            return
        self._submit(number, request)
        generation = self._generations.get(number)
        if number not in self._uncompiled and generation is not None:
            generation.cancel()  # the order came before there was a generation
        self._uncompiled.discard(number)

    def _submit(self, number: int, request: Request) -> None:
        scheduler = self._scheduler
        try:
            generation = scheduler.submit(request, partial(self._take, number))
        except Exception as fault:
            error = fault if isinstance(fault, EdgellmError) else failed_on(fault)
            self._send(Turn([(number, End("failed", error))], scheduler.state()))
            return
        self._generations[number] = generation
        if generation.end is not None:  # it ended before it could be noted
            self._generations.pop(number, None)

    def _take(self, number: int, item: Item) -> None:
        self._items.append((number, item))
        if isinstance(item, End):
            self._generations.pop(number, None)

    def _end_turn(self) -> None:
        items, self._items = self._items, []
        self._send(Turn(items, self._scheduler.state()))
        if self._scheduler.failure is not None:
            self._give_up(self._scheduler.failure)  # the engine is broken, and a process that begins anew is the cure

    def _embed(self, message: Embed) -> None:
        try:
            vectors: Logits | EdgellmError = self._scheduler.embed(message.prompts)
        except Exception as fault:
            vectors = fault if isinstance(fault, EdgellmError) else failed_on(fault)
        self._send(Embedded(message.number, vectors))

    def _give_up(self, error: EdgellmError) -> NoReturn:
        """End the process, which says why in its last line."""
        self._finish_sending()
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)

    def _send(self, message: object) -> None:
        self._outbox.put(message)

    def _send_all(self) -> None:
        try:
            while (message := self._outbox.get()) is not None:
                self._wire.send(message)
        except OSError:
            os._exit(1)

    def _finish_sending(self) -> None:
        self._send(None)
        self._sender.join()


def failed_on(fault: Exception) -> EngineFailed:
    """A fault of ours, or of a library, that concerns one request."""
    return EngineFailed(f"the request could not be begun ({type(fault).__name__}: {fault}); ask for something else")


class Telling(logging.Handler):
    """Warnings reach whoever runs the server, who does not see the stderr of this process."""

    def __init__(self, tell: Callable[[object], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(Said(record.getMessage()))


def main() -> None:
    # Ctrl-C and a service manager's SIGTERM reach every process of the server, and so may the SIGHUP that means reading
    # the keys again; the one that started this ends it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    EngineChild(Wire(socket.socket(fileno=int(sys.argv[1])))).run()
    sys.stdout.flush()
    os._exit(0)  # no thread is waited for, and the model is freed


if __name__ == "__main__":
    main()
