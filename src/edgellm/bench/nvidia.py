"""NVIDIA GPUs by the driver's own library (NVML): what they are, how warm, how fast, and what they have used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Of the reasons why a GPU's clock is lower than it could be, those that mean that it was slowed down for its safety.
# (The others are that it is idle, that somebody set its clocks, or that it works at its power limit, as it should.)
SLOWED = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
AT_POWER_LIMIT = 0x04


@dataclass(frozen=True)
class Gpu:
    """One GPU. Whatever its driver refuses to tell is None."""

    nvml: Any  # the module pynvml, initialised, or what a test puts in its place
    handle: Any

    def ask(self, function: str, *arguments: Any) -> Any:
        call = getattr(self.nvml, function, None)
        if call is None:  # of a newer library
            return None
        try:
            return call(self.handle, *arguments)
        except self.nvml.NVMLError:
            return None

    @property
    def name(self) -> str:
        return text_of(self.ask("nvmlDeviceGetName")) or "NVIDIA GPU"

    @property
    def uuid(self) -> str:
        return text_of(self.ask("nvmlDeviceGetUUID")) or ""

    @property
    def memory_bytes(self) -> int | None:
        memory = self.ask("nvmlDeviceGetMemoryInfo")
        return memory and int(memory.total)

    @property
    def used_memory_bytes(self) -> int | None:
        memory = self.ask("nvmlDeviceGetMemoryInfo")
        return memory and int(memory.used)

    @property
    def clock_mhz(self) -> int | None:
        return number_of(self.ask("nvmlDeviceGetClockInfo", 1))  # NVML_CLOCK_SM

    @property
    def memory_clock_mhz(self) -> int | None:
        return number_of(self.ask("nvmlDeviceGetClockInfo", 2))  # NVML_CLOCK_MEM

    @property
    def temperature_c(self) -> int | None:
        return number_of(self.ask("nvmlDeviceGetTemperature", 0))  # NVML_TEMPERATURE_GPU

    @property
    def slowdown_c(self) -> int | None:
        return number_of(self.ask("nvmlDeviceGetTemperatureThreshold", 1))  # NVML_TEMPERATURE_THRESHOLD_SLOWDOWN

    @property
    def power_limit_watts(self) -> float | None:
        milliwatts = self.ask("nvmlDeviceGetEnforcedPowerLimit")
        return None if milliwatts is None else milliwatts / 1000

    @property
    def busy(self) -> float | None:
        """Share of the last moments (up to a second) in which a kernel ran."""
        rates = self.ask("nvmlDeviceGetUtilizationRates")
        return None if rates is None else rates.gpu / 100

    @property
    def clock_reasons(self) -> int:
        """The bits of why the clock is not higher; 0 also where that is not told."""
        bits = self.ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return int(bits if bits is not None else self.ask("nvmlDeviceGetCurrentClocksEventReasons") or 0)

    @property
    def joules(self) -> float | None:
        """What it has used since its driver was loaded; None for GPUs older than Volta."""
        millijoules = self.ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000


@dataclass(frozen=True)
class Nvidia:
    """The GPUs that this program may use, and the driver's version. Without a driver there are none."""

    gpus: Sequence[Gpu] = ()
    driver: str | None = None
    absent: str = ""  # why there are none, in words


def find_nvidia(nvml: Any = None) -> Nvidia:
    """Look by `nvml`, or by pynvml where that is None."""
    if nvml is None:
        try:
            import pynvml as nvml
        except ImportError:
            return Nvidia(absent="the package nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        driver = text_of(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError as error:
        return Nvidia(absent=f"the NVIDIA driver does not answer ({error})")
    gpus = [Gpu(nvml, handle) for handle in handles]
    return Nvidia(visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES")), driver)


def visible(gpus: Sequence[Gpu], named: str | None) -> Sequence[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES leaves, by number or by the beginning of their UUID.

    Numbers are those of the driver, which are CUDA's where CUDA_DEVICE_ORDER=PCI_BUS_ID or all GPUs are equal.
    """
    if named is None:
        return gpus
    found = []
    for word in (part.strip() for part in named.split(",")):
        if word.isdigit() and int(word) < len(gpus):
            found.append(gpus[int(word)])
        elif word.startswith("GPU-"):
            found += [gpu for gpu in gpus if gpu.uuid.startswith(word)]
        elif word.startswith("MIG-"):  # a part of a GPU: NVML tells about the whole
            return gpus
        else:
            break  # as CUDA does: what follows a number that is no GPU does not count
    return found


def slowed_in_words(bits: int) -> list[str]:
    return [words for bit, words in SLOWED.items() if bits & bit]


def text_of(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value  # older versions of the library give bytes


def number_of(value: Any) -> int | None:
    return None if value is None else int(value)
