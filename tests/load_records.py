"""Records of requests that tests make by hand."""

from __future__ import annotations

from typing import Literal

from edgellm.bench.load.generator import Run
from edgellm.bench.load.plan import Load
from edgellm.records.bench import RequestRecord


def record(
    scheduled_s: float, *event_s: float, end_s: float | None = None, sent_s: float | None = None,
    tokens: int | None = -1, status: Literal["ok", "failed", "rejected"] = "ok", error: str = "",
) -> RequestRecord:  # fmt: skip
    """`tokens`: -1 is one for each event."""
    return RequestRecord(
        scheduled_s=scheduled_s, sent_s=scheduled_s if sent_s is None else sent_s,
        first_s=event_s[0] if event_s else None, event_s=event_s, status=status, error=error,
        end_s=end_s if end_s is not None else (event_s[-1] if event_s else scheduled_s),
        prompt_tokens=10, output_tokens=len(event_s) if tokens == -1 else tokens, output_characters=2 * len(event_s),
    )  # fmt: skip


def run_of(*records: RequestRecord, seconds: float = 10.0, label: Load | None = None, busy: float = 0.1) -> Run:
    load = label or Load("closed", concurrency=1, requests=len(records) or 1)
    return Run(load, list(records), 0.0, seconds, busy)
