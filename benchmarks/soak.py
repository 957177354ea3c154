"""Half an hour at saturation with clients that give up at random: is anything stuck, lost, mixed up or leaking?

    python benchmarks/soak.py BUNDLE [--minutes 30] [--clients 12] [--parallel 8]

BUNDLE's file must be F16 or Q8_0: only there is an answer the same alone and in company. Starts `edgellm serve`, asks a
pool of greedy requests one at a time, then lets the clients ask them at random, stream or whole, some hanging up in
the middle. Every finished answer must be the text that the same request gave alone. At the end nothing may be running
or waiting. The resident memory of all processes of the server is read every ten seconds; its growth from minute five
on (means of the first and the last quarter of that time) is printed. Exit status 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from itertools import islice
from typing import Any

import aiohttp
import psutil

from edgellm.inference.target import resolve
from japanese_prompts import prompts
from load import ask
from peers import edgellm_command, free_port, started

POOL = 48
STUCK_S = 120.0
WARM_UP_MINUTES = 5
GROWTH_LIMIT = 0.02


def pool(bundle: str, seed: int = 0) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    tokenizer = resolve(bundle).tokenizer()
    bodies = []
    for number in range(POOL):
        ids = next(islice(prompts(tokenizer, dice.choice((8, 40, 150, 400)), seed=number), 1))
        tokens = dice.choice((1, 8, 40, 120))
        bodies.append({"prompt": ids, "max_tokens": tokens, "temperature": 0, "ignore_eos": dice.random() < 0.5})
    return bodies


async def whole(http: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> str:
    async with http.post(f"{url}/v1/completions", json=body) as response:
        answer = json.loads((await response.read()).decode("utf-8"))
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {answer}")
        return str(answer["choices"][0]["text"])


async def hang_up(http: aiohttp.ClientSession, url: str, body: dict[str, Any], after_s: float) -> None:
    async with http.post(f"{url}/v1/completions", json=body | {"stream": True}) as response:
        await asyncio.sleep(after_s)
        response.close()


async def client(
    url: str, bodies: list[dict[str, Any]], alone: list[str], until: float, seed: int, counts: Counter[str]
) -> None:  # fmt: skip
    dice = random.Random(seed)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STUCK_S)) as http:
        while time.monotonic() < until:
            number = dice.randrange(len(bodies))
            body, kind = bodies[number], dice.random()
            try:
                if kind < 0.3:
                    await hang_up(http, url, body, dice.random() * 0.2)
                    counts["given up"] += 1
                    continue
                text = (
                    await whole(http, url, body) if kind < 0.6 else (await ask(http, url, "/v1/completions", body)).text
                )
                counts["finished"] += 1
                if text != alone[number]:
                    counts["different"] += 1
                    print(f"request {number} gave {text!r} in company and {alone[number]!r} alone", flush=True)
            except TimeoutError:
                counts["stuck"] += 1
            except (RuntimeError, aiohttp.ClientError, UnicodeDecodeError, ValueError) as error:
                counts["failed"] += 1
                print(f"request {number}: {type(error).__name__}: {error}", flush=True)


def resident_bytes(process: psutil.Process) -> int:
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


async def watch(process: psutil.Process, begun: float, until: float, sizes: list[tuple[float, int]]) -> None:
    while time.monotonic() < until:
        sizes.append((time.monotonic() - begun, resident_bytes(process)))
        await asyncio.sleep(10)


async def soak(url: str, given: argparse.Namespace) -> bool:
    server = next(child for child in psutil.Process().children() if "serve" in child.cmdline())
    bodies, counts = pool(given.bundle), Counter[str]()
    async with aiohttp.ClientSession() as http:
        assert (await (await http.get(f"{url}/health")).json())["batch_invariant"], "BUNDLE must be F16 or Q8_0"
        alone = [await whole(http, url, body) for body in bodies]
        begun = time.monotonic()
        until = begun + given.minutes * 60
        sizes: list[tuple[float, int]] = []
        clients = [client(url, bodies, alone, until, seed, counts) for seed in range(given.clients)]
        await asyncio.gather(watch(server, begun, until, sizes), *clients)
        await asyncio.sleep(3)
        health = await (await http.get(f"{url}/health")).json()
    later = [size for at, size in sizes if at >= min(WARM_UP_MINUTES * 60, given.minutes * 30)]
    quarter = max(1, len(later) // 4)
    growth = sum(later[-quarter:]) / sum(later[:quarter]) - 1
    left = health["running"] + health["waiting"]
    print(f"{dict(counts)}, still running or waiting {left}, resident {later[0] / 1e6:.0f} to {later[-1] / 1e6:.0f} MB "
          f"({growth:+.2%})")  # fmt: skip
    return not (counts["different"] or counts["stuck"] or counts["failed"] or left or growth >= GROWTH_LIMIT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--serve-option", action="append", default=[], help="one more word for edgellm serve")
    given = parser.parse_args()
    port = free_port()
    with started(edgellm_command(given.bundle, port, given.parallel, 1024, given.serve_option), port) as url:
        fine = asyncio.run(soak(url, given))
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
