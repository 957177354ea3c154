"""Whether `edgellm bench --url` and guidellm find the same of one server under the same load.

    python benchmarks/load_agreement.py BUNDLE --guidellm PROGRAM [--pairs 10] [--concurrency 4] [--requests 32]
                                        [--prompt-tokens 256] [--output-tokens 64] [--threads N] [--json FILE]

One `edgellm serve` is asked by both in turn, the first one last in the next pair: so many clients that each send the
next chat request when the one before it is answered, of Japanese prompts of the same length that no cache can know,
for answers of exactly so many tokens. Both are started anew each time, as a user would start them. Printed: medians
over pairs, and the ratio of ours to guidellm's with a 95 % bootstrap interval over pairs.

guidellm calls inter-token latency what is TPOT here, but for where it ends: at the last token, not the stream's end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgellm.bench.load.workloads import Workload, WorkloadOptions
from edgellm.engines.cores import usable_cores
from edgellm.inference.target import resolve
from edgellm.measures.statistics import ratio_interval
from peers import edgellm_command, free_port, started

FIGURES = ("output_tokens_per_s", "ttft_p50_ms", "tpot_p50_ms", "e2e_p50_ms")
PATIENCE_S = 900


def ours(url: str, given: argparse.Namespace, folder: Path, pair: int) -> dict[str, float]:
    command = [
        sys.executable, "-m", "edgellm", "bench", "--url", url, "--concurrency", str(given.concurrency), "--requests",
        str(given.requests), "--workload", "translation", "--prompt-tokens", str(given.prompt_tokens),
        "--output-tokens", str(given.output_tokens), "--tokenizer", given.bundle, "--cache-busting", "--ignore-eos",
        "--seed", str(pair), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    found = json.loads(done.stdout)
    assert found["requests"]["ok"] == given.requests, found["failures"]
    medians = {f"{name}_p50_ms": found[f"{name}_ms"]["p50"] for name in ("ttft", "tpot", "e2e")}
    return {"output_tokens_per_s": found["output_tokens_per_s"], **medians}


def guidellm(url: str, given: argparse.Namespace, folder: Path, pair: int) -> dict[str, float]:
    """With prompts of the same workload, marked for guidellm so that the server has read none of them before."""
    options = WorkloadOptions(
        "translation", (given.prompt_tokens,), (given.output_tokens,), cache_busting=True, seed=pair
    )  # fmt: skip
    tokenizer = resolve(given.bundle).tokenizer()
    workload = Workload(options, lambda text: len(tokenizer.encode(text)), nonce=f"{pair:08x}-")
    prompts, out = folder / "prompts.jsonl", folder / "guidellm.json"
    rows = (
        {"prompt": workload.conversation(n).messages[0], "output_tokens_count": given.output_tokens}
        for n in range(given.requests)
    )
    prompts.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    command = [
        str(given.guidellm), "run", "--backend", f"kind=openai_http,target={url},model={given.model}", "--profile",
        f"kind=concurrent,streams={given.concurrency}", "--constraint", f"kind=max_requests,count={given.requests}",
        "--tokenizer", f"kind=hf_auto,model={given.tokenizer_folder}", "--data", f"kind=json_file,path={prompts}",
        "--output", f"kind=json,path={out}", "--disable-console",
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    (measured,) = json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
    metrics: dict[str, Any] = measured["metrics"]
    assert metrics["request_totals"]["successful"] == given.requests, metrics["request_totals"]
    assert metrics["output_token_count"]["successful"]["min"] == given.output_tokens, "answers of another length"
    out.unlink()
    return {
        "output_tokens_per_s": metrics["output_tokens_per_second"]["successful"]["mean"],
        "ttft_p50_ms": metrics["time_to_first_token_ms"]["successful"]["median"],
        "tpot_p50_ms": metrics["inter_token_latency_ms"]["successful"]["median"],
        "e2e_p50_ms": 1000 * metrics["request_latency"]["successful"]["median"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--guidellm", type=Path, required=True, help="the program")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--requests", type=int, default=32, help="of each, in a pair")
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    target = resolve(given.bundle)
    given.model, given.tokenizer_folder = target.name, target.tokenizer_folder
    found: dict[str, list[dict[str, float]]] = {"edgellm": [], "guidellm": []}
    tools = {"edgellm": ours, "guidellm": guidellm}
    context, port = 2 * given.prompt_tokens + given.output_tokens + 128, free_port()
    command = edgellm_command(given.bundle, port, given.concurrency, context, ["--threads", str(given.threads)])
    with started(command, port) as url, tempfile.TemporaryDirectory() as folder:
        for pair in range(-1, given.pairs):  # the first is for warmth alone
            for name in list(tools) if pair % 2 == 0 else list(tools)[::-1]:
                figures = tools[name](url, given, Path(folder), pair + 1)
                if pair >= 0:
                    found[name].append(figures)
                    print(pair, name, {key: round(value, 2) for key, value in figures.items()}, flush=True)
    print("\n| | edgellm | guidellm | ratio |\n|---|---|---|---|")
    ratios = {}
    for figure in FIGURES:
        values = {name: np.array([each[figure] for each in rounds]) for name, rounds in found.items()}
        ratio = ratio_interval(values["edgellm"], values["guidellm"])
        ratios[figure] = [round(value, 4) for value in (ratio.value, ratio.low, ratio.high)]
        medians = " | ".join(f"{statistics.median(values[name]):.2f}" for name in tools)
        print(f"| {figure} | {medians} | {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] |")
    if given.json:
        settings = {key: str(value) for key, value in vars(given).items()}
        given.json.write_text(json.dumps({"settings": settings, "ratios": ratios, "pairs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
