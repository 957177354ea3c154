"""The most memory of a stretch of time, not of what was before."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgellm.bench.peak_memory import PeakMemory

MIB = 1 << 20


def test_what_was_held_before_does_not_count() -> None:
    large = np.ones(200 * MIB, np.uint8)
    del large
    peak = PeakMemory()
    small = np.ones(50 * MIB, np.uint8)
    found = peak.read()
    assert found is not None
    assert small.nbytes < found
    before = PeakMemory().read()
    assert before is not None
    assert found < before + 150 * MIB


def test_where_the_peak_cannot_be_reset_only_a_higher_one_counts(tmp_path: Path) -> None:
    status = tmp_path / "proc" / "self" / "status"
    status.parent.mkdir(parents=True)
    (status.parent / "clear_refs").mkdir()  # writing to it fails
    status.write_text("VmPeak:\t 9 kB\nVmHWM:\t 1000 kB\n")
    peak = PeakMemory(tmp_path)
    assert peak.read() is None
    status.write_text("VmHWM:\t 1500 kB\n")
    assert peak.read() == 1500 * 1024


def test_a_system_that_does_not_tell_gives_none(tmp_path: Path) -> None:
    assert PeakMemory(tmp_path).read() is None
