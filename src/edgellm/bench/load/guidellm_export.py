"""A load result in the shape of guidellm's JSON report (its version 2), with guidellm's own definitions.

They differ from ours: guidellm counts from the sending of a request; its time per output token spreads the whole time
to the last token over all tokens; its inter-token latency is our TPOT, but for its end, which is the last token.
Everything is computed anew from the raw times. Rejected requests are among the errored ones.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from edgellm.bench.load.distribution import level, rate, summary
from edgellm.records.bench import LoadBench, RequestRecord

WRITTEN_FOR = "0.8.0"  # the guidellm whose schema this is
MEASURES = ("successful", "errored", "incomplete", "total")
WEBSOCKET = ("time_to_last_round_trip_ms", "avg_round_trip_time_ms")  # what only its websocket backend has


def guidellm_report(bench: LoadBench) -> dict[str, Any]:
    """The JSON document; times are Unix seconds."""
    began = datetime.fromisoformat(bench.created).timestamp()
    requests = {
        "successful": [stats(bench, record, number, began) for number, record in numbered(bench, "ok")],
        "errored": [stats(bench, record, number, began) for number, record in numbered(bench, "failed", "rejected")],
        "incomplete": [], "total": None,
    }  # fmt: skip
    backend = {"kind": "openai_http", "target": bench.url, "model": bench.target}
    data = {"kind": "in_memory_dict_list", "data": [{"workload": bench.workload.get("name", "")}]}
    spec = {"backend": backend, "profile": profile(bench), "constraints": constraints(bench), "data": [data]}
    return {
        "metadata": {
            "version": 2, "guidellm_version": WRITTEN_FOR, "python_version": platform.python_version(),
            "platform": platform.platform(),
        },
        "config": {"metadata": {"labels": {"made_by": "edgellm"}}, "spec": spec, "benchmarks": [None]},
        "benchmarks": [
            {
                "type_": "generative_benchmark",
                "config": {
                    "run_id": f"edgellm-{bench.created}", "run_index": 0, "strategy": strategy(bench),
                    "constraints": {each["kind"]: each for each in constraints(bench)}, "profile": profile(bench),
                    "requests": dict(bench.workload), "backend": backend, "slo": slo(bench),
                    "environment": dict(bench.machine),
                },
                "scheduler_state": scheduler_state(bench, began),
                "scheduler_metrics": scheduler_metrics(bench, began),
                "metrics": metrics(bench),
                "requests": requests,
                "start_time": began, "end_time": began + bench.duration_s, "duration": bench.duration_s,
                "warmup_duration": 0.0, "cooldown_duration": 0.0,
            }
        ],
    }  # fmt: skip


def numbered(bench: LoadBench, *statuses: str) -> list[tuple[int, RequestRecord]]:
    return [(number, record) for number, record in enumerate(bench.records) if record.status in statuses]


def profile(bench: LoadBench) -> dict[str, Any]:
    if bench.rate_per_s is None:
        return {"kind": "concurrent", "streams": [bench.concurrency]}
    return {"kind": "constant" if bench.arrival == "constant" else "poisson", "rate": [bench.rate_per_s]}


def strategy(bench: LoadBench) -> dict[str, Any]:
    if bench.rate_per_s is None:
        return {"type_": "concurrent", "streams": bench.concurrency}
    return {"type_": "constant" if bench.arrival == "constant" else "poisson", "rate": bench.rate_per_s}


def constraints(bench: LoadBench) -> list[dict[str, Any]]:
    return [{"kind": "max_requests", "count": max(1, len(bench.records))}]


def slo(bench: LoadBench) -> dict[str, float] | None:
    names = {"ttft": "ttft_ms", "tpot": "tpot_ms", "e2e": "e2el_ms"}
    return {names[name]: limit for name, limit in bench.slo_ms.items()} or None


def stats(bench: LoadBench, record: RequestRecord, number: int, began: float) -> dict[str, Any]:
    """One request with its times, and what guidellm computes of them."""
    name, end_s = f"edgellm-{number}", record.end_s if record.end_s is not None else record.sent_s
    timings: dict[str, Any] = {
        "targeted_start": began + record.scheduled_s, "queued": began + record.scheduled_s,
        "dequeued": began + record.scheduled_s, "scheduled_at": began + record.scheduled_s,
        "resolve_start": began + record.sent_s, "request_start": began + record.sent_s,
        "request_end": began + end_s, "resolve_end": began + end_s, "finalized": began + end_s,
        "request_iterations": len(record.event_s), "token_iterations": len(record.event_s),
    }  # fmt: skip
    if record.event_s:
        first, last = began + record.event_s[0], began + record.event_s[-1]
        timings |= {"first_request_iteration": first, "first_token_iteration": first}
        timings |= {"first_output_token_iteration": first, "last_token_iteration": last, "last_request_iteration": last}
    ok = record.status == "ok"
    return {
        "type_": "generative_request_stats", "request_id": name,
        "info": {
            "request_id": name, "conversation_id": str(record.conversation), "turn_index": record.turn,
            "status": "completed" if ok else "errored", "scheduler_node_id": 0, "scheduler_process_id": 0,
            "scheduler_start_time": began, "timings": timings, "error": None if ok else record.error,
        },
        "input_metrics": {"text_tokens": record.prompt_tokens, "text_characters": record.prompt_characters},
        "output_metrics": {"text_tokens": record.output_tokens, "text_characters": record.output_characters},
        "request_start_time": began + record.sent_s, "request_end_time": began + end_s,
        "prompt_tokens": record.prompt_tokens, "output_tokens": record.output_tokens,
        "request_latency": latency_s(record), "time_to_first_token_ms": ttft_ms(record),
        "time_per_output_token_ms": time_per_output_token_ms(record),
        "inter_token_latency_ms": inter_token_latency_ms(record),
    }  # fmt: skip


# What a request or an answer may hold, by what is counted of it; the counts of text stand beside these, the rest is
# none of ours.
CONTENTS = {
    "text": ("tokens", "words", "characters"), "image": ("tokens", "images", "pixels", "bytes"),
    "video": ("tokens", "frames", "seconds", "bytes"), "audio": ("tokens", "samples", "seconds", "bytes"),
    "tool_call": ("tokens", "mixed_tokens", "count"),
}  # fmt: skip
Measure = Callable[[RequestRecord], float | None]


def latency_s(record: RequestRecord) -> float | None:
    return None if record.end_s is None else record.end_s - record.sent_s


def ttft_ms(record: RequestRecord) -> float | None:
    return None if record.first_s is None else 1000 * (record.first_s - record.sent_s)


def time_per_output_token_ms(record: RequestRecord) -> float | None:
    if not record.event_s or not record.output_tokens:
        return None
    return 1000 * (record.event_s[-1] - record.sent_s) / record.output_tokens


def inter_token_latency_ms(record: RequestRecord) -> float | None:
    if not record.event_s or (record.output_tokens or 0) < 2:
        return None
    assert record.output_tokens is not None
    return 1000 * (record.event_s[-1] - record.event_s[0]) / (record.output_tokens - 1)


def total_tokens(record: RequestRecord) -> float | None:
    if record.prompt_tokens is None or record.output_tokens is None:
        return None
    return record.prompt_tokens + record.output_tokens


def tokens_per_event(record: RequestRecord) -> float | None:
    return None if not record.event_s or record.output_tokens is None else record.output_tokens / len(record.event_s)


def later_tokens_per_event(record: RequestRecord) -> float | None:
    """Without the first event, which guidellm takes to be one token."""
    if len(record.event_s) < 2 or (record.output_tokens or 0) < 2:
        return None
    assert record.output_tokens is not None
    return (record.output_tokens - 1) / (len(record.event_s) - 1)


VALUES: dict[str, Measure] = {
    "request_latency": latency_s,
    "request_streaming_iterations_count": lambda record: float(len(record.event_s)),
    "prompt_token_count": lambda record: record.prompt_tokens,
    "output_token_count": lambda record: record.output_tokens,
    "total_token_count": total_tokens,
    "time_to_first_token_ms": ttft_ms,
    "time_to_first_output_token_ms": ttft_ms,
    "time_per_output_token_ms": time_per_output_token_ms,
    "inter_token_latency_ms": inter_token_latency_ms,
    "output_tokens_per_iteration": tokens_per_event,
    "iter_tokens_per_iteration": later_tokens_per_event,
}


def groups(bench: LoadBench) -> dict[str, Sequence[RequestRecord]]:
    ok = [record for record in bench.records if record.status == "ok"]
    bad = [record for record in bench.records if record.status != "ok"]
    return {"successful": ok, "errored": bad, "incomplete": [], "total": bench.records}


def metrics(bench: LoadBench) -> dict[str, Any]:
    by_status, end_s = groups(bench), bench.duration_s
    found: dict[str, Any] = {"request_totals": {status: len(records) for status, records in by_status.items()}}
    for name, measure in VALUES.items():
        found[name] = {
            status: summary([value for record in records if (value := measure(record)) is not None])
            for status, records in by_status.items()
        }
    for name, events in RATES.items():
        found[name] = {
            status: rate([event for record in records for event in events(record)], 0.0, end_s)
            for status, records in by_status.items()
        }
    found["request_concurrency"] = {
        status: level([(record.sent_s, record.end_s) for record in records if record.end_s is not None], 0.0, end_s)
        for status, records in by_status.items()
    }
    found |= {name: {status: summary([]) for status in MEASURES} for name in WEBSOCKET}
    return found | {kind: dict.fromkeys(parts) for kind, parts in CONTENTS.items()}


def ends(record: RequestRecord) -> list[tuple[float, float]]:
    return [] if record.end_s is None else [(record.end_s, 1.0)]


def output(record: RequestRecord) -> list[tuple[float, float]]:
    """As guidellm has it: one token with the first event, and the rest spread evenly until the last."""
    tokens, events = record.output_tokens or 0, len(record.event_s)
    if events < 2:
        return [(record.event_s[-1] if events else record.end_s or record.sent_s, float(tokens))]
    first, last = record.event_s[0], record.event_s[-1]
    share = max(0, tokens - 1) / (events - 1)
    return [(first, float(tokens > 0))] + [
        (first + (last - first) * at / (events - 1), share) for at in range(1, events) if tokens > 1
    ]


def prompt(record: RequestRecord) -> list[tuple[float, float]]:
    return [] if record.first_s is None else [(record.first_s, float(record.prompt_tokens or 0))]


RATES: dict[str, Callable[[RequestRecord], list[tuple[float, float]]]] = {
    "requests_per_second": ends,
    "output_tokens_per_second": output,
    "prompt_tokens_per_second": prompt,
    "tokens_per_second": lambda record: prompt(record) + output(record),
}


def scheduler_state(bench: LoadBench, began: float) -> dict[str, Any]:
    sent, ok, end = len(bench.records), bench.requests.ok, began + bench.duration_s
    return {
        "node_id": 0, "num_processes": 1, "start_time": began, "end_time": end, "start_requests_time": began,
        "end_requests_time": end, "end_queuing_time": end, "end_processing_time": end, "created_requests": sent,
        "queued_requests": 0, "processed_requests": sent, "successful_requests": ok, "errored_requests": sent - ok,
    }  # fmt: skip


def scheduler_metrics(bench: LoadBench, began: float) -> dict[str, Any]:
    end = began + bench.duration_s
    late = sum(record.sent_s - record.scheduled_s for record in bench.records) / max(1, len(bench.records))
    latencies = [value for record in bench.records if (value := latency_s(record)) is not None]
    mean_s = sum(latencies) / max(1, len(latencies))
    nothing = ("queued_time", "resolve_start_delay", "request_start_delay", "resolve_end_delay", "finalized_delay")
    return {
        "start_time": began, "request_start_time": began, "measure_start_time": began, "measure_end_time": end,
        "request_end_time": end, "end_time": end, "strategy_type": strategy(bench)["type_"],
        "requests_made": {status: len(records) for status, records in groups(bench).items()},
        "generation_delay": summary([]), "request_time_avg": mean_s, "resolve_time_avg": mean_s,
        "resolve_targeted_start_delay_avg": late, "request_targeted_start_delay_avg": late,
        "processed_delay_avg": 0.0, **{f"{name}_avg": 0.0 for name in nothing},
    }  # fmt: skip
