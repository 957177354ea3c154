"""How much of a server's decode step is Python: a scheduler's time outside `llama_decode`, for 1 and 8 answers.

    python benchmarks/decode_overhead.py MODEL.gguf [--steps 150] [--depth 64] [--threads 0]

Every answer begins with a prompt of `depth` tokens of its own; what counts is the time from when all of them have
begun until the first has ended: composing a step, feeding it, drawing a token for each answer (greedy, or with
temperature 0.7 and top_p 0.9) and delivering it. Both numbers of a line come from the same steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from time import perf_counter

import llama_cpp
import numpy as np

from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.generation import End, Item, Request
from edgellm.inference.scheduler import Scheduler

SAMPLINGS = {"greedy": SamplingOptions(temperature=0.0), "sampled": SamplingOptions(0.7, 0.9, seed=1)}


class TimedDecode:
    """Stands around `llama_decode`, waits for its results and adds up the seconds."""

    def __init__(self) -> None:
        self._decode = llama_cpp.llama_decode
        self.seconds = 0.0

    def __call__(self, context: object, batch: llama_cpp.llama_batch) -> int:
        start = perf_counter()
        code: int = self._decode(context, batch)
        llama_cpp.llama_synchronize(context)
        self.seconds += perf_counter() - start
        return code


class Listeners:
    """Notes the time and the seconds of `llama_decode` when the last answer has begun and when the first one ends."""

    def __init__(self, answers: int, timed: TimedDecode) -> None:
        self.begun = [False] * answers
        self.marks: list[tuple[float, float, int]] = []  # at the start and at the end; with the tokens until then
        self.ended = Event()
        self._tokens = 0
        self._timed = timed

    def take(self, answer: int, item: Item) -> None:
        self._tokens += 1
        if not self.begun[answer]:
            self.begun[answer] = True
            if all(self.begun):
                self._mark()
        elif isinstance(item, End) and len(self.marks) == 1:
            self._mark()
            self.ended.set()

    def _mark(self) -> None:
        self.marks.append((perf_counter(), self._timed.seconds, self._tokens))


def measure(
    model: Path, answers: int, sampling: SamplingOptions, arguments: argparse.Namespace, timed: TimedDecode
) -> tuple[float, float]:
    """Seconds of a step, and of its part outside `llama_decode`."""
    tokens = arguments.steps + answers + 1  # answers begin one after the other
    context_tokens = arguments.depth + tokens
    runtime = open_runtime(model, RuntimeOptions(context_tokens, answers, arguments.threads))
    listeners = Listeners(answers, timed)
    with Scheduler(runtime) as scheduler:
        for answer, ids in enumerate(_prompts(answers, arguments.depth, runtime.info.vocab_tokens)):
            request = Request(ids, sampling, tokens, ignore_eos=True)
            scheduler.submit(request, lambda item, answer=answer: listeners.take(answer, item))  # type: ignore[misc]
        listeners.ended.wait()
    runtime.close()
    (start, decoding, before), (end, decoded, after) = listeners.marks
    steps = (after - before) / answers
    return (end - start) / steps, ((end - start) - (decoded - decoding)) / steps


def _prompts(count: int, length: int, vocab_tokens: int) -> Sequence[list[int]]:
    return [ids.tolist() for ids in np.random.default_rng(0).integers(0, vocab_tokens, (count, length))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--depth", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="0: one for each usable core")
    arguments = parser.parse_args()
    timed = TimedDecode()
    llama_cpp.llama_decode = timed
    print("answers  drawn    step ms  Python us  share")
    for answers in (1, 8):
        for name, sampling in SAMPLINGS.items():
            whole, python = measure(arguments.model, answers, sampling, arguments, timed)
            print(f"{answers:7}  {name:7}  {whole * 1e3:7.2f}  {python * 1e6:9.0f}  {python / whole:5.1%}", flush=True)


if __name__ == "__main__":
    main()
