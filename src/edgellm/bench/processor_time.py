"""What the processor did over a stretch of time: how much of it for this program, for others, and for other guests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from edgellm.bench.tree import Tree

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LEAST_SPAN_S = 0.2  # of processor time; the system counts in hundredths of a second
# Where the times are in a line of /proc/stat, and in one of /proc/PID/stat after the program's name.
USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL = range(8)
BUSY = (USER, NICE, SYSTEM, IRQ, SOFTIRQ)
PARENT, MAJOR_FAULTS, CHILD_MAJOR_FAULTS = 1, 9, 10
TIMES = slice(11, 15)  # user, system, and the same of children that have ended


@dataclass(frozen=True)
class ProcessorTime:
    """Seconds since the machine started, of the cores that this program may use, all of them together.

    `own_s` includes the processes that this one has started. None stands for what the system does not tell.
    """

    busy_s: float
    total_s: float
    steal_s: float | None
    own_s: float | None
    own_major_faults: int | None


@dataclass(frozen=True)
class Load:
    """Shares of the cores' time, between two looks."""

    other: float | None
    own: float | None
    steal: float | None
    busy: float | None


def processor_time(tree: Tree, cores: Sequence[int]) -> ProcessorTime | None:
    rows = ticks_of(tree, cores)
    if not rows:
        return by_psutil() if tree.is_real and tree.text("proc/stat") is None else None
    own = own_use(tree, os.getpid())
    return ProcessorTime(
        busy_s=sum(row[i] for row in rows for i in BUSY) / TICKS_PER_S,
        total_s=sum(map(sum, rows)) / TICKS_PER_S,
        steal_s=sum(row[STEAL] for row in rows) / TICKS_PER_S,
        own_s=own and own[0],
        own_major_faults=own and own[1],
    )


def ticks_of(tree: Tree, cores: Sequence[int]) -> list[list[int]]:
    """What each of the cores has spent its time on, in ticks."""
    wanted = {f"cpu{core}" for core in cores}
    lines = [line.split() for line in (tree.text("proc/stat") or "").splitlines()]
    return [[int(field) for field in line[1:9]] for line in lines if len(line) > 1 + STEAL and line[0] in wanted]


def busy_and_total(tree: Tree, cores: Sequence[int]) -> tuple[int, int] | None:
    """Ticks of the given cores, from one file: cheap enough to ask while a benchmark runs."""
    rows = ticks_of(tree, cores)
    return (sum(row[i] for row in rows for i in BUSY), sum(map(sum, rows))) if rows else None


def own_use(tree: Tree, pid: int) -> tuple[float, int] | None:
    """(seconds, major page faults) of a process and all that it has started; of those that ended too."""
    found: dict[int, list[str]] = {}
    for path in tree.find("proc/[0-9]*/stat"):
        fields = (tree.text(path) or "").rpartition(")")[2].split()
        if len(fields) >= TIMES.stop:  # else it has ended since
            found[int(path.parent.name)] = fields
    if pid not in found:
        return None
    own = {pid}
    for child in sorted(found):  # a child's number may be lower than its parent's, where the numbers began anew
        line, at = [], child
        while at in found and at not in own and at not in line:
            line.append(at)
            at = int(found[at][PARENT])
        if at in own:
            own |= set(line)
    ticks = sum(int(field) for each in own for field in found[each][TIMES])
    faults = sum(int(found[each][i]) for each in own for i in (MAJOR_FAULTS, CHILD_MAJOR_FAULTS))
    return ticks / TICKS_PER_S, faults


def by_psutil() -> ProcessorTime:
    """For a system without /proc, such as macOS; of all cores, since none can be chosen there."""
    times = psutil.cpu_times()
    total = float(sum(times))
    me = psutil.Process()
    own = 0.0
    for process in [me, *me.children(recursive=True)]:
        try:
            used = process.cpu_times()
            own += used.user + used.system
        except psutil.Error:
            continue  # it has ended since
    return ProcessorTime(total - times.idle, total, None, own, None)


def load_between(early: ProcessorTime | None, late: ProcessorTime | None) -> Load:
    """None for each share that is not known, or where too little time went by."""
    if early is None or late is None or late.total_s - early.total_s < LEAST_SPAN_S:
        return Load(None, None, None, None)
    total, busy = late.total_s - early.total_s, late.busy_s - early.busy_s
    own = None if early.own_s is None or late.own_s is None else late.own_s - early.own_s
    steal = None if early.steal_s is None or late.steal_s is None else late.steal_s - early.steal_s
    return Load(
        other=None if own is None else round(max(0.0, busy - own) / total, 4),
        own=None if own is None else round(own / total, 4),
        steal=None if steal is None else round(steal / total, 4),
        busy=round(busy / total, 4),
    )
