"""The generator against a server that stamps its own chunks: what one says of the times, the other says too."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvloop

from edgellm.bench.load.client import Client, Server
from edgellm.bench.load.exchange import Asker
from edgellm.bench.load.generator import Generator, Run
from edgellm.bench.load.measures import step_of
from edgellm.bench.load.plan import Load
from edgellm.bench.load.workloads import Workload, WorkloadOptions
from edgellm.records.statistics import Interval
from stamping_server import stamping_server

MARKED = WorkloadOptions("chat", cache_busting=True)
CLOSE_MS, CLOSE_SHARE = 2.0, 0.02
ATTEMPTS = 5  # what else a machine does can come between a chunk's sending and its arrival


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stamping_server("--chunks", "8", "--first-ms", "20", "--gap-ms", "5") as url:
        yield url


def carried_out(url: str, load: Load, options: WorkloadOptions = MARKED, timeout_s: float = 30.0) -> Run:
    async def run() -> Run:
        async with Client(Server(url, timeout_s=timeout_s)) as client:
            return await Generator(Asker(client, "stamping"), Workload(options, len, nonce="00-")).run(load)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def log_of(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(urllib.request.urlopen(f"{url}/log").read())
    return found


@pytest.mark.parametrize(
    "load",
    [
        Load("poisson", rate_per_s=100, requests=200),
        Load("constant", rate_per_s=50, requests=100),
        Load("closed", concurrency=8, requests=200),
    ],
    ids=lambda load: load.arrival,
)
def test_percentiles_are_those_of_the_servers_own_stamps(url: str, load: Load) -> None:
    apart: dict[str, str] | None = None  # what has been in no run so far as it should
    for _ in range(ATTEMPTS):
        before = len(log_of(url))
        run = carried_out(url, load)
        seen = {each["number"]: each for each in log_of(url)[before:]}
        assert len(seen) == len(run.records) == load.requests
        now = differences(run, seen)
        apart = now if apart is None else {name: said for name, said in now.items() if name in apart}
        if not apart:
            return
    raise AssertionError(apart)


def differences(run: Run, seen: dict[int, dict[str, Any]]) -> dict[str, str]:
    """Each percentile that is further from the server's than it may be, by name."""
    step, found = step_of(run, {}), {}
    truth: dict[str, list[float]] = {"ttft_ms": [], "e2e_ms": []}
    for record in run.records:
        due = run.began_s + record.scheduled_s
        assert record.conversation is not None
        truth["ttft_ms"].append(1000 * (seen[record.conversation]["sent_s"][0] - due))
        truth["e2e_ms"].append(1000 * (seen[record.conversation]["ended_s"] - due))
    for measure, values in truth.items():
        for point in (50, 90, 99):
            measured, true = getattr(getattr(step, measure), f"p{point}"), float(np.percentile(values, point))
            if abs(measured - true) > max(CLOSE_MS, CLOSE_SHARE * true):
                found[f"{measure} p{point}"] = f"{measured:.2f}, and by the server {true:.2f}"
    return found


def test_every_event_is_kept_in_order_between_sending_and_end(url: str) -> None:
    run = carried_out(url, Load("closed", concurrency=2, requests=6))
    for record in run.records:
        assert record.status == "ok"
        assert len(record.event_s) == record.output_tokens == 8
        times = [record.scheduled_s, record.sent_s, *record.event_s, record.end_s]
        assert times == sorted(times, key=lambda time: time or 0.0)
        assert record.first_s == record.event_s[0]


def test_open_arrivals_do_not_wait_for_answers(url: str) -> None:
    """Answers take 55 ms; of a hundred requests a second several must be under way at once, and their times are the
    plan's, whatever became of those before."""
    run = carried_out(url, Load("constant", rate_per_s=100, requests=30))
    assert [record.scheduled_s for record in run.records] == pytest.approx([n / 100 for n in range(30)])
    assert all(record.sent_s >= record.scheduled_s for record in run.records)  # never before its time
    assert sum(record.sent_s < (run.records[0].end_s or 0.0) for record in run.records) > 2


def test_a_closed_loop_has_no_more_requests_under_way_than_clients(url: str) -> None:
    run = carried_out(url, Load("closed", concurrency=3, requests=12))
    changes = sorted([(r.sent_s, 1) for r in run.records] + [(r.end_s or 0.0, -1) for r in run.records])
    running = np.cumsum([change for _, change in changes])
    assert running.max() == 3
    assert all(record.status == "ok" for record in run.records)


def test_turns_carry_the_answers_that_were_given(url: str) -> None:
    before = len(log_of(url))
    options = WorkloadOptions("chat", cache_busting=True, turns=3)
    run = carried_out(url, Load("closed", concurrency=1, requests=3), options)
    assert [record.turn for record in run.records] == [0, 1, 2]
    first, second, third = log_of(url)[before:]
    assert [message["role"] for message in third["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert third["messages"][:3] == second["messages"]
    assert second["messages"][0] == first["messages"][0]
    spoken = [float(stamp) for stamp in third["messages"][1]["content"].split()]
    assert spoken == pytest.approx(first["sent_s"], abs=1e-5)


FAULTS = ("whole", "reject", "busy", "break", "redirect", "reset", "cut", "malformed", "error", "silent")


def test_each_kind_of_trouble_is_counted_as_what_it_is() -> None:
    with stamping_server("--faults", ",".join(FAULTS), "--first-ms", "5") as url:
        run = carried_out(url, Load("constant", rate_per_s=50, requests=len(FAULTS)), timeout_s=2.0)
    found = {FAULTS[record.conversation or 0]: record for record in run.records}
    assert [name for name, record in found.items() if record.status == "ok"] == ["whole"]
    assert [name for name, record in found.items() if record.status == "rejected"] == ["reject", "busy"]
    said = {name: found[name].error for name in FAULTS if found[name].status == "failed"}
    assert said["break"] == "answered 500: broken"
    assert said["redirect"] == "answered 307: redirects are not followed"
    assert "Error" in said["reset"]
    assert said["cut"] == "the stream ended before the answer was complete"
    assert said["malformed"].startswith("an event that is no JSON object")
    assert said["error"] == "an error in the stream: out of memory"
    assert said["silent"] == "no whole answer within 2 s"


def test_a_server_that_does_not_count_tokens_leaves_them_out() -> None:
    with stamping_server("--no-usage") as url:
        step = step_of(carried_out(url, Load("closed", concurrency=1, requests=2)), {})
    assert step.output_tokens_per_s is None
    assert step.tpot_ms is None
    assert step.ttft_ms is not None


def test_proxies_of_the_environment_are_not_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    run = carried_out(url, Load("closed", concurrency=1, requests=1))
    assert run.records[0].status == "ok"


def test_intervals_are_numbers(url: str) -> None:
    step = step_of(carried_out(url, Load("closed", concurrency=4, requests=20)), {})
    assert step.e2e_ms is not None
    for point in ("p50", "p90", "p99"):
        value, low, high = (getattr(step.e2e_ms, point + end) for end in ("", "_low", "_high"))
        assert Interval(value=value, low=low, high=high).low <= high
