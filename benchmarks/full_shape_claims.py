"""What a mixture of experts costs beside a dense model, both at full shape: the claim of LLM-jp-4 32B-A3B and the 8B.

    python benchmarks/full_shape_claims.py [--rounds 3] [--results benchmarks/results] [--folder DIR] [--layers N]
                                           [--one-at-a-time] [--keep]

Files of both recipes' shapes and types with random weights (`edgellm synth`; the speed is that of real weights) are
benched by the engine bench: pp512, and tg32 of one sequence and of eight. Memory may be too small for both, so in every
round each is opened in turn by a process of its own, the mixture first in one round and the dense model first in the
next. Each opening is a result of its own, saved as `edgellm bench --save` saves it, for `edgellm claims` to find. The
ratios are of the sums of seconds over rounds, with a 95 % bootstrap interval over rounds.

--one-at-a-time makes a file when it is its turn and removes it afterwards, for a disk that does not hold both (18.25
and 5.3 GB). With fewer layers the ratio is about the same, but no claim is about that.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgellm.bench.engine import TG, Case, EngineLoad
from edgellm.build.benching import Besides, bench_opened
from edgellm.build.synth import synth
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.target import resolve
from edgellm.measures.statistics import ratio_interval
from edgellm.records.bench import EngineBench
from edgellm.store.catalogue import load_recipe
from edgellm.store.results import load, save
from edgellm.store.work import WorkFolder, default_root

MIXTURE, DENSE = "llm-jp-4-32b-a3b", "llm-jp-4-8b"
READ_BYTES = 16 << 20
SAID = "saved as "


@dataclass(frozen=True)
class ClaimLoad(EngineLoad):
    """Prompts of one sequence only: eight take minutes, and the claim is about a prompt."""

    @property
    def cases(self) -> list[Case]:
        return [case for case in super().cases if case.kind == TG or case.parallel == 1]


def measure(path: Path, asked: argparse.Namespace) -> Path:
    """Bench one file in this process, and give the file of the result."""
    read_once(path)
    bench = ClaimLoad(
        (asked.prompt_tokens,), (asked.decode_tokens,), parallel=tuple(asked.parallel), repeat=asked.repeat
    )  # fmt: skip
    options = RuntimeOptions(bench.context_tokens, max(bench.parallel), asked.threads)
    result = bench_opened(
        resolve(str(path)), bench, options, besides=Besides(ceilings=True), work=WorkFolder(default_root())
    )  # fmt: skip
    return save(result, asked.results)


def read_once(path: Path) -> None:
    """Bring the file into the page cache as far as there is room, so that loading does not wait for the disk."""
    with open(path, "rb", buffering=0) as file:
        while file.read(READ_BYTES):
            pass


def in_process_of_its_own(path: Path, asked: argparse.Namespace) -> EngineBench:
    command = [sys.executable, __file__, "--measure", str(path), "--results", str(asked.results)]
    command += ["--prompt-tokens", str(asked.prompt_tokens), "--decode-tokens", str(asked.decode_tokens)]
    command += ["--parallel", *map(str, asked.parallel), "--repeat", str(asked.repeat)]
    done = subprocess.run([*command, "--threads", str(asked.threads)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the bench of {path} ended with {done.returncode}")
    result = load(Path(done.stdout.splitlines()[-1].removeprefix(SAID)))
    assert isinstance(result, EngineBench)
    return result


@contextmanager
def file_of(name: str, asked: argparse.Namespace, *, stays: bool) -> Iterator[Path]:
    """The synthetic file of a recipe. One that was there before is used and always stays."""
    depth = f"-{asked.layers}-layers" if asked.layers else ""
    path = asked.folder / f"{name}{depth}.gguf"
    was_there = path.exists()
    if not was_there:
        synth(load_recipe(name), path, layers=asked.layers)
        print(f"{path}: {path.stat().st_size:,} bytes", flush=True)
    try:
        yield path
    finally:
        if not was_there and not stays:
            path.unlink(missing_ok=True)


def rounds(asked: argparse.Namespace) -> Iterator[dict[str, EngineBench]]:
    for number in range(asked.rounds):
        found: dict[str, EngineBench] = {}
        for name in (MIXTURE, DENSE) if number % 2 == 0 else (DENSE, MIXTURE):
            with file_of(name, asked, stays=not asked.one_at_a_time) as path:
                found[name] = in_process_of_its_own(path, asked)
            for row in found[name].results:
                share = "" if row.bandwidth_fraction is None else f", {row.bandwidth_fraction:.0%} of the bandwidth"
                print(f"round {number + 1}: {name} {row.test} {row.tokens_per_s.median:.2f} tok/s{share}", flush=True)
            if not found[name].valid:
                print(f"  not valid: {'; '.join(found[name].reasons)}", flush=True)
        yield found


def compare(found: Sequence[dict[str, EngineBench]]) -> None:
    for place, row in enumerate(found[0][MIXTURE].results):
        seconds = {
            name: np.array([float(np.median(each[name].results[place].seconds)) for each in found])
            for name in (MIXTURE, DENSE)
        }
        ratio = ratio_interval(seconds[DENSE], seconds[MIXTURE])
        print(
            f"{row.test}: {MIXTURE} is {ratio.value:.3f} times as fast as {DENSE}, "
            f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder of results")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="for the models")
    parser.add_argument("--layers", type=int, help="only so many of the models' layers")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--decode-tokens", type=int, default=32)
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeat", type=int, default=1, help="timed runs of each test in an opening")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each usable core")
    parser.add_argument("--one-at-a-time", action="store_true", help="never have both files on the disk")
    parser.add_argument("--keep", action="store_true", help="leave the files that were made")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(f"{SAID}{measure(asked.measure, asked)}")
        return
    asked.folder.mkdir(parents=True, exist_ok=True)
    # Around all rounds: what these make goes at the end, whatever happens meanwhile.
    if asked.one_at_a_time:
        compare(list(rounds(asked)))
        return
    with file_of(MIXTURE, asked, stays=asked.keep), file_of(DENSE, asked, stays=asked.keep):
        compare(list(rounds(asked)))


if __name__ == "__main__":
    main()
