"""Carries out a load: sends each request when the plan has it sent, and keeps what came back with its times.

Little happens while time is taken. Bytes are kept as they came; what they say is read when an answer has ended, in
slices between which everything else goes on. Times are of `perf_counter`, which no loop rounds.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter, thread_time

from edgellm.bench.load.exchange import Asker, Exchange, Message, read_exchange, record_of
from edgellm.bench.load.plan import Load, arrival_times
from edgellm.bench.load.workloads import Workload
from edgellm.records.bench import RequestRecord

REPORT_EVERY_S = 0.5
SHORTEST_SLEEP_S = 0.001  # what event loops can time
REFUSED_PAUSE_S = 0.1  # of a closed loop's client that got no answer, which would else ask a thousand times a second

Report = Callable[[int, int], None]


@dataclass
class Run:
    """What a load was, as it happened."""

    load: Load
    records: list[RequestRecord] = field(default_factory=list)
    began_s: float = 0.0  # on `perf_counter`; the records' times count from here
    seconds: float = 0.0  # from the start to the end of the last whole answer
    busy_share: float = 0.0  # of one core, taken by this generator


class Generator:
    """Sends conversations of a workload; `numbers` says which come next, so that no two loads send the same."""

    def __init__(self, asker: Asker, workload: Workload) -> None:
        self._asker, self._workload = asker, workload
        self.numbers: Iterator[int] = count()
        self._exchanges: list[Exchange] = []
        self._reading: set[asyncio.Task[None]] = set()

    async def run(self, load: Load, report: Report | None = None) -> Run:
        """Send all of the load and wait for every answer."""
        self._exchanges = []
        times = None if load.concurrency is not None else arrival_times(load, self._workload.options.seed)
        self._workload.prepare(len(times) if times is not None else load.requests or 1000)
        with quiet_memory():
            start, busy = perf_counter(), thread_time()
            ticker = asyncio.create_task(self._tell(start, load, report)) if report else None
            try:
                await (self._open(start, times) if times is not None else self._closed(start, load))
            finally:
                if ticker is not None:
                    ticker.cancel()
            await asyncio.gather(*self._reading)
            busy_share = (thread_time() - busy) / max(perf_counter() - start, 1e-9)
        # One that failed may have ended long after the last answer, by its time limit.
        whole = [each for each in self._exchanges if each.status == "ok"]
        end = max((each.raw.end_s for each in whole or self._exchanges), default=start)
        seconds = max(end - start, 1e-9)
        records = [record_of(each, start) for each in sorted(self._exchanges, key=lambda each: each.scheduled_s)]
        return Run(load, records, start, seconds, busy_share)

    async def _closed(self, start: float, load: Load) -> None:
        assert load.concurrency is not None
        left = load.requests

        async def client() -> None:
            nonlocal left
            free = start
            while (left is None or left > 0) and (load.duration_s is None or free < start + load.duration_s):
                if left is not None:
                    left -= self._workload.options.turns
                last = await self._converse(next(self.numbers), free)
                free = last.raw.end_s
                if last.raw.status != 200:
                    await asyncio.sleep(REFUSED_PAUSE_S)
                    free = perf_counter()

        await asyncio.gather(*(client() for _ in range(load.concurrency)))

    async def _open(self, start: float, times: list[float]) -> None:
        tasks = []
        for time_s in times:
            while (wait := start + time_s - perf_counter()) > 0:
                await asyncio.sleep(max(wait, SHORTEST_SLEEP_S))
            tasks.append(asyncio.create_task(self._converse(next(self.numbers), start + time_s)))
        await asyncio.gather(*tasks)

    async def _converse(self, number: int, scheduled_s: float) -> Exchange:
        """One conversation to its end, or to the first answer that fails; gives its last exchange."""
        conversation = self._workload.conversation(number)
        history: list[Message] = []
        for turn, text in enumerate(conversation.messages):
            history.append({"role": "user", "content": text})
            exchange = await self._asker.send(history, conversation.output_tokens, scheduled_s, number, turn)
            self._exchanges.append(exchange)
            if turn == len(conversation.messages) - 1:  # nobody waits for what it says
                task = asyncio.create_task(read_exchange(exchange))
                self._reading.add(task)
                task.add_done_callback(self._reading.discard)
                break
            await read_exchange(exchange)
            if exchange.status != "ok" or exchange.answer is None:
                break
            history.append({"role": "assistant", "content": exchange.answer.text})
            scheduled_s = perf_counter()  # reading the answer is this generator's time, not the server's
        return exchange

    async def _tell(self, start: float, load: Load, report: Report) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            if load.requests is not None:
                report(min(len(self._exchanges), load.requests), load.requests)
            elif load.duration_s is not None:
                report(min(int(perf_counter() - start), int(load.duration_s)), int(load.duration_s))


@contextmanager
def quiet_memory() -> Iterator[None]:
    """No garbage collection, which would hold up every time that is taken in the meanwhile."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
