"""Energy by what counts it: processors (RAPL), NVIDIA GPUs, Jetson boards, a meter at the plug. Never an estimate."""

from __future__ import annotations

from edgellm.bench.energy.sources import Source, find_sources, survey
from edgellm.bench.energy.watch import EnergyWatch, joules_above_idle

__all__ = ["EnergyWatch", "Source", "find_sources", "joules_above_idle", "survey"]
