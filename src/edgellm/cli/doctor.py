from __future__ import annotations

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, json_option
from edgellm.errors import EngineFailed


@click.command(
    "doctor",
    cls=Verb,
    examples=["edgellm doctor", "edgellm doctor --quick --json"],
    json_keys={
        "cpu.name": "the processor, as it calls itself",
        "cpu.cores": "cores that this program may use",
        "cpu.instruction_sets": "what matters for an engine of what the processor can do",
        "memory_bytes": "memory of the machine",
        "free_memory_bytes": "what of it is free, or less where a container has less",
        "memory_bandwidth_bytes_per_s": "how fast all cores together read memory, as measured; null with --quick",
        "flops_per_s": "floating-point operations a second of f32 matrices, as measured; null with --quick",
        "ceilings.how": "which kernels measured both, on how much memory",
        "gpus[].name": "a GPU",
        "gpus[].memory_bytes": "its memory",
        "gpus[].memory_bandwidth_bytes_per_s": "measured; null with --quick or without CUDA's libraries",
        "gpus[].flops_per_s": "measured, of f16 matrices added up in f32",
        "gpus[].engines": "the engines that compute on it",
        "energy_sources[].name": "`rapl`, `nvml` or `jetson`",
        "energy_sources[].what": "what it counts",
        "energy_sources[].readable": "whether this user may read it",
        "engines.gguf.loads": "whether llama.cpp loads here; `engines.onnx` is onnxruntime",
        "engines.gguf.build": "versions",
        "engines.gguf.backends": "what it can compute on",
        "engines.gguf.instruction_sets": "what its processor code uses",
        "work.folder": "the work folder",
        "work.free_bytes": "free space on its disk",
        "offline": "the variables that forbid the network, and whether they are set",
        "conditions": "the machine's state now, as a benchmark would find it",
        "reasons": "why a benchmark would not be valid now; empty when it would",
        "missing[].what": "what is missing",
        "missing[].why": "how that is known",
        "missing[].get_it_with": "the command, or the thing, that brings it",
        "ok": "whether an engine loads and the embedded model has room",
    },
)
@click.option("--quick", is_flag=True, help="Leave out what is measured: memory bandwidth and arithmetic.")
@json_option
def doctor(quick: bool, as_json: bool) -> None:
    """Look at this machine: processor, memory, GPUs, engines, energy counters, and what is missing with the command
    to get it.

    Memory bandwidth and arithmetic are measured by short kernels, some seconds in all. Exit code 1 when no engine
    loads or the embedded model has no room.
    """
    from edgellm.build.doctor import examine

    with progress_on_stderr() as progress:
        report = examine(quick, progress)
    if as_json:
        click.echo(report.model_dump_json())
    else:
        from edgellm.cli.doctor_lines import lines_of

        click.echo("\n".join(lines_of(report)))
    if not report.ok:
        raise EngineFailed(f"nothing can be run on this machine as it is: {report.why_not_ok}")
