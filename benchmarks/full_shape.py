"""How much faster a recipe's types decode than llama.cpp's own mixture, on files of the model's full shape.

    python benchmarks/full_shape.py llm-jp-4-32b-a3b [--rounds 5] [--tokens 64] [--threads 0] [--layers N]
                                    [--folder DIR] [--keep]

Both files hold random weights (`edgellm synth`), which costs the same to compute as real ones. Memory may be too small
for both, so one is open at a time: in every round each is opened, read once from end to end, warmed up and timed, the
recipe's first in one round and the stock one first in the next. The figure of an opening is the median of its steps;
the ratio is that of the sums over rounds, with a 95 % bootstrap interval over rounds. A step that had to wait for the
disk would measure the disk, so the pages fetched from it while steps were timed are printed: they should be near 0.
With fewer layers both files fit into memory and the layers are the same.
"""

from __future__ import annotations

import argparse
import resource
import statistics
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from edgellm.bench.engine import random_ids
from edgellm.build.synth import synth
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.measures.statistics import ratio_interval
from edgellm.store.catalogue import load_recipe

WARM_UP_TOKENS = 16
READ_BYTES = 16 << 20


@dataclass(frozen=True)
class Opening:
    seconds: float  # of a step, the median
    pages: int  # fetched from the disk meanwhile


def read_once(path: Path) -> None:
    """Bring the file into the page cache as far as there is room."""
    with open(path, "rb", buffering=0) as file:
        while file.read(READ_BYTES):
            pass


def measure(path: Path, tokens: int, threads: int) -> Opening:
    """Open, decode one token at a time, close."""
    read_once(path)
    runtime = open_runtime(path, RuntimeOptions(context_tokens=WARM_UP_TOKENS + tokens, threads=threads))
    try:
        seconds: list[float] = []
        before = 0
        for i, token in enumerate(random_ids(runtime.info.vocab_tokens, WARM_UP_TOKENS + tokens)):
            if i == WARM_UP_TOKENS:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
            start = perf_counter()
            runtime.step([Feed(0, [token])])
            seconds.append(perf_counter() - start)
        pages = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before
    finally:
        runtime.close()
    return Opening(statistics.median(seconds[WARM_UP_TOKENS:]), pages)


def compare(ours: Path, stock: Path, rounds: int, tokens: int, threads: int) -> None:
    found: dict[Path, list[Opening]] = {ours: [], stock: []}
    for number in range(rounds):
        for path in (ours, stock) if number % 2 == 0 else (stock, ours):
            found[path].append(measure(path, tokens, threads))
        mine, theirs = found[ours][-1], found[stock][-1]
        print(
            f"round {number + 1}: recipe {1 / mine.seconds:.2f} tok/s ({mine.pages} pages from disk), "
            f"stock {1 / theirs.seconds:.2f} tok/s ({theirs.pages}), ratio {theirs.seconds / mine.seconds:.3f}",
            flush=True,
        )
    times = {path: np.array([opening.seconds for opening in openings]) for path, openings in found.items()}
    ratio = ratio_interval(times[stock], times[ours])
    print(
        f"the recipe decodes {ratio.value:.3f} times as fast as stock, "
        f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}"
    )
    print(f"bytes alone would give {stock.stat().st_size / ours.stat().st_size:.3f} if every weight were read")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="0: one for each usable core")
    parser.add_argument("--layers", type=int, help="only so many of the model's layers")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where there is room for both files")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave the files there; those that were there before are used and always stay",
    )
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    depth = f"-{arguments.layers}" if arguments.layers else ""
    paths = [arguments.folder / f"{recipe.name}{depth}-{kind}.gguf" for kind in ("recipe", "stock")]
    made: list[Path] = []
    try:
        for path, stock in zip(paths, (False, True), strict=True):
            if not path.exists():
                synth(recipe, path, stock=stock, layers=arguments.layers)
                made.append(path)
            print(f"{path}: {path.stat().st_size:,} bytes", flush=True)
        compare(*paths, arguments.rounds, arguments.tokens, arguments.threads)
    finally:
        if not arguments.keep:
            for path in made:
                path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
