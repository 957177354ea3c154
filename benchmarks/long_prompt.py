"""What a long prompt costs those who are reading their answers, and what they cost it.

    python benchmarks/long_prompt.py BUNDLE [--streams 4] [--prompt-tokens 4000] [--rounds 5] [--max-stall-ms 60]

Starts `edgellm serve`. In each round so many streams run; once they do, a long prompt arrives. The gaps between the
events of a stream while that prompt is read, less the median gap before it came, are what it added; its own time to the
first token is compared with that on the idle server, in the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from itertools import pairwise
from time import perf_counter
from typing import Any

import aiohttp
import numpy as np

from edgellm.inference.target import resolve
from japanese_prompts import prompts
from peers import edgellm_command, free_port, started

SETTLING_S = 2.0  # streams run this long before the prompt comes: their undisturbed pace


async def events(http: aiohttp.ClientSession, url: str, body: dict[str, Any], seen: list[float]) -> None:
    """Send one request and note when each event with text came."""
    async with http.post(f"{url}/v1/completions", json=body | {"stream": True}) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                assert "error" not in event, event
                if event["choices"] and event["choices"][0]["text"]:
                    seen.append(perf_counter())


def body_of(prompt: list[int], tokens: int) -> dict[str, Any]:
    return {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}


async def first_token_s(http: aiohttp.ClientSession, url: str, prompt: list[int]) -> tuple[float, float]:
    """When it was sent, and when the first text came."""
    seen: list[float] = []
    start = perf_counter()
    await events(http, url, body_of(prompt, 16), seen)
    return start, seen[0]


async def one_round(url: str, source: Any, streams: int, output_tokens: int, long: Any) -> dict[str, Any]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http:
        start, first = await first_token_s(http, url, next(long))
        idle_s = first - start
        seen: list[list[float]] = [[] for _ in range(streams)]
        running = [
            asyncio.create_task(events(http, url, body_of(next(source), output_tokens), times)) for times in seen
        ]
        while not all(seen):
            await asyncio.sleep(0.01)
        await asyncio.sleep(SETTLING_S)
        start, first = await first_token_s(http, url, next(long))
        assert not any(task.done() for task in running), "the streams ended before the prompt was read; use more tokens"
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    before: list[float] = []
    during: list[float] = []
    for times in seen:
        for earlier, later in pairwise(times):
            if later < start and earlier > start - SETTLING_S + 0.2:
                before.append(later - earlier)
            elif earlier < first and later > start:
                during.append(later - earlier)
    pace = statistics.median(before)
    added = np.array(during) - pace
    return {
        "pace_ms": pace * 1000, "added_p50_ms": float(np.percentile(added, 50)) * 1000,
        "added_p99_ms": float(np.percentile(added, 99)) * 1000, "ttft_s": first - start, "idle_ttft_s": idle_s,
        "ttft_ratio": (first - start) / idle_s,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--prompt-tokens", type=int, default=4000)
    parser.add_argument("--output-tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-stall-ms", type=float, default=60.0)
    given = parser.parse_args()
    tokenizer = resolve(given.bundle).tokenizer()
    port = free_port()
    context = -(-(given.prompt_tokens + 64) // 256) * 256
    options = ["--max-stall-ms", str(given.max_stall_ms), "--cache-memory", "0"]
    command = edgellm_command(given.bundle, port, given.streams + 1, context, options)
    source, long = prompts(tokenizer, 64), prompts(tokenizer, given.prompt_tokens, seed=1)
    with started(command, port) as url:
        rows = []
        for _ in range(given.rounds):
            rows.append(asyncio.run(one_round(url, source, given.streams, given.output_tokens, long)))
            print({name: round(value, 3) for name, value in rows[-1].items()}, flush=True)
    print("| pace, ms | added p50, ms | added p99, ms | TTFT, s | idle, s | ratio |")
    print("|---|---|---|---|---|---|")
    print("|" + "|".join(f" {statistics.median(row[name] for row in rows):.2f} " for name in rows[0]) + "|")


if __name__ == "__main__":
    main()
