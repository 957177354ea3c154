"""Which sources of energy figures a machine has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from edgellm.bench.energy.gpus import GpuEnergy
from edgellm.bench.energy.jetson import JetsonRails, rails_of
from edgellm.bench.energy.meter import Meter
from edgellm.bench.energy.powercap import Powercap, counted_domains, readable
from edgellm.bench.nvidia import Gpu, Nvidia, find_nvidia
from edgellm.bench.tree import Tree
from edgellm.records.machine import EnergySource

ALLOW_RAPL = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj /sys/class/powercap/intel-rapl:*:*/energy_uj"


class Source(Protocol):
    """A count of joules that only grows, from a start of its own."""

    @property
    def name(self) -> str: ...

    def joules(self) -> float:
        """Of everything that the source covers; has to be asked at least once a minute, since counters wrap."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Recorder(Protocol):
    """A source that is read when all is over: it says what was used between two times of day."""

    def between(self, start_s: float, end_s: float) -> float:
        """Joules between two times in seconds since 1970; raises BadInput if its record does not cover them."""
        ...


def find_sources(root: Path = Path("/"), meter: Path | None = None, nvml: Any = None) -> list[Source]:
    """The sources that can be read; an empty list where there is none.

    nvml: the module pynvml, or what a test puts in its place; None looks for it on the real machine.
    Raises BadInput for a meter's file that cannot be read.
    """
    tree, found = Tree(root), list[Source]()
    if meter is not None:
        found.append(Meter(meter))
    domains = [domain for domain in counted_domains(tree) if readable(tree, domain)]
    if domains:
        found.append(Powercap(tree, domains))
    gpus = counting(nvidia_of(tree, nvml).gpus)
    if gpus:
        found.append(GpuEnergy(gpus))
    rails = rails_of(tree)
    if rails:
        found.append(JetsonRails(tree, rails, time.monotonic))
    return found


def survey(root: Path = Path("/"), nvml: Any = None) -> list[EnergySource]:
    """What there is, readable or not, and how to make it so."""
    tree, found = Tree(root), list[EnergySource]()
    domains = counted_domains(tree)
    if domains:
        named = ", ".join(domain.name for domain in domains)
        locked = [domain for domain in domains if not readable(tree, domain)]
        found.append(
            EnergySource(name="rapl", what=named, readable=not locked, get_it_with=ALLOW_RAPL if locked else None)
        )
    for gpu in nvidia_of(tree, nvml).gpus:
        can = gpu.joules is not None
        found.append(EnergySource(name="nvml", what=gpu.name, readable=can, get_it_with=None))
    rails = rails_of(tree)
    if rails:
        found.append(EnergySource(name="jetson", what=", ".join(rails), readable=True, get_it_with=None))
    return found


def nvidia_of(tree: Tree, nvml: Any) -> Nvidia:
    return find_nvidia(nvml) if nvml is not None or tree.is_real else Nvidia()


def counting(gpus: Sequence[Gpu]) -> list[Gpu]:
    return [gpu for gpu in gpus if gpu.joules is not None]
