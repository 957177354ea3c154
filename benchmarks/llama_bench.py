"""Whether `edgellm bench` gives the speeds that llama-bench gives, built from the sources of the same engine.

    python benchmarks/llama_bench.py build --folder DIR [--sources FILE|DIR] [--jobs N]
    python benchmarks/llama_bench.py run MODEL.gguf --folder DIR [--pairs 20] [--starts 3] [--repeat 2] [--threads 0]
                                            [--out FILE]

`build` takes the sources that llama-cpp-python's sdist carries, of the very version that is installed (fetched with pip
unless they are named), and lets the sdist's own CMakeLists choose every option, so that the libraries come out as those
of the installed package; it takes some minutes and 1 GB of disk. CMAKE_ARGS is heeded, as it is by pip.

`run` starts both programs in turn, each in a process of its own that loads the model, warms up and times pp512 and
tg128; which comes first changes with every start. Both get the same threads, batch sizes, KV types and flash attention.
What else a machine does only ever adds time, and processes of one program differ by 10 % and more for as long as they
live, so a pair has several starts of each, and each side counts by its fastest run; the medians are given beside it.
The ratio of speeds is that of the sums of seconds, with a 95 % bootstrap interval over pairs. Ends with exit code 1 if
an interval leaves the bounds of 0.95 and 1.05.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgellm.engines.cores import usable_cores
from edgellm.measures.statistics import ratio_interval
from edgellm.store import digest

PACKAGE = "llama-cpp-python"
BOUNDS = (0.95, 1.05)
BATCH, UBATCH = 2048, 512
Seconds = dict[str, list[float]]  # by test, `pp512` say: every timed run


def sources_in(folder: Path, given: Path | None) -> Path:
    """The unpacked sdist, which is fetched with pip unless it is given as a file or folder."""
    if given is not None and given.is_dir():
        return given
    wanted = version(PACKAGE)
    if given is None:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", PACKAGE]
        subprocess.run([*command, "--dest", str(folder), f"{PACKAGE}=={wanted}"], check=True)
        given = next(folder.glob("llama_cpp_python-*.tar.gz"))
    unpacked = folder / given.name.removesuffix(".tar.gz")
    if not unpacked.name.endswith(wanted):
        raise SystemExit(f"{given} is of another version than the installed {PACKAGE} {wanted}")
    if not (unpacked / "CMakeLists.txt").is_file():
        with tarfile.open(given) as archive:
            archive.extractall(folder, filter="data")
    return unpacked


def build(folder: Path, given: Path | None, jobs: int) -> Path:
    """Compile llama-bench; what is built already is not built again."""
    folder.mkdir(parents=True, exist_ok=True)
    sources, made = sources_in(folder, given), folder / "build"
    # Nothing but what pip sets too, and which programs to make.
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DLLAVA_BUILD=OFF", "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_SERVER=OFF"]
    options += ["-DSKBUILD_PLATLIB_DIR=unused", *shlex.split(os.environ.get("CMAKE_ARGS", ""))]
    subprocess.run(["cmake", "-S", str(sources), "-B", str(made), *options], check=True)
    subprocess.run(["cmake", "--build", str(made), "--target", "llama-bench", "-j", str(jobs)], check=True)
    return program_in(folder)


def program_in(folder: Path) -> Path:
    found = [path for path in folder.rglob("llama-bench") if path.is_file() and os.access(path, os.X_OK)]
    if not found:
        raise SystemExit(f"there is no llama-bench in {folder}; run the script with `build` first")
    return found[0]


def by_llama_bench(program: Path, model: Path, asked: argparse.Namespace) -> Seconds:
    command = [str(program), "-m", str(model), "-p", str(asked.prompt_tokens), "-n", str(asked.decode_tokens)]
    command += ["-d", str(asked.depth), "-r", str(asked.repeat), "-t", str(asked.threads)]
    command += ["-b", str(BATCH), "-ub", str(UBATCH), "-ctk", "f16", "-ctv", "f16", "-fa", "auto", "-o", "json"]
    rows: list[dict[str, Any]] = json.loads(output_of(command))
    return {name_of(row): [nanoseconds / 1e9 for nanoseconds in row["samples_ns"]] for row in rows}


def name_of(row: Mapping[str, Any]) -> str:
    return f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}"


def by_edgellm(model: Path, asked: argparse.Namespace) -> Seconds:
    command = [sys.executable, "-m", "edgellm", "bench", str(model), "--json", "--no-ceilings"]
    command += ["--prompt-tokens", str(asked.prompt_tokens), "--decode-tokens", str(asked.decode_tokens)]
    command += ["--depth", str(asked.depth), "--repeat", str(asked.repeat), "--threads", str(asked.threads)]
    command += ["--batch", str(BATCH), "--ubatch", str(UBATCH)]
    result = json.loads(output_of(command))
    if not result["valid"]:
        print(f"  not valid: {'; '.join(result['reasons'])}", flush=True)
    return {f"{row['kind']}{row['tokens']}": row["seconds"] for row in result["results"]}


def output_of(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def run(program: Path, model: Path, asked: argparse.Namespace) -> list[dict[str, Seconds]]:
    pairs = []
    for number in range(asked.pairs):
        pair: dict[str, Seconds] = {"edgellm": {}, "llama-bench": {}}
        for start in range(asked.starts):
            order = list(pair) if (number + start) % 2 == 0 else list(pair)[::-1]
            for who in order:
                found = by_edgellm(model, asked) if who == "edgellm" else by_llama_bench(program, model, asked)
                for test, seconds in found.items():
                    pair[who].setdefault(test, []).extend(seconds)
        pairs.append(pair)
        ratios = {test: min(pair["llama-bench"][test]) / min(seconds) for test, seconds in pair["edgellm"].items()}
        print(f"pair {number + 1}: " + ", ".join(f"{test} {ratio:.3f}" for test, ratio in ratios.items()), flush=True)
    return pairs


def summary(pairs: Sequence[Mapping[str, Seconds]]) -> dict[str, Any]:
    """By test: both speeds in tokens a second, and edgellm's as a multiple of llama-bench's."""
    found = {}
    for test in pairs[0]["edgellm"]:
        ours, theirs = (np.array([min(pair[who][test]) for pair in pairs]) for who in ("edgellm", "llama-bench"))
        middle = [np.array([statistics.median(pair[w][test]) for pair in pairs]) for w in ("edgellm", "llama-bench")]
        ratio, tokens = ratio_interval(theirs, ours), int(test[2:])
        found[test] = {
            "edgellm_tokens_per_s": tokens / float(np.median(ours)),
            "llama_bench_tokens_per_s": tokens / float(np.median(theirs)),
            "ratio": ratio.model_dump(),
            "ratio_of_medians": ratio_interval(middle[1], middle[0]).model_dump(),
            "within_bounds": bool(BOUNDS[0] <= ratio.low and ratio.high <= BOUNDS[1]),
        }
    return found


def report(model: Path, asked: argparse.Namespace, pairs: Sequence[Mapping[str, Seconds]]) -> bool:
    """Print, and write where asked; gives whether every interval is within the bounds."""
    found = summary(pairs)
    for test, row in found.items():
        ratio, middle = row["ratio"], row["ratio_of_medians"]
        print(
            f"{test}: edgellm {row['edgellm_tokens_per_s']:.2f} tok/s, llama-bench "
            f"{row['llama_bench_tokens_per_s']:.2f}, ratio {ratio['value']:.4f} [{ratio['low']:.4f}, "
            f"{ratio['high']:.4f}] (of medians {middle['value']:.3f} [{middle['low']:.3f}, {middle['high']:.3f}]), "
            f"{'within' if row['within_bounds'] else 'NOT within'} {BOUNDS[0]} to {BOUNDS[1]}"
        )
    if asked.out:
        document = {
            "model": model.name, "sha256": digest.of_file(model), "engine": f"{PACKAGE} {version(PACKAGE)}",
            "threads": asked.threads, "starts": asked.starts, "repeat": asked.repeat, "depth": asked.depth,
            "pairs": list(pairs),
            "created": datetime.now(UTC).isoformat(timespec="seconds"), "tests": found,
        }  # fmt: skip
        asked.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return all(row["within_bounds"] for row in found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    making = verbs.add_parser("build")
    running = verbs.add_parser("run")
    for each in (making, running):
        each.add_argument("--folder", type=Path, required=True, help="for the sources and the build")
    making.add_argument("--sources", type=Path, help="the sdist, packed or not")
    making.add_argument("--jobs", type=int, default=usable_cores())
    running.add_argument("model", type=Path)
    running.add_argument("--pairs", type=int, default=20)
    running.add_argument("--starts", type=int, default=3, help="processes of each side in a pair")
    running.add_argument("--repeat", type=int, default=2, help="timed runs of each process")
    running.add_argument("--prompt-tokens", type=int, default=512)
    running.add_argument("--decode-tokens", type=int, default=128)
    running.add_argument("--depth", type=int, default=0)
    running.add_argument("--threads", type=int, default=0, help="0: one for each usable core")
    running.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    asked = parser.parse_args()
    if asked.verb == "build":
        print(build(asked.folder, asked.sources, asked.jobs))
        return
    asked.threads = asked.threads or usable_cores()
    program = program_in(asked.folder)
    if not report(asked.model, asked, run(program, asked.model, asked)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
