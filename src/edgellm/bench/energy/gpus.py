"""Energy counters of NVIDIA GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from edgellm.bench.nvidia import Gpu


class GpuEnergy:
    """The sum of the GPUs that this program may use. The driver counts in millijoules and updates some ten times a
    second, so a run should take a second or more."""

    name = "nvml"

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self._gpus = gpus
        self._last = [gpu.joules for gpu in gpus]
        self._total = 0.0

    def joules(self) -> float:
        for i, gpu in enumerate(self._gpus):
            now, last = gpu.joules, self._last[i]
            if now is None or last is None:
                continue
            self._total += max(0.0, now - last)  # it begins at 0 again when the driver is loaded anew
            self._last[i] = now
        return self._total

    def close(self) -> None:
        pass
