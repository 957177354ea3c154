"""Ten thousand hostile requests to a real `edgellm serve`, with honest ones between them.

    PYTHONPATH=tests python benchmarks/hostile.py [--requests 10000] [--at-once 16] [--seed 1]

Serves tiny-ja, sends four thousand requests of every kind of tests/hostile_requests.py to warm up, takes the memory of
all processes of the server, sends the ten thousand, waits until all is quiet and takes it again. Ends with 1 on a
crash, a hang, a 5xx, another request's text in an answer, an honest request that is answered otherwise than alone,
or memory that is not back to within 5 % of what it was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from tempfile import TemporaryFile
from urllib.parse import urlsplit

import httpx
import psutil

from edgellm.language.tokenizer import load_tokenizer
from hostile_requests import CANARY, Enemy, Reply, answer_of, canary, carried_out, storm, with_canaries, wrongs
from live_server import eventually
from tiny_checkpoints import TINY_JA

# So many until the heaps have grown to what sixteen at once need: 254 MB after 2,000, 260 after 4,000, 266 after
# 10,000, and 265 after 26,000.
WARM_UP = 4000
CACHE = "16MiB"  # of computed prompts, so that it is full after the warm-up and no growth that is meant counts
ALLOWED = 1.05
REPEATED = 20  # honest requests that are asked once more, alone


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server of tiny-ja, and its URL; what it says goes to a file, so that it never waits for a reader."""
    command = [sys.executable, "-m", "edgellm.cli.main", "serve", "tiny-ja", "--port", "0", "--threads", "1",
               "--cache-memory", CACHE]  # fmt: skip
    with TemporaryFile() as said, subprocess.Popen(command, stderr=said) as process:
        try:
            text = ""

            def ready() -> bool:
                nonlocal text
                assert process.poll() is None, text
                text = os.pread(said.fileno(), 1 << 20, 0).decode()
                return "serving" in text

            eventually(ready, patience_s=120)
            yield process, text[text.index("serving") :].split()[3]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            faults = os.pread(said.fileno(), 1 << 20, 0).decode()
            if "Traceback" in faults:
                print(f"the server said:\n{faults}")
                raise SystemExit(1)


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def rss(processes: list[psutil.Process]) -> list[int]:
    return [each.memory_info().rss for each in processes]


def settle(url: str) -> None:
    """Until nothing is under way."""

    def quiet() -> bool:
        health = httpx.get(f"{url}/health", trust_env=False).json()
        return bool(health["running"] == health["waiting"] == 0)

    eventually(quiet, patience_s=120)
    time.sleep(2)


def report(replies: list[Reply]) -> None:
    by_kind: dict[str, Counter[str]] = {}
    for reply in replies:
        ends = [str(status) for status in reply.statuses] or ["no answer"]
        by_kind.setdefault(reply.attack.kind, Counter()).update(ends)
    for kind, ends in sorted(by_kind.items()):
        print(f"{kind:16}", ", ".join(f"{status}: {count}" for status, count in sorted(ends.items())))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    attacks = with_canaries(
        Enemy(given.seed, list(load_tokenizer(TINY_JA).specials.ids)).attacks(WARM_UP + given.requests), 10
    )
    with server() as (process, url):
        port = urlsplit(url).port
        assert port is not None
        replies = asyncio.run(storm(port, islice(attacks, WARM_UP), given.at_once))
        settle(url)
        processes = family(process)
        before, started = rss(processes), time.monotonic()
        replies += asyncio.run(storm(port, attacks, given.at_once))
        took_s = time.monotonic() - started
        settle(url)
        bad = wrongs(replies)
        canaries = [reply for reply in replies if reply.attack.kind == CANARY and reply.statuses == [200]]
        for reply in canaries[:: max(1, len(canaries) // REPEATED)]:
            alone = answer_of(asyncio.run(carried_out(port, canary(reply.attack.mark))))
            if alone != answer_of(reply):
                bad.append(f"answered {answer_of(reply)!r} in company and {alone!r} alone")
        if [each.pid for each in family(process)] != [each.pid for each in processes]:
            bad.append("a process of the server was replaced")
        after = rss(processes)
    report(replies)
    share = sum(after) / sum(before)
    print(f"{len(replies)} requests in {took_s:.0f} s, {len(canaries)} honest ones answered")
    megabytes = [[n // 1_000_000 for n in sizes] for sizes in (before, after)]
    print(f"RSS of each process in MB: {megabytes[0]} before, {megabytes[1]} after, in all {share:.3f} times as much")
    print("\n".join(bad[:20]), f"{len(bad)} faults", sep="\n")
    return int(bool(bad) or share > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
