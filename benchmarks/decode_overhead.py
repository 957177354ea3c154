"""How much of a decode step is Python: the time of `step` outside `llama_decode`, for 1 and 8 sequences.

    python benchmarks/decode_overhead.py MODEL.gguf [--steps 200] [--depth 64] [--threads 0]

Every sequence first takes `depth` tokens; then each step feeds one token to all of them and gets its logits,
as a server does while it answers. Medians over the steps; the tokens are random, which changes no time.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from time import perf_counter

import llama_cpp
import numpy as np

from edgellm.engines.gguf.runtime import open_runtime
from edgellm.engines.protocol import Feed, RuntimeOptions


class TimedDecode:
    """Stands around `llama_decode` and keeps the seconds of its last call."""

    def __init__(self) -> None:
        self._decode = llama_cpp.llama_decode
        self.seconds = 0.0

    def __call__(self, context: object, batch: llama_cpp.llama_batch) -> int:
        start = perf_counter()
        code: int = self._decode(context, batch)
        self.seconds = perf_counter() - start
        return code


def measure(
    model: Path, sequences: int, steps: int, depth: int, threads: int, timed: TimedDecode
) -> tuple[float, float]:
    """Median seconds of a whole step and of its Python part."""
    options = RuntimeOptions(context_tokens=depth + steps, sequences=sequences, threads=threads)
    runtime = open_runtime(model, options)
    rng = np.random.default_rng(0)
    vocab = runtime.info.vocab_tokens
    for sequence in range(sequences):
        runtime.step([Feed(sequence, rng.integers(0, vocab, depth).tolist(), "none")])
    whole: list[float] = []
    python: list[float] = []
    for _ in range(steps):
        feeds = [Feed(s, [int(token)]) for s, token in enumerate(rng.integers(0, vocab, sequences))]
        start = perf_counter()
        runtime.step(feeds)
        whole.append(perf_counter() - start)
        python.append(whole[-1] - timed.seconds)
    runtime.close()
    return statistics.median(whole), statistics.median(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--depth", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="0: one for each usable core")
    arguments = parser.parse_args()
    timed = TimedDecode()
    llama_cpp.llama_decode = timed
    print("sequences  step ms  Python us  share")
    for sequences in (1, 8):
        whole, python = measure(arguments.model, sequences, arguments.steps, arguments.depth, arguments.threads, timed)
        print(f"{sequences:9}  {whole * 1e3:7.2f}  {python * 1e6:9.0f}  {python / whole:5.1%}")


if __name__ == "__main__":
    main()
