"""Results in the shapes of other tools, with those tools' own definitions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgellm.bench.load.definitions import DEFINITIONS
from edgellm.bench.load.distribution import level, rate, summary
from edgellm.bench.load.guidellm_export import guidellm_report
from edgellm.bench.load.measures import step_of
from edgellm.bench.load.plan import Load
from edgellm.bench.load.vllm_export import vllm_result
from edgellm.records.bench import LoadBench
from load_records import record, run_of
from oracles import oracle

# Sent 0.1 s after their time, so that the tools' definitions and ours differ.
RECORDS = (
    record(0.0, 0.5, 0.7, 1.1, end_s=1.2, sent_s=0.1),
    record(1.0, 1.4, 1.6, end_s=2.0, sent_s=1.1, tokens=5),
    record(2.0, 2.5, status="failed", error="cut off", sent_s=2.1),
    record(3.0, status="rejected", error="answered 429: full", sent_s=3.1),
)


def bench(load: Load | None = None, **changes: Any) -> LoadBench:
    load = load or Load("poisson", rate_per_s=1.0, duration_s=4.0)
    slo_ms = {"ttft": 450.0}
    found = step_of(run_of(*RECORDS, seconds=4.0, label=load), slo_ms)
    whole = {
        **dict(found), "url": "http://127.0.0.1:8080", "target": "tiny", "workload": {"name": "chat"},
        "arrival": load.arrival, "slo_ms": slo_ms, "definitions": DEFINITIONS, "records": RECORDS, "machine": {},
        "conditions": {}, "valid": True, "reasons": [], "created": "2026-01-02T03:04:05.000+00:00",
    }  # fmt: skip
    return LoadBench(**(whole | changes))


def test_vllm_counts_from_the_sending_to_the_last_event() -> None:
    found = vllm_result(bench())
    assert found["ttfts"] == pytest.approx([0.4, 0.3, 0.0, 0.0])
    assert found["itls"][0] == pytest.approx([0.2, 0.4])
    assert found["itls"][2:] == [[], []]
    assert found["median_e2el_ms"] == pytest.approx((1000 + 500) / 2)
    assert found["mean_tpot_ms"] == pytest.approx((300 + 50) / 2)
    assert (found["completed"], found["failed"], found["num_prompts"]) == (2, 2, 4)
    assert found["output_throughput"] == pytest.approx(8 / 4)
    assert found["output_lens"] == [3, 5, 0, 0]
    assert found["errors"][2:] == ["cut off", "answered 429: full"]
    assert (found["request_rate"], found["burstiness"], found["max_concurrency"]) == (1.0, 1.0, None)


def test_vllm_calls_a_closed_loop_an_infinite_rate() -> None:
    found = vllm_result(bench(Load("closed", concurrency=4, requests=4)))
    assert (found["request_rate"], found["max_concurrency"]) == ("inf", 4)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


READER = """
import json, sys
from guidellm.benchmark.schemas import GenerativeBenchmarksReport
from guidellm.schemas import StatusDistributionSummary as S

VALUES = ("time_to_first_token_ms", "inter_token_latency_ms", "time_per_output_token_ms", "request_latency")

def fresh(bench):
    ok, bad = bench.requests.successful, bench.requests.errored
    span = dict(successful=ok, incomplete=[], errored=bad)
    found = {name: S.from_values_function(function=lambda r: getattr(r, name) or 0.0, **span) for name in VALUES}
    rates = {"output_tokens_per_second": "output_tokens_timings", "requests_per_second": "request_end_time"}
    for name, times in rates.items():
        found[name] = S.rate_distribution_from_timings_function(
            function=lambda r: getattr(r, times), **span, start_time=bench.start_time, end_time=bench.end_time
        )
    return found

for path in sys.argv[1:]:
    (bench,) = GenerativeBenchmarksReport.load_file(path).benchmarks
    ours = {name: getattr(bench.metrics, name) for name in fresh(bench)}
    print(json.dumps({
        name: [ours[name].successful.model_dump(), each.successful.model_dump()] for name, each in fresh(bench).items()
    }))
"""
LOADS = (
    Load("poisson", rate_per_s=1.0, requests=4), Load("constant", rate_per_s=1.0, requests=4),
    Load("closed", concurrency=2, requests=4),
)  # fmt: skip


def test_guidellm_reads_its_report_and_computes_the_same_from_the_requests(tmp_path: Path) -> None:
    python = oracle("EDGELLM_GUIDELLM").with_name("python")
    paths = [tmp_path / f"{load.arrival}.json" for load in LOADS]
    for load, path in zip(LOADS, paths, strict=True):
        path.write_text(json.dumps(guidellm_report(bench(load)), allow_nan=False))
    command = [str(python), "-c", READER, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    for line in done.stdout.splitlines()[-len(LOADS) :]:
        for name, (ours, theirs) in json.loads(line).items():
            for key in ("mean", "min", "max", "count"):
                assert ours[key] == pytest.approx(theirs[key], rel=1e-3), (name, key)


def test_a_summary_over_time_weighs_by_time() -> None:
    """Ten after one of four seconds: 2.5 a second, and 5 a second while they count, from 0.5 to 2.5 s."""
    found = rate([(1.0, 10.0)], 0.0, 4.0)
    assert found["mean"] == pytest.approx(2.5)
    assert (found["max"], found["count"]) == (5.0, 10)
    assert level([(0.0, 1.0), (0.0, 3.0)], 0.0, 4.0)["mean"] == pytest.approx((2 + 1 + 1 + 0) / 4)


def test_a_summary_of_nothing_is_zeros() -> None:
    assert summary([])["percentiles"]["p50"] == 0.0
