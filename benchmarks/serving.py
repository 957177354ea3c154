"""Output tokens per second of `edgellm serve` beside llama-server, and llama-cpp-python's server, on one machine.

    python benchmarks/serving.py BUNDLE --llama-server PROGRAM [--llama-cpp-python PYTHON] [--clients 1 4 8 16]
                                 [--pairs 20] [--requests 2] [--prompt-tokens 512] [--output-tokens 128] [--text]
                                 [--threads N] [--json FILE]

All servers run at the same time and are asked in turn, so that what else the machine does hits each of them: in every
pair each server gets one round, the first one last in the next pair. A round is so many clients that begin together
and send `--requests` streaming requests one after the other, of Japanese prompts no two of which begin alike, to
/v1/completions, at temperature 0 and with `ignore_eos`. With `--text` prompts are sent as text, as people do, and each
server cuts it into tokens in its own way; otherwise as the same token ids.

Printed: medians over pairs, and for each number of clients the ratio of edgellm to the other with a 95 % bootstrap
interval over pairs. A machine with a GPU needs nothing else: both servers take it where their build can.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
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


def measure(urls: dict[str, str], clients: int, given: argparse.Namespace, source: Any, stop_ids: Any) -> Any:
    rounds: dict[str, list[Round]] = {name: [] for name in urls}
    requests = given.requests * (3 if clients == 1 else 1)
    for pair in range(given.pairs):
        names = list(urls) if pair % 2 == 0 else list(urls)[::-1]
        for name in names:
            if name == PYTHON and (clients != 8 or pair >= given.python_pairs):
                continue
            load = bodies(source, clients, requests, given.output_tokens, stop_ids)
            rounds[name].append(run_round(urls[name], "/v1/completions", load))
    return {name: each for name, each in rounds.items() if each}


def shown(clients: int, rounds: dict[str, list[Round]]) -> dict[str, Any]:
    """One row of the table for each peer, and what goes into the JSON file."""
    row: dict[str, Any] = {"clients": clients}
    for name, each in rounds.items():
        ttft = [np.percentile([s.ttft_s for s in r.samples], (50, 90)) * 1000 for r in each]
        row[name] = {
            "output_tokens_per_s": [round(r.output_tokens_per_s, 2) for r in each],
            "requests_per_s": [round(r.requests_per_s, 4) for r in each],
            "ttft_p50_ms": round(statistics.median(t[0] for t in ttft), 1),
            "ttft_p90_ms": round(statistics.median(t[1] for t in ttft), 1),
            "gap_p99_ms": round(
                statistics.median(np.percentile([g for s in r.samples for g in s.gaps_s], 99) * 1000 for r in each), 1
            ),
            "prompt_tokens": sum(r.prompt_tokens for r in each),
        }
    for name in rounds:
        if name == OURS:
            continue
        for measure_name in ("output_tokens_per_s", "requests_per_s"):
            both = min(len(rounds[name]), len(rounds[OURS]))
            ours, theirs = (np.array(row[n][measure_name][:both]) for n in (OURS, name))
            ratio = ratio_interval(ours, theirs)
            row[name][f"{measure_name}_ratio"] = [round(v, 4) for v in (ratio.value, ratio.low, ratio.high)]
        print(
            f"| {clients} | {statistics.median(row[OURS]['output_tokens_per_s']):.1f} "
            f"| {name} {statistics.median(row[name]['output_tokens_per_s']):.1f} "
            f"| {bracketed(row[name]['output_tokens_per_s_ratio'])} | {bracketed(row[name]['requests_per_s_ratio'])} "
            f"| {row[OURS]['ttft_p50_ms']:.0f} / {row[name]['ttft_p50_ms']:.0f} "
            f"| {row[OURS]['ttft_p90_ms']:.0f} / {row[name]['ttft_p90_ms']:.0f} "
            f"| {row[OURS]['gap_p99_ms']:.0f} / {row[name]['gap_p99_ms']:.0f} |",
            flush=True,
        )
    return row


def bracketed(ratio: Sequence[float]) -> str:
    return f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--llama-server", type=Path, required=True)
    parser.add_argument("--llama-cpp-python", type=Path, help="a Python with llama_cpp.server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--python-pairs", type=int, default=5)
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
    ports = {name: free_port() for name in (OURS, SERVER, PYTHON)}
    with ExitStack() as running:
        options = ["--threads", str(given.threads), *given.serve_option]
        ours = edgellm_command(given.bundle, ports[OURS], sequences, context, options)
        server = llama_server_command(
            given.llama_server, model, ports[SERVER], sequences, context, given.threads
        )  # fmt: skip
        urls = {
            OURS: running.enter_context(started(ours, ports[OURS])),
            SERVER: running.enter_context(started(server, ports[SERVER], lib=given.llama_server.parent)),
        }
        if given.llama_cpp_python:
            command = llama_cpp_python_command(given.llama_cpp_python, model, ports[PYTHON], context, given.threads)
            urls[PYTHON] = running.enter_context(started(command, ports[PYTHON], "/v1/models"))
        for url in urls.values():  # warm-up: pages of the file, kernels, speeds that a scheduler learns
            run_round(url, "/v1/completions", bodies(source, 2, 1, 32, tokenizer.stop_ids))
        print("| clients | edgellm tok/s | peer tok/s | tokens/s | requests/s | TTFT p50, ms | p90 | gap p99 |")
        print("|---|---|---|---|---|---|---|---|")
        rows = [shown(n, measure(urls, n, given, source, tokenizer.stop_ids)) for n in given.clients]
    if given.json:
        given.json.write_text(
            json.dumps({"settings": {k: str(v) for k, v in vars(given).items()}, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
