"""What `edgellm doctor` finds out about a machine."""

from __future__ import annotations

from typing import Any

from edgellm.records.base import Record
from edgellm.records.bench import Ceilings


class EnergySource(Record):
    name: str  # `rapl`, `nvml`, `jetson`
    what: str  # what it counts
    readable: bool
    get_it_with: str | None = None  # the command that makes it readable


class Gpu(Record):
    name: str
    memory_bytes: int | None
    free_memory_bytes: int | None = None
    driver: str | None = None
    # Measured; None with `--quick`, and where CUDA's libraries are not to be had, which `missing` then says.
    memory_bandwidth_bytes_per_s: float | None = None
    flops_per_s: float | None = None
    how: str | None = None
    engines: tuple[str, ...] = ()  # those that compute on it


class Engine(Record):
    loads: bool
    build: str = ""
    backends: tuple[str, ...] = ()
    instruction_sets: tuple[str, ...] = ()
    devices: tuple[dict[str, Any], ...] = ()
    why_not: str = ""


class Missing(Record):
    what: str
    why: str
    get_it_with: str


class MachineReport(Record):
    cpu: dict[str, Any]
    memory_bytes: int
    free_memory_bytes: int
    memory_bandwidth_bytes_per_s: float | None  # None with `--quick`
    flops_per_s: float | None
    ceilings: Ceilings | None  # how both were measured
    gpus: tuple[Gpu, ...]
    energy_sources: tuple[EnergySource, ...]
    engines: dict[str, Engine]
    work: dict[str, Any]  # the work folder, and the free space of its disk
    offline: dict[str, bool]  # the variables that keep every verb off the network
    software: dict[str, str]
    conditions: dict[str, Any]  # as a benchmark would find them now
    reasons: tuple[str, ...]  # why a benchmark would not be valid now
    missing: tuple[Missing, ...]
    ok: bool

    @property
    def why_not_ok(self) -> str:
        """The end of a sentence."""
        if any(engine.loads for engine in self.engines.values()):
            return "there is not enough memory for the embedded model; end other programs"
        return "no engine loads; " + "; or ".join(
            f"{missing.what}: {missing.get_it_with}" for missing in self.missing if "engine" in missing.what
        )
