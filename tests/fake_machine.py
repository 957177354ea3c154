"""A tree of files as Linux shows a machine in, and an NVML that is not the driver's, for tests of what reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CPU = "sys/devices/system/cpu"
IDLE_AT_START = 10_000
TRIP_C = 100


@dataclass
class FakeMachine:
    """Two cores that are quiet, at 3,000 MHz, with a governor, throttle counts and a thermal zone. Times in ticks."""

    root: Path
    busy: int = 0  # of both cores together, ours included
    own: int = 0
    steal: int = 0
    idle: int = IDLE_AT_START
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for core in (0, 1):
            self.core(core, "cpufreq/scaling_governor", "performance")
            self.core(core, "cpufreq/scaling_driver", "acpi-cpufreq")
            self.core(core, "thermal_throttle/core_throttle_count", "3")
            self.core(core, "thermal_throttle/package_throttle_count", "4")
        self.clock(3000)
        self.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal")
        self.write("sys/class/thermal/thermal_zone0/trip_point_0_type", "passive")
        self.write("sys/class/thermal/thermal_zone0/trip_point_0_temp", str(TRIP_C * 1000))
        self.heat(50)
        self.write("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB")
        self.swap(0)
        self.spend(0)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def core(self, number: int, path: str, text: str) -> None:
        self.write(f"{CPU}/cpu{number}/{path}", text)

    def clock(self, mhz: int) -> None:
        for core in (0, 1):
            self.core(core, "cpufreq/scaling_cur_freq", str(mhz * 1000))

    def heat(self, celsius: float) -> None:
        self.write("sys/class/thermal/thermal_zone0/temp", str(int(celsius * 1000)))

    def swap(self, pages: int) -> None:
        self.write("proc/vmstat", f"nr_free_pages 7\npswpin {pages}\npswpout 0")

    def spend(self, ticks: int, *, busy: float = 0.0, own: float = 0.0, steal: float = 0.0) -> None:
        """Let time go by on each core; shares of it are busy (`own` of that by this process) or stolen."""
        total = 2 * ticks
        self.busy += round(busy * total)
        self.own += round(own * total)
        self.steal += round(steal * total)
        self.idle += round((1 - busy - steal) * total)
        line = f"{self.busy // 2} 0 0 {self.idle // 2} 0 0 0 {self.steal // 2} 0 0"
        self.write("proc/stat", f"cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 {line}\ncpu1 {line}\ncpu2 9999 0 0 0 0 0 0 0 0 0")
        self.process(os.getpid(), 1, self.own)

    def process(self, number: int, parent: int, ticks: int, faults: int = 0) -> None:
        before = f"{number} (a (b) c) S {parent} 0 0 0 0 0 0 0 {faults} 0"
        self.write(f"proc/{number}/stat", f"{before} {ticks} 0 0 0 20 0")


class FakeError(Exception):
    pass


@dataclass
class FakeGpu:
    joules: float | None = 0.0
    reasons: int = 1  # idle
    busy_percent: int = 0
    uuid: str = "GPU-aaaa"


@dataclass
class FakeNvml:
    """What pynvml answers of some GPUs; `joules` None is a GPU without an energy counter."""

    gpus: list[FakeGpu]
    has_driver: bool = True
    NVMLError = FakeError

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.has_driver:
            raise FakeError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> FakeGpu:  # noqa: N802
        return self.gpus[number]

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "999.1"

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:  # noqa: N802
        if gpu.joules is None:
            raise FakeError("Not Supported")
        return round(gpu.joules * 1000)

    def __getattr__(self, name: str) -> Any:
        answers: Mapping[str, Any] = {
            "nvmlDeviceGetName": lambda gpu: "Test GPU",
            "nvmlDeviceGetUUID": lambda gpu: gpu.uuid,
            "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(total=8 << 30, used=1 << 30, free=7 << 30),
            "nvmlDeviceGetClockInfo": lambda gpu, kind: 1500,
            "nvmlDeviceGetTemperature": lambda gpu, sensor: 60,
            "nvmlDeviceGetEnforcedPowerLimit": lambda gpu: 300_000,
            "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(gpu=gpu.busy_percent, memory=0),
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda gpu: gpu.reasons,
        }
        if name not in answers:
            raise AttributeError(name)
        return answers[name]
