"""What a figure was measured on, and under which conditions."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import psutil
from cpuinfo import get_cpu_info

from edgellm.engines.cores import usable_cores
from edgellm.engines.protocol import RuntimeInfo

INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "neon", "asimd", "sve")
# Above this share of the cores being busy with other work before the run, the figures are not trusted.
MAX_OTHER_LOAD = 0.25


def describe_machine() -> dict[str, object]:
    """CPU, memory, system; keys with units in their names."""
    cpu = get_cpu_info()
    flags = set(cpu.get("flags", []))
    return {
        "cpu": cpu.get("brand_raw", platform.processor()),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def governor() -> str | None:
    """The frequency governor of the first core; None where the system does not say."""
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.is_file() else None


def conditions_before(sample_s: float = 0.5) -> dict[str, object]:
    """The state of the machine before a run; watches the cores for `sample_s` seconds."""
    busy = psutil.cpu_percent(interval=sample_s) / 100
    frequency = psutil.cpu_freq()
    return {
        "other_load": round(busy, 3),
        "governor": governor(),
        "clock_mhz": round(frequency.current) if frequency else None,
        "free_memory_bytes": psutil.virtual_memory().available,
    }


def complaints(conditions: dict[str, object]) -> list[str]:
    """Why figures measured under these conditions are not to be trusted; empty when they are."""
    load = conditions["other_load"]
    assert isinstance(load, float)
    if load > MAX_OTHER_LOAD:
        return [f"other programs kept {load:.0%} of the processor busy before the run (bound {MAX_OTHER_LOAD:.0%})"]
    return []


def software(info: RuntimeInfo) -> dict[str, str]:
    return {"edgellm": version("edgellm"), "engine": info.engine, "engine_build": info.build}
