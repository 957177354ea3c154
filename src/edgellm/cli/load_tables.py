"""What a load bench prints for people."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from edgellm.records.bench import LoadBench, LoadStep, Percentiles

MEASURES = {"TTFT": "ttft_ms", "TPOT": "tpot_ms", "ITL": "itl_ms", "E2E": "e2e_ms", "lateness": "lateness_ms"}
STEPS = ("load", "ok", "failed", "rejected", "req/s", "tok/s", "good/s", "TTFT p50", "p99", "TPOT p50")
WIDTH = 118


def print_load(result: LoadBench) -> None:
    console = Console()
    say = click.echo
    workload = result.workload
    lengths = ", ".join(f"{each['prompt_tokens'] or 'short'}+{each['output_tokens']}" for each in workload["lengths"])
    say(
        f"{result.target} at {result.url}: {result.arrival}, {result.label}, {result.duration_s:.1f} s; "
        f"{workload['name']} (tokens: {lengths}), {workload['turns']} turn(s), "
        f"cache busting {'on' if workload['cache_busting'] else 'off'}; "
        f"{workload['warm_up_requests']} requests of warm-up not counted"
    )
    if result.steps:
        console.print(steps(result))
        say(f"knee: {result.knee or 'below the first step'}; {result.conditions['stopped']}. Of {result.label}:")
    console.print(latencies(result))
    for line in rates(result):
        say(line)
    for name, meaning in result.definitions.items():
        say(textwrap.fill(f"{name}: {meaning}", WIDTH, subsequent_indent="  "))
    if not result.valid:
        say(f"not valid: {'; '.join(result.reasons)}", err=True)


def latencies(result: LoadStep) -> Table:
    right = [Column(head, justify="right") for head in ("p50", "[95 %]", "p90", "[95 %]", "p99", "[95 %]", "mean")]
    table = Table("ms", *right, box=None, pad_edge=False)
    for name, key in MEASURES.items():
        found: Percentiles | None = getattr(result, key)
        if found is None:
            continue
        cells = []
        for point in ("p50", "p90", "p99"):
            value, low, high = (getattr(found, point + end) for end in ("", "_low", "_high"))
            cells += [short(value), f"{short(low)}–{short(high)}"]
        table.add_row(name, *cells, short(found.mean))
    return table


def steps(result: LoadBench) -> Table:
    table = Table(STEPS[0], *(Column(head, justify="right") for head in STEPS[1:]), box=None, pad_edge=False)
    for step in result.steps:
        counts, ttft, tpot = step.requests, step.ttft_ms, step.tpot_ms
        table.add_row(
            step.label, str(counts.ok), str(counts.failed), str(counts.rejected), short(step.requests_per_s),
            short(step.output_tokens_per_s), short(step.goodput_per_s), short(ttft.p50 if ttft else None),
            short(ttft.p99 if ttft else None), short(tpot.p50 if tpot else None),
        )  # fmt: skip
    return table


def rates(result: LoadBench) -> list[str]:
    counts = result.requests
    said = [f"requests: {counts.ok} ok, {counts.failed} failed, {counts.rejected} rejected"]
    said += [f"  failed {number}: {reason}" for reason, number in result.failures.items()]
    tokens = "not counted by the server" if result.output_tokens_per_s is None else short(result.output_tokens_per_s)
    said.append(
        f"requests/s: {short(result.requests_per_s)}; output tokens/s: {tokens}; "
        f"output characters/s: {short(result.output_characters_per_s)}"
    )
    if result.goodput_per_s is not None:
        limits = ", ".join(f"{name} ≤ {limit:g} ms" for name, limit in result.slo_ms.items())
        said.append(f"goodput/s: {short(result.goodput_per_s)} ({limits})")
    return said


def short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
