"""What the machine can do at most: how fast memory is read, and how fast matrices are multiplied.

Decoding reads every weight once a token, so the ceiling that matters is that of reading alone. Which kernels were
tried, and how near they come to what an engine reaches: `docs/design/conditions.md`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgellm.bench.bounds import MAX_OTHER_LOAD
from edgellm.bench.given_cores import given_cores
from edgellm.bench.machine import describe_machine, last_level_cache_bytes
from edgellm.bench.processor_time import load_between, processor_time
from edgellm.bench.tree import Tree
from edgellm.engines.cores import threads_in_words, usable_cores
from edgellm.engines.deaths import how_it_ended
from edgellm.engines.memory import free_memory_bytes
from edgellm.errors import EngineFailed, UsageError
from edgellm.records.bench import Ceilings
from edgellm.store.work import WorkFolder, default_root

BUFFER_BYTES = 1 << 30
TIMES_THE_CACHE = 8  # how much larger than the last cache the buffer is at least
LEAST_BUFFER_BYTES = 32 << 20
SHARE_OF_FREE_MEMORY = 0.25
LONGEST_S = 60  # a child that takes longer hangs; it is meant to take three seconds
# Every library for linear algebra has a variable of its own, read when it is loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
FILE = "ceilings.json"
KERNELS_VERSION = 1  # to be raised when the kernels change, so that what is kept is measured again


class Disturbed(Exception):
    """Carries ceilings that were measured while other programs worked, so that they are not kept."""

    def __init__(self, ceilings: Ceilings) -> None:
        super().__init__()
        self.ceilings = ceilings


def measure_ceilings(threads: int = 0, device: str = "cpu", cached: bool = False) -> Ceilings:
    """Read bandwidth and matrix products per second, each the best of several runs; takes some three seconds.

    threads: 0 is one per core that this process may use. device: `cpu`, or `gpu` or `gpu:1` for an NVIDIA GPU by
    CUDA's number, where CUDA's runtime library and cuBLAS are installed. cached: take what was measured before on this
    machine, with these libraries, from the work folder, or keep it there; what is measured while other programs work
    is not kept.

    On the processor the products are of f32 matrices by NumPy's BLAS: engines that multiply small integers may do
    better, so a fraction above 1 is possible and says so. On a GPU they are of f16, added up in f32.

    Raises UsageError for an unknown device, EngineFailed if a kernel cannot run.
    """
    if not cached:
        return fresh(threads, device)[0]
    machine = describe_machine()
    settings = {key: machine[key] for key in ("cpu", "architecture", "cores", "memory_bytes")}
    settings |= {"threads": threads, "device": device, "visible": os.environ.get("CUDA_VISIBLE_DEVICES", "")}
    versions = {"kernels": str(KERNELS_VERSION), "numpy": version("numpy"), "python": machine["python"]}
    try:
        made = WorkFolder(default_root()).step(
            "ceilings", {}, settings, versions, lambda folder: keep(folder, threads, device)
        )
    except Disturbed as disturbed:
        return disturbed.ceilings
    return Ceilings.model_validate_json((made.folder / FILE).read_text(encoding="utf-8"))


def keep(folder: Path, threads: int, device: str) -> None:
    """Measure into a folder; raises Disturbed if other programs worked meanwhile."""
    ceilings, is_quiet = fresh(threads, device)
    if not is_quiet:
        raise Disturbed(ceilings)
    (folder / FILE).write_text(ceilings.model_dump_json() + "\n", encoding="utf-8")


def fresh(threads: int, device: str) -> tuple[Ceilings, bool]:
    """(ceilings, whether nothing else worked meanwhile)."""
    early = processor_time(Tree(), given_cores())
    ceilings = of_processor(threads or usable_cores()) if device == "cpu" else of_gpu(device)
    other = load_between(early, processor_time(Tree(), given_cores())).other
    return ceilings, other is None or other <= MAX_OTHER_LOAD


def of_processor(threads: int) -> Ceilings:
    size = buffer_bytes(last_level_cache_bytes(Tree()) or 0, free_memory_bytes())
    found = by_child("edgellm.bench.processor_kernels", [threads, size], threads)
    return Ceilings(
        memory_bandwidth_bytes_per_s=found["bytes_per_s"], flops_per_s=found["flops_per_s"], device="cpu",
        threads=threads,
        how=f"{size / 2**20:.0f} MiB read by {found['reader']} in {threads_in_words(threads)}; "
        f"f32 matrices of {found['width']:,} by NumPy's BLAS",
    )  # fmt: skip


def of_gpu(device: str) -> Ceilings:
    kind, _, number = device.partition(":")
    if kind != "gpu" or not (number or "0").isdigit():
        raise UsageError(f"there is no device called {device!r}; known are cpu, gpu, and gpu:1 for the second")
    found = by_child("edgellm.bench.cuda_kernels", [int(number or 0)], 1)
    return Ceilings(
        memory_bandwidth_bytes_per_s=found["bytes_per_s"], flops_per_s=found["flops_per_s"], device=found["device"],
        how=f"{found['size_bytes'] / 2**20:.0f} MiB through {found['reader']}; "
        f"f16 matrices of {found['width']:,} added up in f32, by cuBLAS",
    )  # fmt: skip


def buffer_bytes(cache_bytes: int, free_bytes: int) -> int:
    """Many times the last cache, and at most a quarter of what is free."""
    wanted = max(BUFFER_BYTES, TIMES_THE_CACHE * cache_bytes)
    room = int(SHARE_OF_FREE_MEMORY * free_bytes)
    if room < LEAST_BUFFER_BYTES:
        raise EngineFailed(
            f"memory bandwidth cannot be measured with {free_bytes / 1e6:.0f} MB of memory free; end other programs"
        )
    return min(wanted, room)


def by_child(module: str, arguments: list[int], threads: int) -> dict[str, Any]:
    """What the kernels of a module print. In a process of their own they have the wanted number of threads, give
    their memory back, and take nobody along if a library dies."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = os.environ | {name: str(threads) for name in THREAD_VARIABLES}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        raise EngineFailed(f"measuring the machine took longer than {LONGEST_S} s; end other programs") from None
    if done.returncode:
        ended = how_it_ended(done.returncode, done.stderr.splitlines())
        raise EngineFailed(f"measuring the machine failed: the process {ended}; run edgellm doctor --quick without it")
    found: dict[str, Any] = json.loads(done.stdout)
    if "error" in found:
        raise EngineFailed(str(found["error"]))
    return found
