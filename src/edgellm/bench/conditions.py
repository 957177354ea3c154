"""Under which conditions a figure was measured, and whether it holds.

A machine is looked at before a run, during it and after it. What cannot be read is None and never makes a run invalid;
whatever has moved past one of the bounds below does, with the reason in one sentence.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgellm.bench import sensors
from edgellm.bench.bounds import MAX_GPU_LOAD, Run, reasons_against
from edgellm.bench.given_cores import given_cores, quota_cores
from edgellm.bench.machine import describe_machine
from edgellm.bench.nvidia import AT_POWER_LIMIT, Nvidia, find_nvidia, slowed_in_words
from edgellm.bench.processor_time import ProcessorTime, busy_and_total, load_between, processor_time
from edgellm.bench.samples import Sample
from edgellm.bench.tree import Tree
from edgellm.engines.memory import left_in_group
from edgellm.engines.protocol import RuntimeInfo

__all__ = ["Sample", "Watch", "describe_machine", "software"]

LIBRARIES = ("numpy", "llama-cpp-python", "onnxruntime", "nvidia-ml-py")
LOOK_S = 0.5
GPU_LOOKS = 4
EVERY_S = 1.0  # a sample reads some dozen files, in about a millisecond


@dataclass(frozen=True)
class State:
    """What is read at once, before and after a run."""

    at_s: float
    time: ProcessorTime | None
    governors: dict[int, str]
    held_down: dict[int, str]
    throttle_events: int | None
    firmware_flags: frozenset[str]
    power_mode: str | None
    on_battery: bool | None
    clock_mhz: float | None
    free_memory_bytes: int | None
    swapped_pages: int | None


class Watch:
    """The machine around one run: `before()`, the run, `after()`; then `conditions` and `reasons`.

    root: where the system's files are. nvml: the module pynvml, or what a test puts in its place; None looks for it
    on the real machine. alone: False where other programs are meant to work during the run, as a server that is put
    under load on this machine; only what they do before it counts then. sustained: True where heat is what is being
    measured, so that clocks that fall, trip points and throttling are told but do not make the run invalid.

    Begin when the model is loaded: reading it from a disk is no part of what is measured.
    """

    def __init__(
        self, root: Path = Path("/"), nvml: Any = None, *, alone: bool = True, sustained: bool = False,
        cores: Sequence[int] | None = None, look_s: float = LOOK_S, every_s: float = EVERY_S,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:  # fmt: skip
        self.tree = Tree(root)
        self.cores = list(given_cores() if cores is None else cores)
        self.nvidia = find_nvidia(nvml) if nvml is not None or self.tree.is_real else Nvidia()
        self.alone, self.sustained = alone, sustained
        self.conditions: dict[str, Any] = {}
        self.reasons: list[str] = []
        self.samples: list[Sample] = []
        self._look_s, self._every_s, self._pause = look_s, every_s, pause
        self._early: State | None = None
        self._busy: tuple[int, int] | None = None
        self._gpu_busy: list[float | None] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def before(self) -> None:
        """Look for `look_s` seconds at what others do, then begin to take samples."""
        first = processor_time(self.tree, self.cores)
        self._pause(self._look_s)
        self._early = self.state()
        self._gpu_busy = self.gpus_busy_with_others()
        self.conditions = self.fixed() | {
            "other_load_before": load_between(first, self._early.time).other,
            "clock_mhz_before": self._early.clock_mhz,
            "free_memory_bytes_before": self._early.free_memory_bytes,
        }
        self._busy = busy_and_total(self.tree, self.cores)
        self.reasons = reasons_against(self.run(self._early))
        self._ended.clear()
        self._thread = threading.Thread(target=self.keep_sampling, name="conditions", daemon=True)
        self._thread.start()

    def after(self) -> None:
        """Look again, and say in `reasons` why the figures do not hold, if they do not."""
        assert self._early is not None, "before() comes first"
        if self._thread:
            self._ended.set()
            self._thread.join()
            self._thread = None
        late = self.state()
        run = self.run(late)
        self.conditions |= {
            "seconds": round(late.at_s - self._early.at_s, 3),
            "other_load_during": run.load.other,
            "own_load_during": run.load.own,
            "steal_during": run.load.steal,
            "governor": in_words(late.governors),
            "clock_mhz_first": run.clock_first_mhz,
            "clock_mhz_last": run.clock_last_mhz,
            "clock_mhz_lowest": min((s.clock_mhz for s in self.samples if s.clock_mhz), default=None),
            "clock_mhz_after": late.clock_mhz,
            "temperature_c_first": next((s.temperature_c for s in self.samples), None),
            "temperature_c_highest": max((s.temperature_c for s in self.samples if s.temperature_c), default=None),
            "throttle_events": run.throttled,
            "firmware_flags": sorted(run.firmware_flags),
            "power_mode": late.power_mode,
            "free_memory_bytes_after": late.free_memory_bytes,
            "swapped_bytes": run.swapped_bytes,
            "major_faults": run.major_faults,
            "gpus": [self.gpu(i) for i in range(len(self.nvidia.gpus))],
        }
        self.reasons = reasons_against(run)

    def gpus_busy_with_others(self) -> list[float | None]:
        """The driver's figure is of up to the last second, in which we may have loaded the model: it gets several
        chances to fall."""
        shares = [gpu.busy for gpu in self.nvidia.gpus]
        for _ in range(GPU_LOOKS):
            if all(share is None or share <= MAX_GPU_LOAD for share in shares):
                break
            self._pause(self._look_s)
            now = [gpu.busy for gpu in self.nvidia.gpus]
            pairs = zip(shares, now, strict=True)
            shares = [one if late is None or one is None else min(one, late) for one, late in pairs]
        return shares

    def sample(self) -> None:
        """Take a sample now; a thread does so while the run lasts."""
        busy, self._busy = self._busy, busy_and_total(self.tree, self.cores)
        share = None
        if busy and self._busy and self._busy[1] > busy[1]:
            share = (self._busy[0] - busy[0]) / (self._busy[1] - busy[1])
        warmest = max(sensors.temperatures(self.tree), key=lambda t: t.celsius, default=None)
        self.samples.append(
            Sample(
                at_s=time.monotonic(),
                busy=share,
                clock_mhz=sensors.clock_mhz(self.tree, self.cores),
                temperature_c=warmest.celsius if warmest else None,
                past_trip=[t for t in sensors.temperatures(self.tree) if t.trip_c and t.celsius >= t.trip_c],
                firmware_flags=sensors.firmware_flags(self.tree),
                gpu_clock_mhz=[gpu.clock_mhz for gpu in self.nvidia.gpus],
                gpu_temperature_c=[gpu.temperature_c for gpu in self.nvidia.gpus],
                gpu_reasons=[gpu.clock_reasons for gpu in self.nvidia.gpus],
            )
        )

    def keep_sampling(self) -> None:
        while not self._ended.wait(self._every_s):
            self.sample()

    def state(self) -> State:
        tree, cores = self.tree, self.cores
        held = {core: words for core in cores if (words := sensors.holds_clock_down(tree, core))}
        return State(
            at_s=time.monotonic(),
            time=processor_time(tree, cores),
            governors=sensors.governors(tree, cores),
            held_down=held,
            throttle_events=sensors.throttle_events(tree, cores),
            firmware_flags=frozenset(sensors.firmware_flags_ever(tree)),
            power_mode=sensors.power_mode(tree),
            on_battery=sensors.on_battery(tree),
            clock_mhz=sensors.clock_mhz(tree, cores),
            free_memory_bytes=free_memory(tree),
            swapped_pages=swapped_pages(tree),
        )

    def run(self, late: State) -> Run:
        """The run so far, as the bounds look at it."""
        early = self._early
        assert early is not None
        return Run(
            alone=self.alone, sustained=self.sustained, samples=self.samples,
            other_before=self.conditions["other_load_before"], load=load_between(early.time, late.time),
            governors=(early.governors, late.governors), held_down=late.held_down or early.held_down,
            throttle_counts=(early.throttle_events, late.throttle_events),
            new_firmware_flags=late.firmware_flags - early.firmware_flags,
            power_modes=(early.power_mode, late.power_mode), on_battery=(early.on_battery, late.on_battery),
            swapped_pages=(early.swapped_pages, late.swapped_pages),
            faults=(faults(early.time), faults(late.time)),
            gpu_names=[gpu.name for gpu in self.nvidia.gpus], gpu_busy_before=self._gpu_busy,
        )  # fmt: skip

    def fixed(self) -> dict[str, Any]:
        """What does not change while a program runs, or is not meant to."""
        assert self._early is not None
        return {
            "cores": self.cores,
            "quota_cores": quota_cores(self.tree),
            "governor": in_words(self._early.governors),
            "power_mode": self._early.power_mode,
            "on_battery": self._early.on_battery,
            "nvidia_driver": self.nvidia.driver or nvidia_module(self.tree),
        }

    def gpu(self, i: int) -> dict[str, Any]:
        gpu = self.nvidia.gpus[i]
        bits = 0
        for sample in self.samples:
            bits |= sample.gpu_reasons[i]
        clocks = [c for s in self.samples if (c := s.gpu_clock_mhz[i]) is not None]
        return {
            "name": gpu.name,
            "clock_mhz_lowest": min(clocks, default=None),
            "clock_mhz_highest": max(clocks, default=None),
            "memory_clock_mhz": gpu.memory_clock_mhz,
            "temperature_c_highest": max((t for s in self.samples if (t := s.gpu_temperature_c[i])), default=None),
            "power_limit_watts": gpu.power_limit_watts,
            "at_power_limit": bool(bits & AT_POWER_LIMIT),
            "slowed": slowed_in_words(bits),
            "busy_before": self._gpu_busy[i],
        }


def in_words(governors: dict[int, str]) -> str | None:
    """The governor of all cores, or all of theirs; None where there is no frequency scaling."""
    return ", ".join(sorted(set(governors.values()))) or None


def free_memory(tree: Tree) -> int | None:
    """What the system has free, or less where a control group allows less."""
    for line in (tree.text("proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return min(int(line.split()[1]) * 1024, left_in_group(tree.root / "sys/fs/cgroup"))
    return None


def faults(time: ProcessorTime | None) -> int | None:
    return None if time is None else time.own_major_faults


def swapped_pages(tree: Tree) -> int | None:
    """Pages that went to the swap space or came back since the system started."""
    values = dict(line.split()[:2] for line in (tree.text("proc/vmstat") or "").splitlines())
    return int(values["pswpin"]) + int(values["pswpout"]) if {"pswpin", "pswpout"} <= values.keys() else None


def nvidia_module(tree: Tree) -> str | None:
    """The driver's own words for its version, where its library is not to be had."""
    lines = (tree.text("proc/driver/nvidia/version") or "").splitlines()
    return lines[0].removeprefix("NVRM version:").strip() if lines else None


def software(info: RuntimeInfo) -> dict[str, str]:
    """Versions of what computes: the engine's build with its instruction sets, and the libraries around it."""
    found = {"edgellm": version("edgellm"), "engine": info.engine, "engine_build": info.build}
    found["python"] = platform.python_version()
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    libc = " ".join(platform.libc_ver()).strip()
    return found | {"system": f"{platform.system()} {platform.release()}"} | ({"libc": libc} if libc else {})
