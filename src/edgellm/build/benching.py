"""Bench a target: open it, watch the machine, time it, say whether the figures hold."""

from __future__ import annotations

from contextlib import closing

from edgellm.bench.engine import EngineLoad, bench_engine
from edgellm.bench.machine import complaints, conditions_before, describe_machine, software
from edgellm.build.opening import runnable
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.target import Target, resolve
from edgellm.records.bench import EngineBench
from edgellm.stages import Progress, labelled
from edgellm.stages.verify import VERIFICATION
from edgellm.store import catalogue
from edgellm.store.work import WorkFolder


def bench_target(
    name: str, load: EngineLoad, options: RuntimeOptions, work: WorkFolder, progress: Progress | None = None
) -> EngineBench:
    """The engine bench of whatever TARGET names; a checkpoint is converted to F16 first."""
    return bench_opened(runnable(resolve(name), work, progress), load, options, progress)


def bench_opened(
    target: Target, load: EngineLoad, options: RuntimeOptions, progress: Progress | None = None
) -> EngineBench:  # fmt: skip
    conditions = conditions_before()
    # Before the model: what is wrong with it is told sooner.
    tokenizer = None if is_without_vocabulary(target) else target.tokenizer()
    with labelled(progress, f"load {target.name}"):
        runtime = target.open_runtime(options)
    with closing(runtime), labelled(progress, f"bench {target.name}") as on_progress:
        documents = catalogue.read_documents(VERIFICATION)
        results = bench_engine(runtime, tokenizer, documents, load, on_progress)
        conditions |= software(runtime.info) | {"setup": runtime.info.setup}
    reasons = complaints(conditions)
    return EngineBench(
        target=target.name, results=results, machine=describe_machine(), conditions=conditions,
        valid=not reasons, reasons=reasons,
    )  # fmt: skip


def is_without_vocabulary(target: Target) -> bool:
    """Whether the artifact says of itself that it has none, as files from `edgellm synth` do."""
    if target.engine != "gguf" or target.tokenizer_folder is not None:
        return False
    from edgellm.engines.gguf.header import read_header

    assert target.artifact is not None
    return read_header(target.artifact).tokenizer_model == "no_vocab"
