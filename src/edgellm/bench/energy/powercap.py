"""RAPL: energy counters of Intel's and AMD's processors, as Linux shows them under powercap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgellm.bench.tree import Tree

# A package holds its cores and its graphics; memory is counted apart. `psys`, the whole platform where it is there,
# holds the packages again, so it is left out: what is counted is then the same on every machine.
INSIDE_PACKAGE = ("core", "uncore")
PLATFORM = "psys"


@dataclass(frozen=True)
class Domain:
    folder: Path
    name: str


class Powercap:
    """The sum of the packages and their memory; follows counters that begin anew at their range."""

    name = "rapl"

    def __init__(self, tree: Tree, domains: Sequence[Domain]) -> None:
        self._tree = tree
        self._range = {d: tree.number(d.folder / "max_energy_range_uj") for d in domains}
        self._last = {d: tree.number(d.folder / "energy_uj") for d in domains}
        self._total_uj = 0

    def joules(self) -> float:
        """Since it was made. A counter that wraps twice between two calls is missed once: ask every minute."""
        for domain, last in self._last.items():
            now = self._tree.number(domain.folder / "energy_uj")
            if now is None or last is None:
                continue
            if now < last:
                last -= self._range[domain] or last  # without a stated range what went by is not known
            self._total_uj += now - last
            self._last[domain] = now
        return self._total_uj / 1e6

    def close(self) -> None:
        pass


def counted_domains(tree: Tree) -> list[Domain]:
    """Packages and their memory, nothing of it twice.

    The same packages may be shown once more under `intel-rapl-mmio`, whose names the pattern does not match.
    """
    found = []
    for folder in tree.find("sys/class/powercap/intel-rapl:*"):
        name = tree.text(folder / "name")
        if name and name not in INSIDE_PACKAGE and name != PLATFORM and (folder / "energy_uj").exists():
            found.append(Domain(folder, name))
    return found


def readable(tree: Tree, domain: Domain) -> bool:
    """Only the administrator may read the counters unless somebody has allowed it."""
    return tree.number(domain.folder / "energy_uj") is not None
