"""`edgellm serve` as a service manager sees it: loading, draining, ending, and coming back from a killed engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from edgellm.engines.gguf.convert import convert
from live_server import announced_url, eventually
from quick_build import one_core
from tiny_checkpoints import random_llama

LONG = {"prompt": "むかしむかし", "max_tokens": 250, "temperature": 0, "ignore_eos": True, "stream": True}
SHORT = {"prompt": "はい", "max_tokens": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("draining")
    convert(random_llama(folder / "checkpoint", layers=4, hidden=512, ffn=2048), folder / "random.gguf", "F16")
    return folder / "random.gguf"


@dataclass
class Served:
    process: subprocess.Popen[str]
    http: httpx.Client

    @property
    def engines(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def post(self, body: dict[str, object]) -> httpx.Response:
        return self.http.post("/v1/completions", json=body)

    @contextmanager
    def streaming(self) -> Iterator[Iterator[str]]:
        """The data of a long answer's events, of which the first has come."""
        with self.http.stream("POST", "/v1/completions", json=LONG) as stream:
            events = (line.removeprefix("data: ") for line in stream.iter_lines() if line)
            next(events)
            yield events


@contextmanager
def starting(model: Path, *words: str) -> Iterator[Served]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "edgellm", "serve", str(model), "--port", str(port), "--parallel", "2", *words]
    with one_core():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)
    with process, http:
        try:
            yield Served(process, http)
        finally:
            process.kill()


@contextmanager
def serving(model: Path, *words: str) -> Iterator[Served]:
    with starting(model, *words) as served:
        announced_url(served.process)
        yield served


def health(served: Served) -> tuple[int, str]:
    """Status code and word; (0, "") while nobody listens."""
    try:
        reply = served.http.get("/health")
    except httpx.TransportError:
        return 0, ""
    return reply.status_code, reply.json()["status"]


def error_of(event: str) -> str:
    return str(json.loads(event)["error"]["message"])


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[Served]:
    with starting(model) as served:
        yield served


def test_it_says_that_it_loads_and_then_that_it_serves(served: Served) -> None:
    states: list[tuple[int, str]] = []
    eventually(lambda: states.append(health(served)) or states[-1][0] == 200, 60)
    assert [state for state in dict.fromkeys(states) if state[0]] == [(503, "loading"), (200, "ok")]


def test_a_killed_engine_is_an_error_event_and_then_the_server_goes_on(served: Served) -> None:
    (engine,) = served.engines
    with served.streaming() as events:
        engine.kill()
        assert "killed" in error_of(list(events)[-1])
    assert health(served) == (503, "restarting")
    refused = served.post(SHORT)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "engine_restarting"
    assert int(refused.headers["retry-after"]) >= 1
    eventually(lambda: health(served)[0] == 200)
    assert served.post(SHORT).status_code == 200


def test_sigterm_lets_answers_end(served: Served) -> None:
    with served.streaming() as events:
        served.process.terminate()
        eventually(lambda: health(served) == (503, "draining"))
        refused = served.post(SHORT)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "shutting_down"
        assert int(refused.headers["retry-after"]) >= 1
        *_, last, done = events
    assert json.loads(last)["choices"][0]["finish_reason"] == "length"
    assert done == "[DONE]"
    assert served.process.wait(30) == 0
    assert served.process.stderr is not None
    said = served.process.stderr.read()
    assert "was killed" in said  # what became of its engine before
    assert "serves again" in said


def test_a_second_signal_ends_at_once_and_leaves_no_engine(model: Path) -> None:
    with serving(model, "--drain-s", "100") as served:
        (engine,) = served.engines
        with served.streaming() as events:
            served.process.terminate()
            eventually(lambda: health(served) == (503, "draining"))
            served.process.terminate()
            assert "closed" in error_of(list(events)[-1])
        assert served.process.wait(30) == 0
        assert not engine.is_running()


def test_draining_is_bounded(model: Path) -> None:
    with serving(model, "--drain-s", "0.05") as served:
        with served.streaming() as events:
            served.process.terminate()
            assert "closed" in error_of(list(events)[-1])
        assert served.process.wait(30) == 0


def test_a_signal_while_the_model_loads_ends_it_like_any_verb(model: Path) -> None:
    with starting(model) as served:
        eventually(lambda: health(served) == (503, "loading"), 60)
        os.kill(served.process.pid, signal.SIGTERM)
        assert served.process.wait(30) == 143
        assert served.process.stderr is not None
        assert served.process.stderr.read().splitlines()[-1] == "edgellm: stopped"
