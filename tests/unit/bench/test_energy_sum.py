"""Stretches of energy readings, added up by source."""

from __future__ import annotations

import pytest

from edgellm.bench.energy_sum import EnergySum, added
from edgellm.records.bench import EnergyUse


def use(source: str, joules: float) -> EnergyUse:
    return EnergyUse(source=source, seconds=2.0, joules=joules, idle_watts=1.0, joules_above_idle=joules - 2.0)


class Scripted:
    """Gives each of its readings once."""

    def __init__(self, *readings: tuple[EnergyUse, ...]) -> None:
        self.readings = list(readings)

    def start(self) -> None:
        pass

    def stop(self) -> tuple[EnergyUse, ...]:
        return self.readings.pop(0)


def test_sources_are_added_up_apart() -> None:
    found = added([use("rapl", 10.0), use("nvml", 50.0), use("rapl", 20.0)])
    assert [(u.source, u.seconds, u.joules, u.joules_above_idle) for u in found] == [
        ("rapl", 4.0, 30.0, 26.0), ("nvml", 2.0, 50.0, 48.0),
    ]  # fmt: skip


def test_what_was_taken_does_not_count_again() -> None:
    energy = EnergySum(Scripted((use("rapl", 10.0),), (use("rapl", 7.0),)))
    with energy.reading():
        pass
    assert [u.joules for u in energy.take()] == [10.0]
    with energy.reading():
        pass
    assert [u.joules for u in energy.take()] == [7.0]


def test_a_stretch_that_failed_does_not_count() -> None:
    energy = EnergySum(Scripted((use("rapl", 10.0),)))
    with pytest.raises(ValueError, match="broken"), energy.reading():
        raise ValueError("broken")
    assert energy.take() == ()


def test_without_a_source_nothing_is_measured() -> None:
    energy = EnergySum(Scripted(()))
    with energy.reading():
        pass
    assert energy.take() == ()
