"""`edgellm serve` under a few hundred hostile requests; benchmarks/hostile.py sends ten thousand."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from edgellm.language.tokenizer import load_tokenizer
from hostile_requests import CANARY, Enemy, answer_of, canary, carried_out, storm, with_canaries, wrongs
from live_server import announced_url, eventually
from tiny_checkpoints import TINY_JA

ATTACKS = 300


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "edgellm.cli.main", "serve", "tiny-ja", "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as it:
        try:
            yield it, announced_url(it)
        finally:
            it.send_signal(signal.SIGINT)


def test_hostile_requests_harm_neither_the_server_nor_anybody_else(
    server: tuple[subprocess.Popen[str], str],
) -> None:
    process, url = server
    port = urlsplit(url).port
    assert port is not None
    before = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    specials = list(load_tokenizer(TINY_JA).specials.ids)
    attacks = with_canaries(Enemy(1, specials).attacks(ATTACKS), every=10)
    replies = asyncio.run(storm(port, attacks, at_once=8))
    assert not wrongs(replies)
    answered = [reply for reply in replies if reply.attack.kind == CANARY and reply.statuses == [200]]
    assert answered
    for reply in answered[:3]:  # alone they are answered the same
        assert answer_of(asyncio.run(carried_out(port, canary(reply.attack.mark)))) == answer_of(reply)
    with httpx.Client(base_url=url, trust_env=False) as http:
        eventually(lambda: [http.get("/health").json()[key] for key in ("running", "waiting")] == [0, 0])
    assert {child.pid for child in psutil.Process(process.pid).children(recursive=True)} == before
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "Traceback" not in said, said
