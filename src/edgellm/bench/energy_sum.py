"""Energy of work that is read in several stretches, by source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from edgellm.records.bench import EnergyUse


class EnergyReader(Protocol):
    """What reads the counters; `bench.energy.EnergyWatch` is one."""

    def start(self) -> None: ...

    def stop(self) -> tuple[EnergyUse, ...]: ...


class EnergySum:
    """Adds up stretches until they are taken."""

    def __init__(self, watch: EnergyReader) -> None:
        self._watch = watch
        self._uses: list[EnergyUse] = []

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The block is a stretch; one that ends with an exception does not count."""
        self._watch.start()
        try:
            yield
        except BaseException:
            self._watch.stop()
            raise
        self._uses += self._watch.stop()

    def take(self) -> tuple[EnergyUse, ...]:
        """One entry a source for all stretches since the last call."""
        found, self._uses = added(self._uses), []
        return found


def reading(energy: EnergySum | None) -> AbstractContextManager[None]:
    return energy.reading() if energy else nullcontext()


def added(uses: Iterable[EnergyUse]) -> tuple[EnergyUse, ...]:
    """One entry a source."""
    by_source: dict[str, EnergyUse] = {}
    for use in uses:
        known = by_source.get(use.source)
        by_source[use.source] = use if known is None else known.model_copy(
            update={
                "seconds": known.seconds + use.seconds,
                "joules": known.joules + use.joules,
                "joules_above_idle": known.joules_above_idle + use.joules_above_idle,
            }
        )  # fmt: skip
    return tuple(by_source.values())
