"""What the load generator itself costs, and how far its times are from those of the server that it asks.

    PYTHONPATH=tests python benchmarks/load_generator.py [--rate 200] [--seconds 60] [--chunks 8] [--json FILE]

The server is a mock in another process, on another core where there are two, which stamps every chunk with the time
at which it sent it. Printed: how late requests were sent, this process's CPU time over the time that passed, and the
percentiles of TTFT and E2E, counted from the scheduled time, beside the same by the server's stamps.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import urllib.request
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import uvloop

from edgellm.bench.load.client import Client, Server
from edgellm.bench.load.exchange import Asker
from edgellm.bench.load.generator import Generator, Run
from edgellm.bench.load.measures import step_of
from edgellm.bench.load.plan import Load
from edgellm.bench.load.workloads import Workload, WorkloadOptions
from edgellm.records.bench import Percentiles
from stamping_server import stamping_server

POINTS = (50, 90, 99)


async def carried_out(url: str, load: Load) -> tuple[Run, float]:
    """The run, and the share of one core that this process took meanwhile."""
    options = WorkloadOptions("chat", cache_busting=True, output_tokens=(1000,))
    async with Client(Server(url)) as client:
        generator = Generator(Asker(client, "stamping"), Workload(options, len, nonce="00-"))
        generator.numbers = iter(range(10**6, 2 * 10**6))
        await generator.run(Load("closed", concurrency=32, requests=64))
        generator.numbers = iter(range(10**6))
        wall, cpu = perf_counter(), process_time()
        run = await generator.run(load)
        return run, (process_time() - cpu) / (perf_counter() - wall)


def truth(url: str, run: Run) -> dict[str, list[float]]:
    """The server's own percentiles in ms, by measure."""
    seen: dict[int, dict[str, Any]] = {
        each["number"]: each for each in json.loads(urllib.request.urlopen(f"{url}/log").read())
    }
    values: dict[str, list[float]] = {"ttft_ms": [], "e2e_ms": []}
    for record in run.records:
        assert record.conversation is not None
        due, own = run.began_s + record.scheduled_s, seen[record.conversation]
        values["ttft_ms"].append(1000 * (own["sent_s"][0] - due))
        values["e2e_ms"].append(1000 * (own["ended_s"] - due))
    return {name: [float(value) for value in np.percentile(each, POINTS)] for name, each in values.items()}


def of(found: Percentiles | None) -> list[float]:
    assert found is not None
    return [found.p50, found.p90, found.p99]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--first-ms", type=float, default=50)
    parser.add_argument("--gap-ms", type=float, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    words = ["--chunks", str(given.chunks), "--first-ms", str(given.first_ms), "--gap-ms", str(given.gap_ms)]
    os.sched_setaffinity(0, cores[-1:])  # the server's, which inherits it
    with stamping_server(*words) as url:
        os.sched_setaffinity(0, cores[:1])
        load = Load("poisson", rate_per_s=given.rate, duration_s=given.seconds)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            run, share = runner.run(carried_out(url, load))
        server = truth(url, run)
    step = step_of(run, {})
    events = sum(len(record.event_s) for record in run.records)
    print(f"{len(run.records)} requests, {events} events in {run.seconds:.1f} s; {step.requests.ok} ok")
    print(f"CPU time over time passed: {share:.1%} of a core (on the loop's thread {run.busy_share:.1%})")
    rows = {"lateness_ms": of(step.lateness_ms), "ttft_ms": of(step.ttft_ms), "e2e_ms": of(step.e2e_ms)}
    print("| ms | p50 | p90 | p99 |\n|---|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
        if name in server:
            print("| by the server | " + " | ".join(f"{value:.2f}" for value in server[name]) + " |")
    if given.json:
        found = {"settings": {key: str(value) for key, value in vars(given).items()}, "cpu_share": share}
        given.json.write_text(json.dumps(found | {"generator": rows, "server": server}, indent=1) + "\n")


if __name__ == "__main__":
    main()
