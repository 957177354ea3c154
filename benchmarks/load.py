"""A closed loop of streaming clients for the serving benchmarks: so many at a time, each asking again when answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import Any

import aiohttp
import numpy as np

SILENCE_S = 600.0


@dataclass
class Sample:
    """One answered request; times in seconds from when it was sent."""

    ttft_s: float
    e2e_s: float
    prompt_tokens: int
    output_tokens: int
    gaps_s: list[float] = field(default_factory=list)  # between one event with text and the next
    text: str = ""


@dataclass
class Round:
    samples: list[Sample]
    seconds: float

    @property
    def output_tokens_per_s(self) -> float:
        return sum(sample.output_tokens for sample in self.samples) / self.seconds

    @property
    def requests_per_s(self) -> float:
        return len(self.samples) / self.seconds

    def ttft_s(self, percentile: float) -> float:
        return float(np.percentile([sample.ttft_s for sample in self.samples], percentile))

    @property
    def prompt_tokens(self) -> int:
        return sum(sample.prompt_tokens for sample in self.samples)


async def ask(http: aiohttp.ClientSession, url: str, path: str, body: dict[str, Any]) -> Sample:
    """Send one streaming request; raises RuntimeError for any answer but a whole one."""
    start = perf_counter()
    times: list[float] = []
    parts: list[str] = []
    usage: dict[str, int] = {}
    finish = None
    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    async with http.post(url + path, json=body) as response:
        if response.status != 200:
            raise RuntimeError(f"{url}{path} answered {response.status}: {(await response.text())[:300]}")
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(f"{url}{path} failed: {event['error']}")
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                finish = choice.get("finish_reason") or finish
                delta = choice.get("delta", choice)
                text = delta.get("content") or delta.get("text") or delta.get("reasoning_content") or ""
                if text:
                    times.append(perf_counter())
                    parts.append(text)
    end = perf_counter()
    if not usage and finish == "length":  # llama-cpp-python's server gives none in a stream
        usage = {"prompt_tokens": 0, "completion_tokens": body["max_tokens"]}
    gaps = [later - earlier for earlier, later in pairwise(times)]
    first = times[0] if times else end
    return Sample(
        first - start, end - start, usage["prompt_tokens"], usage["completion_tokens"], gaps, "".join(parts)
    )  # fmt: skip


async def closed_loop(url: str, path: str, bodies: Sequence[Sequence[dict[str, Any]]]) -> Round:
    """Client i sends `bodies[i]` one after the other; all clients begin together."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S)
    # A connection a request: llama-server may close one that is kept just when it is used again.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)

    async def client(own: Sequence[dict[str, Any]]) -> list[Sample]:
        return [await ask(http, url, path, body) for body in own]

    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        start = perf_counter()
        answers = await asyncio.gather(*(client(own) for own in bodies))
        seconds = perf_counter() - start
    return Round([sample for own in answers for sample in own], seconds)


def run_round(url: str, path: str, bodies: Sequence[Sequence[dict[str, Any]]]) -> Round:
    return asyncio.run(closed_loop(url, path, bodies))
