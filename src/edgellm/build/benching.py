"""Bench a target: open it, watch the machine, time it, say whether the figures hold."""

from __future__ import annotations

from edgellm.bench.engine import EngineLoad, bench_engine
from edgellm.bench.machine import complaints, conditions_before, describe_machine, software
from edgellm.build.pipeline import runnable
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.target import Target, resolve
from edgellm.records.results import EngineBench
from edgellm.stages import Progress, labelled
from edgellm.stages.verify import VERIFICATION
from edgellm.store import catalogue
from edgellm.store.work import WorkFolder


def bench_target(
    name: str, load: EngineLoad, threads: int, work: WorkFolder, progress: Progress | None = None
) -> EngineBench:
    """The engine bench of whatever TARGET names; a checkpoint is converted to F16 first."""
    return bench_opened(runnable(resolve(name), work, progress), load, threads, progress)


def bench_opened(target: Target, load: EngineLoad, threads: int, progress: Progress | None = None) -> EngineBench:
    options = RuntimeOptions(context_tokens=load.context_tokens, sequences=max(load.parallel), threads=threads)
    conditions = conditions_before()
    runtime = target.open_runtime(options)
    try:
        documents = catalogue.read_documents(VERIFICATION)
        label = labelled(progress, f"bench {target.name}")
        results = bench_engine(runtime, target.tokenizer(), documents, load, label)
        conditions |= software(runtime.info)
    finally:
        runtime.close()
    reasons = complaints(conditions)
    return EngineBench(
        target=target.name, results=results, machine=describe_machine(), conditions=conditions,
        valid=not reasons, reasons=reasons,
    )  # fmt: skip
