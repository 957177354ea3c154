"""The bounds within which a machine's conditions must stay for a run to be valid, and the sentences when they do not.

Why each bound is where it is: `docs/design/conditions.md`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgellm.bench.nvidia import slowed_in_words
from edgellm.bench.processor_time import Load
from edgellm.bench.samples import Sample, first_and_last_clock

MAX_OTHER_LOAD = 0.10  # of the time of the cores given to us, before and during the run
MAX_STEAL = 0.05  # of the same, taken by other guests of a virtual machine's host
MAX_CLOCK_DROP = 0.10  # from the first to the last third of the run
MAX_THROTTLE_EVENTS = 0
MAX_SWAPPED_BYTES = 16 << 20
MAX_GPU_LOAD = 0.10  # before the run


@dataclass(frozen=True)
class Run:
    """What is held against the bounds. Pairs are (before, after); None is what the machine does not tell."""

    alone: bool
    sustained: bool
    samples: Sequence[Sample]
    other_before: float | None
    load: Load
    governors: tuple[Mapping[int, str], Mapping[int, str]]
    held_down: Mapping[int, str]
    throttle_counts: tuple[int | None, int | None]
    new_firmware_flags: frozenset[str]
    power_modes: tuple[str | None, str | None]
    on_battery: tuple[bool | None, bool | None]
    swapped_pages: tuple[int | None, int | None]
    faults: tuple[int | None, int | None]
    gpu_names: Sequence[str]
    gpu_busy_before: Sequence[float | None]

    @property
    def clock_first_mhz(self) -> float | None:
        return first_and_last_clock(self.samples)[0]

    @property
    def clock_last_mhz(self) -> float | None:
        return first_and_last_clock(self.samples)[1]

    @property
    def throttled(self) -> int | None:
        return rise(self.throttle_counts)

    @property
    def firmware_flags(self) -> set[str]:
        return {flag for sample in self.samples for flag in sample.firmware_flags} | self.new_firmware_flags

    @property
    def swapped_bytes(self) -> int | None:
        pages = rise(self.swapped_pages)
        return None if pages is None else pages * mmap.PAGESIZE

    @property
    def major_faults(self) -> int | None:
        return rise(self.faults)


def rise(pair: tuple[int | None, int | None]) -> int | None:
    early, late = pair
    return None if early is None or late is None else late - early


def reasons_against(run: Run) -> list[str]:
    """Why figures of this run do not hold; empty when they do."""
    heat = [] if run.sustained else [*clock_reasons(run), *heat_reasons(run)]
    return [*load_reasons(run), *setting_reasons(run), *heat, *gpu_reasons(run)]


def load_reasons(run: Run) -> Iterator[str]:
    for when, share in (("before", run.other_before), ("during", run.load.other if run.alone else None)):
        if share is not None and share > MAX_OTHER_LOAD:
            yield (
                f"other programs kept the processor busy {when} the run: {share:.0%} of its time "
                f"(bound {MAX_OTHER_LOAD:.0%})"
            )
    if run.load.steal is not None and run.load.steal > MAX_STEAL:
        yield (
            f"the host gave other guests {run.load.steal:.0%} of this virtual machine's processor time "
            f"(bound {MAX_STEAL:.0%})"
        )
    if run.swapped_bytes is not None and run.swapped_bytes > MAX_SWAPPED_BYTES:
        yield (
            f"the system swapped {run.swapped_bytes / 1e6:.0f} MB during the run "
            f"(bound {MAX_SWAPPED_BYTES / 1e6:.0f} MB)"
        )


def setting_reasons(run: Run) -> Iterator[str]:
    """Settings that hold the machine back, or that somebody changed."""
    if run.held_down:
        words = sorted(set(run.held_down.values()))[0]
        yield (
            f"{count_of(run.held_down)} at a low clock by the {words} (bound: none); "
            "choose another with: sudo cpupower frequency-set -g performance"
        )
    early, late = run.governors
    changed = [core for core in early if late.get(core) != early[core]]
    if changed:
        core = changed[0]
        yield f"the governor of core {core} changed during the run, from {early[core]} to {late.get(core, 'none')}"
    before, after = run.power_modes
    if before != after:
        yield f"the power mode changed during the run, from {before or 'unknown'} to {after or 'unknown'}"
    if run.on_battery[0] is False and run.on_battery[1]:
        yield "the machine was unplugged during the run and went on from its battery"


def clock_reasons(run: Run) -> Iterator[str]:
    first, last = run.clock_first_mhz, run.clock_last_mhz
    if first and last and (first - last) / first > MAX_CLOCK_DROP:
        yield (
            f"the processor's clock fell during the run from {first:.0f} to {last:.0f} MHz, "
            f"by {(first - last) / first:.0%} (bound {MAX_CLOCK_DROP:.0%})"
        )


def heat_reasons(run: Run) -> Iterator[str]:
    events = run.throttled
    if events is not None and events > MAX_THROTTLE_EVENTS:
        early, late = run.throttle_counts
        yield (
            f"the processor was slowed down for heat during the run: its throttle counts rose from {early} to {late} "
            f"(bound {MAX_THROTTLE_EVENTS} more)"
        )
    past = [temperature for sample in run.samples for temperature in sample.past_trip]
    if past:
        worst = max(past, key=lambda t: t.celsius)
        yield (
            f"the temperature of {worst.sensor} reached {worst.celsius:.0f} °C during the run "
            f"(bound: its trip point of {worst.trip_c:.0f} °C)"
        )
    if run.firmware_flags:
        yield f"the board's firmware held the processor back during the run: {', '.join(sorted(run.firmware_flags))}"


def gpu_reasons(run: Run) -> Iterator[str]:
    for i, name in enumerate(run.gpu_names):
        busy = run.gpu_busy_before[i]
        if busy is not None and busy > MAX_GPU_LOAD:
            yield f"other programs kept {name} busy before the run: {busy:.0%} of the time (bound {MAX_GPU_LOAD:.0%})"
        slow = [sample for sample in run.samples if slowed_in_words(sample.gpu_reasons[i])]
        if slow and not run.sustained:
            words = slowed_in_words(slow[0].gpu_reasons[i])
            yield (
                f"{name} was slowed down in {len(slow)} of {len(run.samples)} samples of the run "
                f"({', '.join(words)}; bound 0)"
            )


def count_of(cores: Mapping[int, str]) -> str:
    return f"core {next(iter(cores))} is held" if len(cores) == 1 else f"{len(cores)} cores are held"
