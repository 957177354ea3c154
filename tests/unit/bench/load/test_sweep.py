"""A sweep ends where more load brings no more, or breaks the SLO."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edgellm.bench.load.generator import Run
from edgellm.bench.load.plan import Load
from edgellm.bench.load.sweep import Sweep, sweep
from load_records import record, run_of


def swept(answer: Callable[[Load], Run], slo_ms: dict[str, float] | None = None) -> Sweep:
    async def run(load: Load) -> Run:
        return answer(load)

    return asyncio.run(sweep(Load("closed", concurrency=1, duration_s=10), slo_ms or {}, run))


def saturating(load: Load) -> Run:
    """A server that has four places; with more clients each waits longer."""
    clients = load.concurrency or 0
    answers = [record(0.0, 0.1 * max(1, clients / 4), 1.0) for _ in range(min(clients, 4) * 5)]
    return run_of(*answers, label=load)


def test_the_knee_is_the_last_step_that_brought_more() -> None:
    found = swept(saturating)
    assert [step.label for step in found.steps] == ["c=1", "c=2", "c=4", "c=8"]
    assert found.knee == "c=4"
    assert found.why == "c=8 brought less than 5% more than c=4"
    assert found.steps[found.best].label == "c=4"


def test_a_broken_slo_ends_the_sweep_though_the_output_grows() -> None:
    def slower(load: Load) -> Run:
        clients = load.concurrency or 0
        return run_of(*(record(0.0, 0.1 * clients, 1.0) for _ in range(clients)), label=load)

    found = swept(slower, {"ttft": 300.0})
    assert [step.label for step in found.steps] == ["c=1", "c=2", "c=4"]
    assert found.knee == "c=2"
    assert found.why == "at c=4 only 0% of the requests kept the SLO"
    assert found.steps[found.best].label == "c=2"


def test_a_server_that_rejects_ends_the_sweep() -> None:
    def full(load: Load) -> Run:
        return run_of(
            record(0.0, 1.0), *(record(0.0, status="rejected") for _ in range(load.concurrency or 0)), label=load
        )

    found = swept(full)
    assert found.knee is None
    assert found.why == "at c=1 only 50% of the requests were answered"
