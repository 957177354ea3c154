"""Time to the first token with the prefix cache and without, on the same requests in turn.

    python benchmarks/prefix_cache.py MODEL.gguf [--hybrid PLAMO2.gguf] [--rounds 5] [--threads 0]

Three uses: clients who share a system prompt, a conversation of five turns, and the second turn of a model that
cannot be cut. Prompts are random tokens, which changes no time. Every round makes the same requests of a scheduler
with an empty cache and of one without any, so that a machine that is busy for a while disturbs both; medians of the
rounds, and of their ratios.
"""

from __future__ import annotations

import argparse
import statistics
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import Runtime, RuntimeOptions
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.generation import End, Item, Request
from edgellm.inference.prefix_cache import PrefixCache
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions

CLIENTS, REQUESTS = 8, 2
SYSTEM, QUESTION, ANSWER = 1500, 64, 32  # tokens
TURNS, TURN_QUESTION, TURN_ANSWER = 5, 128, 96
HYBRID_PROMPT, ASKING = 1000, 8  # `ASKING`: the words of a template that ask for an answer
GREEDY = SamplingOptions(temperature=0.0)
Measure = Callable[[Runtime, Scheduler], float]  # seconds to a first token


def ask(scheduler: Scheduler, ids: Sequence[int], count: int, checkpoints: tuple[int, ...] = ()) -> tuple[float, list]:
    """Seconds to the first token, and the answer; waits for its end."""
    items: list[Item] = []
    first: list[float] = []
    ended = threading.Event()

    def listen(item: Item) -> None:
        if not first:
            first.append(perf_counter())
        items.append(item)
        if isinstance(item, End):
            ended.set()

    began = perf_counter()
    scheduler.submit(Request(ids, GREEDY, count, ignore_eos=True, checkpoints=checkpoints), listen)
    ended.wait()
    return first[0] - began, items[:-1]


def random_ids(runtime: Runtime, count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(100, runtime.info.vocab_tokens, count).tolist()


def shared_system_prompt(runtime: Runtime, scheduler: Scheduler, nth: int) -> float:
    """Median over the clients of their `nth` requests; all clients begin at once and go on at their own pace."""
    system, times = random_ids(runtime, SYSTEM, 0), []

    def client(number: int) -> None:
        for request in range(nth + 1):
            prompt = system + random_ids(runtime, QUESTION, 1 + number * REQUESTS + request)
            seconds, _ = ask(scheduler, prompt, ANSWER)
        times.append(seconds)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.median(times)


def last_turn(runtime: Runtime, scheduler: Scheduler, turns: int, first: int, rewrites: bool) -> float:
    """The last of several turns, the first of which has `first` tokens.

    A template that `rewrites` asks for an answer in other words than it writes it into the history.
    """
    history, seconds = random_ids(runtime, first, 0), 0.0
    for turn in range(turns):
        question = random_ids(runtime, TURN_QUESTION, 1 + turn)
        prompt = history + question + random_ids(runtime, ASKING, 99)
        seconds, answer = ask(scheduler, prompt, TURN_ANSWER, (len(history) + len(question),))
        history = (prompt[:-ASKING] if rewrites else prompt) + answer
    return seconds


def compare(
    runtime: Runtime, measure: Callable[[Runtime, Scheduler], float], rounds: int
) -> tuple[float, float, float]:
    """Seconds with the cache and without, and the median of their ratios."""
    pairs = []
    for number in range(rounds):
        seconds = {}
        for on in (True, False) if number % 2 else (False, True):
            for sequence in range(runtime.info.sequences):
                runtime.keep(sequence, 0)
            options = SchedulerOptions() if on else SchedulerOptions(cache_bytes=0)
            with Scheduler(runtime, options, cache=PrefixCache(runtime, options)) as scheduler:
                seconds[on] = measure(runtime, scheduler)
        pairs.append((seconds[True], seconds[False]))
    cached, fresh = (statistics.median(column) for column in zip(*pairs, strict=True))
    return cached, fresh, statistics.median(one / other for one, other in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--hybrid", type=Path, help="a PLaMo 2 file, for the third use")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: one for each usable core")
    arguments = parser.parse_args()
    opened = partial(
        RuntimeOptions, context_tokens=2048, threads=arguments.threads, batch_invariant=True, second_weights=None
    )  # as `serve` opens a model
    uses: list[tuple[str, Path, int, Measure]] = [
        (f"{CLIENTS} clients, {SYSTEM} tokens shared, first requests, p50", arguments.model, CLIENTS,
         partial(shared_system_prompt, nth=0)),
        (f"{CLIENTS} clients, {SYSTEM} tokens shared, second requests, p50", arguments.model, CLIENTS,
         partial(shared_system_prompt, nth=1)),
        (f"conversation, turn {TURNS}", arguments.model, CLIENTS,
         partial(last_turn, turns=TURNS, first=300, rewrites=False)),
    ]  # fmt: skip
    if arguments.hybrid:
        uses.append(
            ("hybrid, turn 2", arguments.hybrid, 2, partial(last_turn, turns=2, first=HYBRID_PROMPT, rewrites=True))
        )
    print("| time to the first token | with the cache, ms | without, ms | ratio |\n|---|---|---|---|")
    for name, model, sequences, measure in uses:
        runtime = open_runtime(model, opened(sequences=sequences))
        cached, fresh, ratio = compare(runtime, measure, arguments.rounds)
        print(f"| {name} | {cached * 1e3:.0f} | {fresh * 1e3:.0f} | {ratio:.3f} |", flush=True)
        runtime.close()


if __name__ == "__main__":
    main()
