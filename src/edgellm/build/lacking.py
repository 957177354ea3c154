"""What a machine lacks, and the command that brings it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import requires
from typing import Any

from edgellm.bench.conditions import Watch
from edgellm.bench.sensors import holds_clock_down
from edgellm.errors import SandboxMissing
from edgellm.evals.sandbox import run_python
from edgellm.records.machine import EnergySource, Engine, Missing

# What the processor can do, by the flag that the system shows, and llama.cpp's name for code that uses it. Without
# them prompts are read several times more slowly.
COMPILED_FOR = {
    "avx2": "AVX2", "fma": "FMA", "avx_vnni": "AVX_VNNI", "avx512f": "AVX512", "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16", "amx_int8": "AMX_INT8", "asimddp": "DOTPROD", "i8mm": "MATMUL_INT8", "sve": "SVE",
}  # fmt: skip
GPU_BACKENDS = ("CUDA", "ROCM", "HIP", "VULKAN", "METAL", "MTL", "SYCL")
FROM_SOURCE = "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python"


def what_is_lacking(
    machine: Mapping[str, Any], engines: Mapping[str, Engine], watch: Watch, sources: Sequence[EnergySource]
) -> list[Missing]:  # fmt: skip
    return [*of_engines(machine, engines, watch), *of_energy(watch, sources), *of_clocks(watch)]


def of_engines(machine: Mapping[str, Any], engines: Mapping[str, Engine], watch: Watch) -> Iterator[Missing]:
    gguf, onnx = engines["gguf"], engines["onnx"]
    install = f"{FROM_SOURCE} {pinned('llama-cpp-python')}"
    if not gguf.loads:
        yield Missing(what="the engine for GGUF files", why=gguf.why_not, get_it_with=install)
    if not onnx.loads:
        yield Missing(what="the engine for ONNX models", why=onnx.why_not, get_it_with="pip install 'edgellm[onnx]'")
    unused = unused_instructions(machine["instruction_sets"], gguf)
    if unused:
        yield Missing(
            what="llama.cpp built for this processor", why=f"this build does not use {', '.join(unused)}",
            get_it_with=f'CMAKE_ARGS="-DGGML_NATIVE=on" {install}',
        )  # fmt: skip
    if watch.nvidia.gpus and gguf.loads and not any(b.upper() in GPU_BACKENDS for b in gguf.backends):
        yield Missing(
            what="llama.cpp built for the GPU", why=f"this build computes on {', '.join(gguf.backends)} only",
            get_it_with=f'CMAKE_ARGS="-DGGML_CUDA=on" {install}',
        )  # fmt: skip


def unused_instructions(present: Sequence[str], gguf: Engine) -> list[str]:
    """Instruction sets that the processor has and llama.cpp was not compiled for."""
    if not gguf.loads:
        return []
    return [name for flag, name in COMPILED_FOR.items() if flag in present and name not in gguf.instruction_sets]


def of_energy(watch: Watch, sources: Sequence[EnergySource]) -> Iterator[Missing]:
    for source in sources:
        if source.readable:
            continue
        why = f"the counters of {source.what} are there but not readable"
        if source.get_it_with:
            yield Missing(what="energy of the processor", why=why, get_it_with=source.get_it_with)
        else:
            yield Missing(
                what=f"energy of {source.what}", why="its driver has no energy counter",
                get_it_with="a meter at the plug, and its record with --meter FILE",
            )  # fmt: skip
    if not sources:
        yield Missing(
            what="a source of energy figures", why="no counter of RAPL, NVML or a Jetson is here",
            get_it_with="a meter at the plug, and its record with --meter FILE",
        )  # fmt: skip
    if "not installed" in watch.nvidia.absent:
        yield Missing(
            what="what NVIDIA's driver tells", why=watch.nvidia.absent,
            get_it_with=f"pip install '{pinned('nvidia-ml-py')}'",
        )  # fmt: skip


def of_clocks(watch: Watch) -> Iterator[Missing]:
    held = [words for core in watch.cores if (words := holds_clock_down(watch.tree, core))]
    if held:
        yield Missing(
            what="full clocks", why=f"{len(held)} of {len(watch.cores)} cores: {held[0]}",
            get_it_with="sudo cpupower frequency-set -g performance",
        )  # fmt: skip


def of_sandbox() -> list[Missing]:
    """Why code in answers cannot be run; empty where it can."""
    what = "a sandbox for code in answers"
    if shutil.which("bwrap") is None:
        return [Missing(what=what, why="there is no bwrap", get_it_with="apt install bubblewrap")]
    try:
        run_python("pass")
    except SandboxMissing as error:
        why, _, advice = str(error).partition("; ")
        return [Missing(what=what, why=why, get_it_with=advice)]
    return []


def pinned(package: str) -> str:
    """The package with the version that edgellm wants, as pip takes it."""
    named = (requirement.partition(";")[0].strip() for requirement in requires("edgellm") or [])
    return next((requirement for requirement in named if requirement.startswith(package)), package)
