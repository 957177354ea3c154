"""Bench a target: open it, watch the machine, time it, say whether the figures hold."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgellm.bench.conditions import Watch, describe_machine, software
from edgellm.bench.energy import EnergyWatch, find_sources
from edgellm.bench.energy_sum import EnergySum, added
from edgellm.bench.engine import Bench, Case, EngineLoad, Timed, bench_engine
from edgellm.bench.nvidia import Gpu
from edgellm.bench.peak_memory import PeakMemory
from edgellm.bench.rates import rows_of
from edgellm.bench.sustain import Stretch, sustained, told, windows_of
from edgellm.build.benched_model import benched_model, shape_behind
from edgellm.build.opening import runnable
from edgellm.engines.protocol import Runtime, RuntimeInfo, RuntimeOptions
from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.target import Target, resolve
from edgellm.language.tokenizer import Tokenizer
from edgellm.measures.traffic import Shape
from edgellm.records.bench import Ceilings, EngineBench, Window
from edgellm.stages import Progress, labelled
from edgellm.stages.bundle import now
from edgellm.stages.verify import VERIFICATION
from edgellm.store import catalogue
from edgellm.store.work import WorkFolder

CPU = "cpu"
DEFINITIONS = (
    "pp: a prompt is taken in, logits of its last token included. tg: tokens are decoded one at a time. Rates are of "
    "all sequences together; char/s counts Unicode characters of the text that was fed.",
    "Timed are the engine's passes alone: loading, tokenization and sampling are excluded, and so is the first run.",
)


@dataclass(frozen=True)
class Besides:
    """What is measured beside speed, and how the engine cuts its work."""

    ceilings: bool = False  # of the machine, in the same process
    sustain_s: float = 0.0  # how long one test is repeated afterwards
    meter: Path | None = None  # an external meter's CSV
    batch_tokens: int | None = None  # llama.cpp's n_batch and n_ubatch; None: as everywhere else
    ubatch_tokens: int | None = None


@dataclass(frozen=True)
class Measured:
    """What was found while the model was open."""

    timed: Sequence[Timed]
    stretches: Sequence[Stretch]
    info: RuntimeInfo
    shape: Shape | None
    peak_bytes: int | None
    peak_gpu_bytes: int | None


def bench_target(
    name: str, load: EngineLoad, options: RuntimeOptions, work: WorkFolder, progress: Progress | None = None,
    besides: Besides = Besides(),
) -> EngineBench:  # fmt: skip
    """The engine bench of whatever TARGET names; a checkpoint is converted to F16 first."""
    found = resolve(name)
    recipe = found.name if found.kind == "recipe" or name in catalogue.embedded_models() else None
    return bench_opened(runnable(found, work, progress), load, options, progress, besides, work, recipe)


def bench_opened(
    target: Target, load: EngineLoad, options: RuntimeOptions, progress: Progress | None = None,
    besides: Besides = Besides(), work: WorkFolder | None = None, recipe: str | None = None,
) -> EngineBench:  # fmt: skip
    """The bench of something that an engine can load. `recipe` is the one that was asked for, if any.

    Raises UsageError for a load that the model has no room for, or settings of another engine; BadInput for a damaged
    artifact or a meter's file that cannot be read or does not cover the run.
    """
    # Before the model: what is wrong with it is told sooner.
    options = with_batches(target, options, besides)
    tokenizer = None if is_without_vocabulary(target) else target.tokenizer()
    watch = Watch(sustained=besides.sustain_s > 0)
    with closing(EnergyWatch(find_sources(meter=besides.meter))) as energy:
        with labelled(progress, "watch the idle machine"):
            energy.measure_idle()
        measured = measure(target, tokenizer, load, options, besides, watch, EnergySum(energy), progress)
    # After the model: they leave the machine as the model left it, and cannot disturb what is timed.
    on_gpu = measured.info.gpu_share > 0 and bool(watch.nvidia.gpus)
    windows = windows_of(measured.stretches, watch.samples, 0 if on_gpu else None)
    ceilings, why_none = ceilings_of(measured.info, options, progress) if besides.ceilings else (None, "not asked for")
    return EngineBench(
        target=target.name,
        model=benched_model(target, work, progress, recipe),
        results=rows_of(measured.timed, measured.shape, ceilings),
        machine=describe_machine(),
        conditions=conditions_of(watch, measured.info, load, windows) | {"ceilings_missing": why_none},
        valid=not watch.reasons,
        reasons=watch.reasons,
        ceilings=ceilings,
        energy=added(use for each in measured.timed for use in each.energy),
        peak_memory_bytes=measured.peak_bytes,
        peak_gpu_memory_bytes=measured.peak_gpu_bytes,
        sustained=windows,
        settings=settings_of(load, options, besides) | {"device": device_of(measured.info, options, watch.nvidia.gpus)},
        created=now(),
    )


def measure(
    target: Target, tokenizer: Tokenizer | None, load: EngineLoad, options: RuntimeOptions, besides: Besides,
    watch: Watch, energy: EnergySum, progress: Progress | None,
) -> Measured:  # fmt: skip
    """Open the model, time it with the machine watched, and close it."""
    documents = catalogue.read_documents(VERIFICATION)
    memory, before = PeakMemory(), used_gpu_bytes(watch.nvidia.gpus)
    with labelled(progress, f"load {target.name}"):
        runtime = target.open_runtime(options)
    with closing(runtime):
        shape = shape_behind(target, options)
        watch.before()
        try:
            with labelled(progress, f"bench {target.name}") as on_progress:
                timed = bench_engine(runtime, tokenizer, documents, load, on_progress, energy)
            stretches = repeated(runtime, tokenizer, documents, load, besides.sustain_s, progress)
        finally:
            watch.after()
        after = used_gpu_bytes(watch.nvidia.gpus)
        on_gpu = runtime.info.gpu_share > 0
        gpu_bytes = after - before if on_gpu and before is not None and after is not None else None
        return Measured(timed, stretches, runtime.info, shape, memory.read(), gpu_bytes)


def repeated(
    runtime: Runtime, tokenizer: Tokenizer | None, documents: Sequence[str], load: EngineLoad, seconds: float,
    progress: Progress | None,
) -> list[Stretch]:  # fmt: skip
    """The sustained run; empty where none is asked for."""
    if not seconds:
        return []
    with labelled(progress, f"sustain {sustained_case(load).name}") as on_progress:
        return sustained(Bench(runtime, tokenizer, documents, load), sustained_case(load), seconds, on_progress)


def sustained_case(load: EngineLoad) -> Case:
    """The first test of decoding, else of a prompt."""
    return next((case for case in load.cases if case.kind == "tg"), load.cases[0])


def with_batches(target: Target, options: RuntimeOptions, besides: Besides) -> RuntimeOptions:
    """Raises UsageError for batch sizes of an engine that has none."""
    if besides.batch_tokens is None and besides.ubatch_tokens is None:
        return options
    if target.engine != "gguf":
        raise UsageError(f"{target.name} is no GGUF, and batch sizes are llama.cpp's; leave --batch and --ubatch out")
    from edgellm.engines.gguf.loading import GgufOptions

    chosen = GgufOptions(**asdict(options))
    return replace(
        chosen,
        step_tokens=besides.batch_tokens or chosen.step_tokens,
        ubatch_tokens=besides.ubatch_tokens or chosen.ubatch_tokens,
    )


def used_gpu_bytes(gpus: Sequence[Gpu]) -> int | None:
    """Of all GPUs together, by whatever program; None where there is none or one does not tell."""
    used = [gpu.used_memory_bytes for gpu in gpus]
    known = [size for size in used if size is not None]
    return sum(known) if known and len(known) == len(used) else None


def device_of(info: RuntimeInfo, options: RuntimeOptions, gpus: Sequence[Gpu]) -> str:
    """What computes: `cpu`, the GPU's name, or both in words where each has a part of the layers."""
    if not info.gpu_share:
        return CPU
    name = gpus[0].name if gpus else "gpu"
    return name if is_all_on_gpu(info, options) else f"{name} and {CPU}"


def ceilings_of(
    info: RuntimeInfo, options: RuntimeOptions, progress: Progress | None
) -> tuple[Ceilings | None, str | None]:  # fmt: skip
    """Of what computed, or why there are none: what was timed is not thrown away for them."""
    from edgellm.bench.ceilings import measure_ceilings

    if info.gpu_share and not is_all_on_gpu(info, options):
        return None, "the model was computed by two devices, and the ceilings of neither bound them together"
    with labelled(progress, "measure the machine's ceilings"):
        try:
            return measure_ceilings(options.threads, "gpu" if info.gpu_share else CPU), None
        except EngineFailed as error:
            return None, str(error)


def is_all_on_gpu(info: RuntimeInfo, options: RuntimeOptions) -> bool:
    return info.gpu_share == 1 and not options.cpu_moe


def conditions_of(watch: Watch, info: RuntimeInfo, load: EngineLoad, windows: Sequence[Window]) -> dict[str, Any]:
    found = watch.conditions | software(info) | {"setup": info.setup, "definitions": list(DEFINITIONS)}
    return found | ({"sustained": told(sustained_case(load), windows)} if windows else {})


def settings_of(load: EngineLoad, options: RuntimeOptions, besides: Besides) -> dict[str, Any]:
    """What was asked for; with this, the same can be asked for again."""
    loaded = {name: value for name, value in asdict(options).items() if name not in ("adapters", "batch_invariant")}
    return {
        "prompt_tokens": list(load.prompt_tokens), "decode_tokens": list(load.decode_tokens),
        "depth": list(load.depth), "parallel": list(load.parallel), "repeat": load.repeat,
        "sustain_s": besides.sustain_s,
    } | loaded  # fmt: skip


def is_without_vocabulary(target: Target) -> bool:
    """Whether the artifact says of itself that it has none, as files from `edgellm synth` do."""
    if target.engine != "gguf" or target.tokenizer_folder is not None:
        return False
    from edgellm.engines.gguf.header import read_header

    assert target.artifact is not None
    return read_header(target.artifact).tokenizer_model == "no_vocab"
