"""`edgellm doctor`: what this machine is, what it can do at most, and what it lacks."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import psutil

from edgellm.bench import energy
from edgellm.bench.ceilings import measure_ceilings
from edgellm.bench.conditions import Watch, describe_machine
from edgellm.bench.given_cores import quota_cores
from edgellm.bench.machine import board, last_level_cache_bytes
from edgellm.bench.nvidia import Nvidia
from edgellm.bench.tree import Tree
from edgellm.build.lacking import of_sandbox, what_is_lacking
from edgellm.engines.memory import free_memory_bytes
from edgellm.engines.survey import survey
from edgellm.errors import EngineFailed
from edgellm.records.bench import Ceilings
from edgellm.records.machine import Engine, Gpu, MachineReport, Missing
from edgellm.stages import Progress, labelled
from edgellm.store.catalogue import embedded_models
from edgellm.store.disk import free_bytes
from edgellm.store.work import default_root

EMBEDDED = "tiny-ja"
TIMES_ITS_FILE = 8  # memory that a build of the embedded model takes: the f32 file, the artifact, a result's rows
OFFLINE_VARIABLES = ("EDGELLM_OFFLINE", "HF_HUB_OFFLINE")


def examine(quick: bool = False, progress: Progress | None = None) -> MachineReport:
    """Look at the machine; unless `quick`, measure its memory and arithmetic too, which takes some seconds.

    Nothing that is missing is an error: it is told in `missing` and, where it prevents everything, in `ok`.
    """
    watch = Watch()
    watch.before()
    watch.after()
    with labelled(progress, "load the engines"):
        engines = survey()
    processor = None
    if not quick:
        with labelled(progress, "measure the processor and its memory"):
            processor = measure_ceilings()
    gpus, trouble = gpus_of(watch.nvidia, engines, quick, progress)
    machine, free = describe_machine(), free_memory_bytes()
    sources = energy.survey()
    needed = TIMES_ITS_FILE * sum(f.stat().st_size for f in embedded_models()[EMBEDDED].glob("*.safetensors"))
    missing = [*what_is_lacking(machine, engines, watch, sources), *of_sandbox(), *trouble]
    if free < needed:
        why = f"{free / 1e6:.0f} MB are free and it takes {needed / 1e6:.0f}"
        get = "end other programs, or raise the container's limit"
        missing.append(Missing(what="memory for the embedded model", why=why, get_it_with=get))
    return MachineReport(
        cpu=processor_of(machine, watch),
        memory_bytes=psutil.virtual_memory().total,
        free_memory_bytes=free,
        memory_bandwidth_bytes_per_s=processor.memory_bandwidth_bytes_per_s if processor else None,
        flops_per_s=processor.flops_per_s if processor else None,
        ceilings=processor,
        gpus=tuple(gpus),
        energy_sources=tuple(sources),
        engines=engines,
        work={"folder": str(default_root()), "free_bytes": free_bytes(default_root())},
        offline={name: is_on(os.environ.get(name, "")) for name in OFFLINE_VARIABLES},
        software={
            "edgellm": version("edgellm"),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
        },
        conditions=watch.conditions,
        reasons=tuple(watch.reasons),
        missing=tuple(missing),
        ok=any(engine.loads for engine in engines.values()) and free >= needed,
    )


def processor_of(machine: dict[str, Any], watch: Watch) -> dict[str, Any]:
    tree = Tree()
    return {
        "name": machine["cpu"],
        "architecture": machine["architecture"],
        "cores": machine["cores"],
        "cores_in_all": psutil.cpu_count(),
        "quota_cores": quota_cores(tree),
        "instruction_sets": machine["instruction_sets"],
        "last_level_cache_bytes": last_level_cache_bytes(tree),
        "governor": watch.conditions["governor"],
        "clock_mhz": watch.conditions["clock_mhz_before"],
        "virtual": "hypervisor" in (tree.text("proc/cpuinfo") or ""),
    } | board(tree)


def gpus_of(
    nvidia: Nvidia, engines: dict[str, Engine], quick: bool, progress: Progress | None
) -> tuple[list[Gpu], list[Missing]]:  # fmt: skip
    """Those that the driver shows, and those of other makers that an engine has found; and what could not be told."""
    found, trouble = [], list[Missing]()
    for number, device in enumerate(nvidia.gpus):
        ceilings = None
        if not quick:
            with labelled(progress, f"measure {device.name}"):
                ceilings, lack = gpu_ceilings(number, device.name)
                trouble += lack
        memory, used = device.memory_bytes, device.used_memory_bytes
        found.append(
            Gpu(
                name=device.name, memory_bytes=memory, driver=nvidia.driver,
                free_memory_bytes=None if memory is None or used is None else memory - used,
                memory_bandwidth_bytes_per_s=ceilings.memory_bandwidth_bytes_per_s if ceilings else None,
                flops_per_s=ceilings.flops_per_s if ceilings else None, how=ceilings.how if ceilings else None,
                engines=tuple(name for name, engine in engines.items() if computes_on_cuda(engine)),
            )
        )  # fmt: skip
    known = {gpu.name for gpu in found}
    for name, engine in engines.items():
        for other in engine.devices:
            if "gpu" in other["kind"] and other["description"] not in known and "CUDA" not in other["name"]:
                memory = other["memory_bytes"] or None
                found.append(Gpu(name=other["description"], memory_bytes=memory, engines=(name,)))
    return found, trouble


def gpu_ceilings(number: int, name: str) -> tuple[Ceilings | None, Sequence[Missing]]:
    try:
        return measure_ceilings(device=f"gpu:{number}"), ()
    except EngineFailed as error:
        get = "install CUDA's runtime libraries (cudart and cublas), or set CUDA_HOME to their folder"
        return None, [Missing(what=f"the ceilings of {name}", why=str(error), get_it_with=get)]


def computes_on_cuda(engine: Engine) -> bool:
    return any(backend.upper() in ("CUDA", "TENSORRT") for backend in engine.backends)


def is_on(value: str) -> bool:
    return value.lower() in ("1", "true", "yes", "on")
