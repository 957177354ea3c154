"""The speed of a model of full depth, from two models of its very shapes and types with a few of its layers.

A layer takes as long in a shallow model as in a deep one, so seconds are a straight line over the number of layers:
what embedding and output take, and so much a layer. Two files of random weights tell both, of 2 and 4 layers, or of 4
and 8 where layers are small. Their error is that of the timing, and grows with the distance; benchmarks/prediction.py
measures it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

from edgellm.bench.engine import random_ids
from edgellm.build.recipes import config_of
from edgellm.build.synth import synth
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import Feed, Runtime, RuntimeOptions
from edgellm.errors import UsageError
from edgellm.records.recipe import Recipe
from edgellm.stages import Progress, labelled
from edgellm.store.work import default_root

# Both halves of them, so that llama.cpp's mixtures give as many layers more bits as at any depth (half of them), and
# layers of two kinds that take turns come in their proportion.
DEPTHS = (2, 4)
# Of small layers twice as many, which cost little: two of them may lie in the processor's caches, and what a layer
# takes is lost in the noise of all else.
DEEPER, DEEPER_BYTES = (4, 8), 2_000_000_000
PROMPT_TOKENS = 512
WARM_STEPS, STEPS, ROUNDS = 2, 10, 5
PROMPT = "prompt"
Test = int | str  # so many sequences that decode a token each, or PROMPT


@dataclass(frozen=True)
class Types:
    """Which types of a recipe, as `synth` takes them."""

    type_name: str | None = None
    variant: str | None = None
    stock: bool = False


@dataclass(frozen=True)
class Line:
    """Seconds of one pass over the number of layers."""

    base: float
    a_layer: float

    def at(self, layers: int) -> float:
        return self.base + layers * self.a_layer


@dataclass(frozen=True)
class Measured:
    """Of each test its line; and the layers and seconds that it goes through."""

    lines: Mapping[Test, Line]
    seconds: Mapping[int, Mapping[Test, float]]

    def decode_tokens_per_s(self, layers: int, sequences: int) -> float:
        return sequences / self.lines[sequences].at(layers)

    def prefill_tokens_per_s(self, layers: int) -> float:
        return PROMPT_TOKENS / self.lines[PROMPT].at(layers)


def measure(
    recipe: Recipe, types: Types, *, sequences: Sequence[int] = (1,), depth: int = 0, threads: int = 0,
    progress: Progress | None = None, beside: Mapping[int, Path] | None = None,
) -> Measured:  # fmt: skip
    """Make both files, time them in turn in one process, remove them. `depth`: tokens that sequences hold.

    beside: deeper files by their layers that take turns with them, for `Measured.seconds` alone: no line knows of them.
    Raises as `synth`, and UsageError for a model that has no more layers than the deeper file.
    """
    full = config_of(recipe).get("num_hidden_layers")
    if type(full) is int and full <= DEPTHS[1]:
        raise UsageError(f"{recipe.name} has {full} layers, so there is nothing to extrapolate; bench it as it is")
    root = default_root()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="depth-", dir=root) as folder:
        files, sizes = {}, {}

        def write(layers: int) -> None:
            files[layers] = Path(folder) / f"{layers}-layers.gguf"
            sizes[layers] = synth(
                recipe, files[layers], type_name=types.type_name, variant=types.variant, stock=types.stock,
                layers=layers, progress=progress,
            ).size_bytes  # fmt: skip

        few, more = DEPTHS
        write(few)
        write(more)
        a_layer_bytes = (sizes[more] - sizes[few]) / (more - few)
        if type(full) is int and full > DEEPER[1] and a_layer_bytes * DEEPER[1] <= DEEPER_BYTES:
            files.pop(few).unlink()
            few, more = DEEPER
            write(more)
        seconds = time_files({**files, **(beside or {})}, sequences, depth, threads, progress)
    lines = {test: line(few, seconds[few][test], more, seconds[more][test]) for test in seconds[few]}
    return Measured(lines, seconds)


def line(few: int, seconds_few: float, more: int, seconds_more: float) -> Line:
    a_layer = (seconds_more - seconds_few) / (more - few)
    return Line(seconds_few - few * a_layer, a_layer)


def time_files(
    files: Mapping[int, Path], sequences: Sequence[int], depth: int = 0, threads: int = 0,
    progress: Progress | None = None,
) -> dict[int, dict[Test, float]]:  # fmt: skip
    """Median seconds of each test by file. In each test the files take turns of a second or so, so that what slows the
    machine slows all of them."""
    context = max(depth + WARM_STEPS + STEPS, PROMPT_TOKENS)
    options = RuntimeOptions(context_tokens=context, sequences=max(sequences), threads=threads)
    tests: tuple[Test, ...] = (*sequences, PROMPT)
    found: dict[int, dict[Test, list[float]]] = {key: {test: [] for test in tests} for key in files}
    with ExitStack() as opened, labelled(progress, "time the layers") as on_progress:
        runtimes = {key: opened.enter_context(closing(open_runtime(path, options))) for key, path in files.items()}
        for number, (test, _) in enumerate(product(tests, range(ROUNDS))):
            for key, runtime in runtimes.items():
                found[key][test] += [time_prompt(runtime)] if test == PROMPT else time_decode(runtime, int(test), depth)
            if on_progress:
                on_progress(number + 1, len(tests) * ROUNDS)
    return {key: {test: median(times) for test, times in by_test.items()} for key, by_test in found.items()}


def time_decode(runtime: Runtime, sequences: int, depth: int) -> list[float]:
    """Seconds of single steps of so many sequences that hold `depth` tokens, every one with tokens of its own."""
    needed = depth + WARM_STEPS + STEPS
    ids = random_ids(runtime.info.vocab_tokens, sequences * needed)
    own = [ids[s * needed : (s + 1) * needed] for s in range(sequences)]
    for sequence in range(sequences):
        runtime.keep(sequence, 0)
        for start in range(0, depth, runtime.info.step_tokens):
            runtime.step([Feed(sequence, own[sequence][start : min(depth, start + runtime.info.step_tokens)], "none")])
    seconds = []
    for i in range(depth, needed):
        began = time.perf_counter()
        runtime.step([Feed(s, own[s][i : i + 1]) for s in range(sequences)])
        seconds.append(time.perf_counter() - began)
    return seconds[WARM_STEPS:]


def time_prompt(runtime: Runtime) -> float:
    ids = random_ids(runtime.info.vocab_tokens, PROMPT_TOKENS)
    runtime.keep(0, 0)
    began = time.perf_counter()
    runtime.step([Feed(0, ids)])
    return time.perf_counter() - began
