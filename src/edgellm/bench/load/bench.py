"""The load bench: find the server and its model, warm it up, carry out the load, say whether the figures hold."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from time import perf_counter
from typing import Any, TypeVar

from edgellm.bench.load.client import Client, Server, refused, unreachable
from edgellm.bench.load.definitions import DEFINITIONS
from edgellm.bench.load.exchange import Asker, Exchange, read_exchange
from edgellm.bench.load.generator import Generator, Report, Run
from edgellm.bench.load.measures import step_of
from edgellm.bench.load.plan import Load
from edgellm.bench.load.sweep import Sweep, sweep
from edgellm.bench.load.workloads import Count, Workload, WorkloadOptions, japanese_prose
from edgellm.errors import EngineFailed
from edgellm.records.bench import LoadBench, LoadStep
from edgellm.store.network import is_here, need_network

# Beyond these the figures are the generator's as much as the server's.
MOST_LATENESS_MS = 5.0  # at p99; or, where that is more, so large a share of the median TTFT:
MOST_LATENESS_SHARE = 0.02
MOST_BUSY_SHARE = 0.8  # of one core
WARM_UP_NUMBERS = 10**6  # conversations that no run reaches
OPEN_WARM_UP = (2, 16)  # requests at once before an open loop: about one second's worth, within these bounds
PROBE_CHARACTERS = 200
LOOK_EVERY_S = 0.2

Work = Callable[[str], AbstractContextManager[Report]]  # shows work of that name
T = TypeVar("T")


@dataclass(frozen=True)
class LoadOrder:
    """All that one load bench is told."""

    server: Server
    load: Load
    workload: WorkloadOptions = WorkloadOptions()
    model: str | None = None  # None: the first that the server lists
    count: Count | None = None  # exact tokens of a text; None: about, by what the server counts
    warm_up: int | None = None  # requests; None: as many as the load has clients
    slo_ms: Mapping[str, float] = field(default_factory=dict)
    sweep: bool = False


@dataclass
class Outcome:
    """What came of an order, before it is judged."""

    sweep: Sweep
    model: str
    workload: dict[str, Any]
    began: list[datetime]  # of each step


def bench_load(order: LoadOrder, work: Work) -> LoadBench:
    """Carry out the order. Raises NetworkNeeded, and EngineFailed or UsageError if the server is not there
    or answers nothing."""
    from edgellm.bench.conditions import Watch, describe_machine

    need_network(order.server.host, "the server")
    # Where the server is on this machine, that it works during the run is what was asked for.
    watch = Watch(alone=not is_here(order.server.host))
    watch.before()
    try:
        outcome = in_own_thread(lambda: carried_out(order, work))
    finally:
        watch.after()
    found = outcome.sweep
    best, run = found.steps[found.best], found.runs[found.best]
    reasons = [*watch.reasons, *complaints(best, run)]
    conditions = watch.conditions | {
        "generator_busy_share": round(run.busy_share, 3), "edgellm": version("edgellm"), "aiohttp": version("aiohttp"),
        "stopped": found.why,
    }  # fmt: skip
    return LoadBench(
        **dict(best), url=order.server.url, target=outcome.model, workload=outcome.workload,
        arrival="sweep" if order.sweep else order.load.arrival, slo_ms=dict(order.slo_ms), definitions=DEFINITIONS,
        steps=tuple(found.steps) if order.sweep else (), knee=found.knee if order.sweep else None,
        records=tuple(run.records), machine=describe_machine(), conditions=conditions,
        valid=not reasons, reasons=reasons, created=outcome.began[found.best].isoformat(timespec="milliseconds"),
    )  # fmt: skip


def complaints(step: LoadStep, run: Run) -> list[str]:
    """Why the figures are not the server's alone, or none; empty when they are."""
    found = []
    if not step.requests.ok:
        found.append("no request was answered whole")
    if step.lateness_ms is not None:
        bound = max(MOST_LATENESS_MS, MOST_LATENESS_SHARE * (step.ttft_ms.p50 if step.ttft_ms else 0.0))
        if step.lateness_ms.p99 > bound:
            found.append(
                f"the load generator was late: 1 % of the requests were sent {step.lateness_ms.p99:.1f} ms or more "
                f"after their time (bound {bound:.1f} ms)"
            )
    if run.busy_share > MOST_BUSY_SHARE:
        found.append(
            f"the load generator kept its own core {run.busy_share:.0%} busy (bound {MOST_BUSY_SHARE:.0%}); "
            "ask for less, or generate from several machines"
        )
    return found


async def carried_out(order: LoadOrder, work: Work) -> Outcome:
    async with Client(order.server) as client:
        asker = Asker(client, order.model or await client.first_model(), order.workload.ignore_eos)
        tokens, counted_by = order.count, "tokenizer"
        with work("look at the server"):
            per_token = await characters_per_token(asker, order.server.base)
        if tokens is None:
            counted_by = "the server's usage of two short prompts" if per_token else "characters"
            tokens = about(per_token or 1.0)
        workload = Workload(order.workload, tokens, nonce=f"{secrets.token_hex(4)}-")
        generator = Generator(asker, workload)
        warm_up = warm_up_of(order)
        if warm_up.requests:
            with work("warm up"):
                generator.numbers = count(WARM_UP_NUMBERS)
                check_answered(await generator.run(warm_up), order.server.base)
        generator.numbers = count()
        began: list[datetime] = []

        async def step(load: Load) -> Run:
            with work(f"load {load.label}") as report:
                began.append(datetime.now(UTC))
                return await generator.run(load, report)

        if order.sweep:
            found = await sweep(order.load, order.slo_ms, step)
        else:
            done = await step(order.load)
            found = Sweep([step_of(done, order.slo_ms)], [done])
        described = workload.describe() | {
            "counted_by": counted_by, "characters_per_token": per_token, "warm_up_requests": warm_up.requests,
        }  # fmt: skip
        return Outcome(found, asker.model, described, began)


def warm_up_of(order: LoadOrder) -> Load:
    """Requests that count for nothing, as many at once as the load's clients."""
    if order.load.concurrency is not None:
        clients = order.load.concurrency
    else:
        fewest, most = OPEN_WARM_UP
        clients = max(fewest, min(most, round(order.load.rate_per_s or 0)))
    requests = clients * order.workload.turns if order.warm_up is None else order.warm_up
    return Load("closed", concurrency=max(1, min(clients, requests)), requests=requests)


async def characters_per_token(asker: Asker, url: str) -> float | None:
    """Of Japanese prose, by what the server says that two prompts take; None where it does not count.

    Raises EngineFailed or UsageError if it answers neither.
    """
    prose = japanese_prose()[0].replace("\n", "")
    counts = []
    for text in (prose[:1], prose[: 1 + PROBE_CHARACTERS]):
        exchange = await asker.send([{"role": "user", "content": text}], 1, perf_counter())
        await read_exchange(exchange)
        if exchange.answer is None or exchange.raw.error:
            raise why_not(exchange, url)
        counts.append(exchange.answer.prompt_tokens)
    few, many = counts
    return PROBE_CHARACTERS / (many - few) if few is not None and many is not None and many > few else None


def why_not(exchange: Exchange, url: str) -> Exception:
    raw = exchange.raw
    if raw.error:
        return unreachable(url, raw.error)
    return refused(url, raw.status, b"".join(data for _, data in raw.reads))


def check_answered(run: Run, url: str) -> None:
    """Raises EngineFailed if no request of the warm-up was answered."""
    if not any(record.status == "ok" for record in run.records):
        raise EngineFailed(
            f"{url} answered none of the {len(run.records)} requests of the warm-up ({run.records[0].error}); "
            "check the model, the lengths and the server's log"
        )


def about(per_token: float) -> Count:
    return lambda text: len(text) / per_token


def in_own_thread(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a coroutine on an event loop of its own, so that a signal ends the waiting at once."""
    import uvloop

    done: list[T] = []
    failed: list[BaseException] = []
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None
        started.append((asyncio.get_running_loop(), task))
        return await make()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                done.append(runner.run(watched()))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="edgellm-load", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(LOOK_EVERY_S)
    except BaseException:
        for loop, task in started:
            with suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(task.cancel)
        raise
    if failed:
        raise failed[0]
    return done[0]
