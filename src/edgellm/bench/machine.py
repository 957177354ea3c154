"""What a figure was measured on."""

from __future__ import annotations

import platform
from typing import Any

import psutil
from cpuinfo import get_cpu_info

from edgellm.bench.tree import Tree
from edgellm.engines.cores import usable_cores

INSTRUCTION_SETS = (
    "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vbmi", "avx512_bf16", "avx512_vnni", "amx_int8", "amx_bf16",
    "neon", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip


def describe_machine() -> dict[str, Any]:
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
    } | board(Tree())


def board(tree: Tree) -> dict[str, Any]:
    """The name of a board that a device tree describes, such as a Jetson's or a Raspberry Pi's."""
    model = tree.text("proc/device-tree/model")
    return {"board": model} if model else {}


def last_level_cache_bytes(tree: Tree) -> int | None:
    """The largest level of cache, of all sockets together, as far as the system shows it."""
    found: dict[tuple[int, str], int] = {}
    for folder in tree.find("sys/devices/system/cpu/cpu[0-9]*/cache/index*"):
        level, size, shared = tree.number(folder / "level"), tree.text(folder / "size"), folder / "shared_cpu_list"
        if level and size and size.endswith("K"):
            found[(level, tree.text(shared) or str(folder))] = int(size[:-1]) * 1024
    highest = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == highest) or None
