"""Output tokens per second of `edgellm serve` beside llama-server, and llama-cpp-python's server, on one machine.

    python benchmarks/serving.py BUNDLE --llama-server PROGRAM [--llama-cpp-python PYTHON] [--clients 1 4 8 16]
                                 [--sittings 4] [--pairs 5] [--requests 2] [--prompt-tokens 512] [--output-tokens 128]
                                 [--text] [--threads N] [--json FILE]

All servers run at the same time and are asked in turn, so that what else the machine does hits each of them: in every
pair each server gets one round with the same prompts, the first one last in the next pair. For each sitting they are
started anew, since where a process comes to lie in memory makes it faster or slower for as long as it runs. A round is
so many clients that begin together and send `--requests` streaming requests one after the other, of Japanese prompts no
two of which begin alike, to /v1/completions, at temperature 0 and with `ignore_eos`. With `--text` prompts are sent as
text, as people do, and each server cuts it into tokens in its own way; otherwise as the same token ids.

Printed: medians over pairs, and for each number of clients the ratio of edgellm to the other with a 95 % bootstrap
interval over pairs. A machine with a GPU needs nothing else: both servers take it where their build can.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgellm.engines.cores import usable_cores
from edgellm.inference.target import resolve
from edgellm.measures.statistics import ratio_interval
from japanese_prompts import prompts
from load import Round, run_round
from peers import edgellm_command, free_port, llama_cpp_python_command, llama_server_command, started

OURS, SERVER, PYTHON = "edgellm", "llama-server", "llama-cpp-python"


def body_of(prompt: list[int] | str, tokens: int, stop_ids: Sequence[int]) -> dict[str, Any]:
    """llama-cpp-python's server knows no `ignore_eos`, so the stop tokens are banned as well."""
    bias = {str(token): -100 for token in stop_ids}
    return {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "logit_bias": bias}


def bodies(source: Iterator[Any], clients: int, requests: int, tokens: int, stop_ids: Sequence[int]) -> list[Any]:
    return [[body_of(p, tokens, stop_ids) for p in islice(source, requests)] for _ in range(clients)]


def measure(
    urls: Mapping[str, str], clients: int, given: argparse.Namespace, source: Iterator[Any], stop_ids: Sequence[int],
    rounds: Mapping[str, list[Round | None]],
) -> None:  # fmt: skip
    """One sitting's pairs, added to the `rounds` of each server: None for a pair in which it has no part."""
    requests = given.requests * (3 if clients == 1 else 1)
    for pair in range(given.pairs):
        load = bodies(source, clients, requests, given.output_tokens, stop_ids)
        for name in list(urls) if pair % 2 == 0 else list(urls)[::-1]:
            left_out = name == PYTHON and (clients != 8 or pair >= given.python_pairs)
            rounds[name].append(None if left_out else run_round(urls[name], "/v1/completions", load))


RATIOS: dict[str, Callable[[Round], float]] = {
    "output_tokens_per_s": lambda each: each.output_tokens_per_s,
    "requests_per_s": lambda each: each.requests_per_s,
    "ttft_p90_s": lambda each: each.ttft_s(90),
}


def shown(clients: int, rounds: Mapping[str, Sequence[Round | None]]) -> dict[str, Any]:
    """One row of the table for each peer, and what goes into the JSON file."""
    row: dict[str, Any] = {"clients": clients}
    for name, all_rounds in rounds.items():
        each = [r for r in all_rounds if r is not None]
        if not each:
            continue
        row[name] = {
            **{of: [round(value(r), 4) for r in each] for of, value in RATIOS.items()},
            "ttft_p50_ms": round(statistics.median(r.ttft_s(50) for r in each) * 1000, 1),
            "ttft_p90_ms": round(statistics.median(r.ttft_s(90) for r in each) * 1000, 1),
            "gap_p99_ms": round(
                statistics.median(np.percentile([g for s in r.samples for g in s.gaps_s], 99) * 1000 for r in each), 1
            ),
            "prompt_tokens": sum(r.prompt_tokens for r in each),
        }
    for name in rounds:
        if name == OURS or name not in row:
            continue
        both = [(a, b) for a, b in zip(rounds[OURS], rounds[name], strict=True) if a is not None and b is not None]
        for of, value in RATIOS.items():
            ratio = ratio_interval(*(np.array([value(r) for r in side]) for side in zip(*both, strict=True)))
            row[name][f"{of}_ratio"] = [round(v, 4) for v in (ratio.value, ratio.low, ratio.high)]
        print(
            f"| {clients} | {statistics.median(row[OURS]['output_tokens_per_s']):.1f} "
            f"| {name} {statistics.median(row[name]['output_tokens_per_s']):.1f} "
            f"| {bracketed(row[name]['output_tokens_per_s_ratio'])} | {bracketed(row[name]['requests_per_s_ratio'])} "
            f"| {row[OURS]['ttft_p50_ms']:.0f} / {row[name]['ttft_p50_ms']:.0f} "
            f"| {row[OURS]['ttft_p90_ms']:.0f} / {row[name]['ttft_p90_ms']:.0f} "
            f"| {bracketed(row[name]['ttft_p90_s_ratio'])} "
            f"| {row[OURS]['gap_p99_ms']:.0f} / {row[name]['gap_p99_ms']:.0f} |",
            flush=True,
        )
    return row


def bracketed(ratio: Sequence[float]) -> str:
    return f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"


def server(
    name: str, given: argparse.Namespace, model: Path, sequences: int, context: int
) -> AbstractContextManager[str]:
    port = free_port()
    if name == OURS:
        options = ["--threads", str(given.threads), *given.serve_option]
        return started(edgellm_command(given.bundle, port, sequences, context, options), port)
    if name == SERVER:
        command = llama_server_command(given.llama_server, model, port, sequences, context, given.threads)
        return started(command, port, lib=given.llama_server.parent)
    command = llama_cpp_python_command(given.llama_cpp_python, model, port, context, given.threads)
    return started(command, port, "/v1/models")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--llama-server", type=Path, required=True)
    parser.add_argument("--llama-cpp-python", type=Path, help="a Python with llama_cpp.server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--sittings", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=5, help="in each sitting")
    parser.add_argument(
        "--python-pairs", type=int, default=2, help="of them, those that llama-cpp-python takes part in"
    )
    parser.add_argument("--requests", type=int, default=2, help="of each client in a round; three times as many alone")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--output-tokens", type=int, default=128)
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--serve-option", action="append", default=[], help="one more word for edgellm serve")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    target = resolve(given.bundle)
    tokenizer, model = target.tokenizer(), target.artifact
    assert model is not None
    context, sequences = given.prompt_tokens * 5 // 4 + given.output_tokens, max(given.clients)
    context = -(-context // 256) * 256
    source: Iterator[Any] = prompts(tokenizer, given.prompt_tokens)
    if given.text or given.llama_cpp_python:
        source = (tokenizer.decode(ids) for ids in source)
    names = [OURS, SERVER, *([PYTHON] if given.llama_cpp_python else [])]
    rounds: dict[int, dict[str, list[Round | None]]] = {n: {name: [] for name in names} for n in given.clients}
    for sitting in range(given.sittings):
        with ExitStack() as running:
            urls = {name: running.enter_context(server(name, given, model, sequences, context)) for name in names}
            for url in urls.values():  # warm-up: pages of the file, kernels, speeds that a scheduler learns
                run_round(url, "/v1/completions", bodies(source, 2, 1, 32, tokenizer.stop_ids))
            print(f"\nafter {sitting + 1} of {given.sittings} sittings, {given.pairs} pairs each")
            print("| clients | edgellm tok/s | peer tok/s | tok/s | req/s | TTFT p50, ms | p90 | ratio | gap p99 |")
            print("|---|---|---|---|---|---|---|---|---|")
            rows = []
            for clients, each in rounds.items():
                measure(urls, clients, given, source, tokenizer.stop_ids, each)
                rows.append(shown(clients, each))
    if given.json:
        given.json.write_text(
            json.dumps({"settings": {k: str(v) for k, v in vars(given).items()}, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
