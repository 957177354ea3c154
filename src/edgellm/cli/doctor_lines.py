"""What `edgellm doctor` tells people: one aligned line a fact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgellm.records.machine import Gpu, MachineReport

WIDTH = 10


def lines_of(report: MachineReport) -> list[str]:
    return [f"{name:<{WIDTH}}{text}".rstrip() for name, text in facts(report)] + list(verdict(report))


def facts(report: MachineReport) -> Iterator[tuple[str, str]]:
    """(name, text); a name that goes on for a second line is empty there."""
    cpu = report.cpu
    of = f" of {cpu['cores_in_all']}" if cpu["cores_in_all"] != cpu["cores"] else ""
    quota = f", {cpu['quota_cores']:g} cores' time" if cpu["quota_cores"] else ""
    yield "cpu", f"{cpu['name']}, {cpu['cores']}{of} cores{quota}{', virtual' if cpu['virtual'] else ''}"
    yield "", " ".join(cpu["instruction_sets"])
    yield "memory", f"{report.memory_bytes / 2**30:.1f} GiB, {report.free_memory_bytes / 2**30:.1f} GiB free"
    if report.memory_bandwidth_bytes_per_s and report.flops_per_s and report.ceilings:
        yield "reads", f"{report.memory_bandwidth_bytes_per_s / 1e9:.1f} GB/s"
        yield "computes", f"{report.flops_per_s / 1e9:.0f} GFLOP/s"
        yield "", report.ceilings.how
    for gpu in report.gpus:
        yield "gpu", ", ".join([gpu.name, *gpu_words(gpu)])
    if not report.gpus:
        yield "gpu", "none"
    for source in report.energy_sources:
        yield "energy", f"{source.name}: {source.what}{'' if source.readable else ' (not readable)'}"
    if not report.energy_sources:
        yield "energy", "no counter"
    for name, engine in report.engines.items():
        yield name, f"{engine.build}; on {', '.join(engine.backends)}" if engine.loads else f"no: {engine.why_not}"
    yield "work", f"{report.work['folder']}, {report.work['free_bytes'] / 1e9:.1f} GB free"
    offline = [name for name, is_on in report.offline.items() if is_on]
    yield "network", f"forbidden by {', '.join(offline)}" if offline else "only when a verb is told to use it"


def gpu_words(gpu: Gpu) -> list[str]:
    """What is known of it."""
    memory, bandwidth, flops = gpu.memory_bytes, gpu.memory_bandwidth_bytes_per_s, gpu.flops_per_s
    return [
        *([f"{memory / 2**30:.1f} GiB"] if memory else []),
        *([f"reads {bandwidth / 1e9:.0f} GB/s"] if bandwidth else []),
        *([f"computes {flops / 1e12:.1f} TFLOP/s (f16)"] if flops else []),
    ]


def verdict(report: MachineReport) -> Iterator[str]:
    for missing in report.missing:
        yield f"missing: {missing.what} ({missing.why}) — get it with: {missing.get_it_with}"
    for reason in report.reasons:
        yield f"a benchmark would not be valid now: {reason}"
    yield "ok" if report.ok else "not ok"
