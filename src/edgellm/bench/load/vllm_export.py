"""A load result in the shape that `vllm bench serve --save-result --save-detailed` writes, with vLLM's own definitions.

They differ from ours: vLLM counts from the sending of a request, E2EL ends with the last event that has text, and a
failed request has zeros. Everything is computed anew from the raw times. What we do not keep, `generated_texts`, is
left out, as vLLM does without `--save-detailed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from edgellm.records.bench import LoadBench, RequestRecord

PERCENTILES = (50, 90, 99)


def vllm_result(bench: LoadBench) -> dict[str, Any]:
    """The JSON document; times in seconds where vLLM has them so, and in ms where the name says it."""
    ok = [record for record in bench.records if record.status == "ok" and record.first_s is not None]
    inputs = sum(record.prompt_tokens or 0 for record in ok)
    outputs = sum(record.output_tokens or 0 for record in ok)
    seconds = bench.duration_s
    document: dict[str, Any] = {
        "date": datetime.fromisoformat(bench.created).strftime("%Y%m%d-%H%M%S"),
        "endpoint_type": "openai-chat", "backend": "openai-chat", "label": "edgellm", "model_id": bench.target,
        "tokenizer_id": bench.target, "num_prompts": len(bench.records),
        "request_rate": "inf" if bench.rate_per_s is None else bench.rate_per_s,
        "burstiness": None if bench.arrival == "constant" else 1.0, "max_concurrency": bench.concurrency,
        "duration": seconds, "completed": len(ok), "failed": len(bench.records) - len(ok),
        "total_input_tokens": inputs, "total_output_tokens": outputs,
        "request_throughput": len(ok) / seconds, "request_goodput": bench.goodput_per_s,
        "output_throughput": outputs / seconds, "total_token_throughput": (inputs + outputs) / seconds,
        "max_output_tokens_per_s": busiest_second(ok), "max_concurrent_requests": most_at_once(bench.records),
        "start_times": [record.sent_s for record in bench.records],
        "input_lens": [record.prompt_tokens or 0 for record in bench.records],
        "output_lens": [(record.output_tokens or 0) if record.status == "ok" else 0 for record in bench.records],
        "ttfts": [ttft_s(record) if record.status == "ok" else 0.0 for record in bench.records],
        "itls": [gaps_s(record) if record.status == "ok" else [] for record in bench.records],
        "errors": [record.error for record in bench.records],
    }  # fmt: skip
    longer = [record for record in ok if (record.output_tokens or 0) > 1]
    measures: Mapping[str, Sequence[float]] = {
        "ttft": [ttft_s(record) for record in ok],
        "tpot": [(latency_s(record) - ttft_s(record)) / ((record.output_tokens or 0) - 1) for record in longer],
        "itl": [gap for record in ok for gap in gaps_s(record)],
        "e2el": [latency_s(record) for record in ok],
    }
    for name, values in measures.items():
        document |= statistics(name, values)
    return document


def statistics(name: str, values_s: Sequence[float]) -> dict[str, float]:
    """Mean, median, deviation and percentiles in ms; zeros where there is no value, as vLLM has it."""
    values = np.asarray(values_s or [0.0]) * 1000
    found = {f"mean_{name}_ms": float(values.mean()), f"median_{name}_ms": float(np.median(values))}
    found[f"std_{name}_ms"] = float(values.std())
    return found | {f"p{point}_{name}_ms": float(np.percentile(values, point)) for point in PERCENTILES}


def ttft_s(record: RequestRecord) -> float:
    assert record.first_s is not None
    return record.first_s - record.sent_s


def latency_s(record: RequestRecord) -> float:
    return record.event_s[-1] - record.sent_s


def gaps_s(record: RequestRecord) -> list[float]:
    return [later - earlier for earlier, later in pairwise(record.event_s)]


def busiest_second(records: Sequence[RequestRecord]) -> float:
    """Most output tokens in one second of the run; a request's tokens are spread evenly over its events."""
    seconds: dict[int, float] = {}
    for record in records:
        for time_s in record.event_s:
            seconds[int(time_s)] = seconds.get(int(time_s), 0.0) + (record.output_tokens or 0) / len(record.event_s)
    return max(seconds.values(), default=0.0)


def most_at_once(records: Sequence[RequestRecord]) -> int:
    changes = [(record.sent_s, 1) for record in records]
    changes += [(record.end_s, -1) for record in records if record.end_s is not None]
    running = most = 0
    for _, change in sorted(changes):  # of one moment, ends first
        running += change
        most = max(most, running)
    return most
