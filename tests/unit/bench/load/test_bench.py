"""Whether a load's figures are the server's: a generator that was late or busy says so."""

from __future__ import annotations

import time

import pytest

from edgellm.bench.load.bench import LoadOrder, complaints, in_own_thread, warm_up_of
from edgellm.bench.load.client import Server
from edgellm.bench.load.measures import step_of
from edgellm.bench.load.plan import Load
from edgellm.errors import UsageError
from edgellm.records.bench import RequestRecord
from load_records import record, run_of


def said(*records: RequestRecord, busy: float = 0.1) -> list[str]:
    run = run_of(*records, busy=busy)
    return complaints(step_of(run, {}), run)


def test_requests_in_time_from_an_idle_generator_hold() -> None:
    assert said(*(record(n, n + 0.1, sent_s=n + 0.004) for n in range(9))) == []


def test_a_late_generator_is_said_to_be_late() -> None:
    (reason,) = said(*(record(n, n + 0.1, sent_s=n + 0.02) for n in range(9)))
    assert reason.startswith("the load generator was late: 1 % of the requests were sent 20.0 ms or more")
    assert "bound 5.0 ms" in reason


def test_lateness_that_is_nothing_beside_the_latency_holds() -> None:
    assert said(*(record(n, n + 2.0, sent_s=n + 0.02) for n in range(9))) == []


def test_a_generator_whose_core_is_full_says_so() -> None:
    (reason,) = said(record(0, 1), busy=0.93)
    assert reason.startswith("the load generator kept its own core 93% busy")


def test_a_run_without_an_answer_holds_for_nothing() -> None:
    assert said(record(0, status="failed", error="cut off")) == ["no request was answered whole"]


@pytest.mark.parametrize(
    ("load", "given", "clients", "requests"),
    [
        (Load("closed", concurrency=4, requests=9), None, 4, 4),
        (Load("closed", concurrency=4, requests=9), 1, 1, 1),
        (Load("poisson", rate_per_s=200.0, requests=9), None, 16, 16),
        (Load("poisson", rate_per_s=0.1, requests=9), None, 2, 2),
        (Load("closed", concurrency=4, requests=9), 0, 1, 0),
    ],
)
def test_warm_up_has_the_loads_clients(load: Load, given: int | None, clients: int, requests: int) -> None:
    warm_up = warm_up_of(LoadOrder(Server("http://127.0.0.1"), load, warm_up=given))
    assert (warm_up.concurrency, warm_up.requests) == (clients, requests)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http:///v1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address of a server"):
        _ = Server(url).base


@pytest.mark.parametrize("url", ["http://a:1", "http://a:1/", "http://a:1/v1", "http://a:1/v1/chat/completions"])
def test_every_form_of_an_address_is_taken(url: str) -> None:
    assert Server(url).base == "http://a:1/v1"


def test_what_fails_on_the_loops_thread_is_raised_here() -> None:
    async def fail() -> None:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        in_own_thread(fail)


def test_an_interrupt_here_ends_what_runs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio
    import threading

    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    join, calls = threading.Thread.join, []

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        calls.append(time.monotonic())
        join(self, timeout)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_own_thread(forever)
    assert ended.wait(30)
