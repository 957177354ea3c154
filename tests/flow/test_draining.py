"""`edgellm serve` as a service manager sees it: loading, draining, ending, and coming back from a killed engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from edgellm.engines import open_runtime
from edgellm.engines.gguf.convert import convert
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.language.tokenizer import load_tokenizer
from edgellm.serve.app import create_app
from edgellm.serve.server import Server, address, bind
from edgellm.serve.service import Service
from edgellm.serve.shelf import Offer
from live_server import eventually
from quick_build import one_core
from tiny_checkpoints import TINY_JA, random_llama

LONG = {"prompt": "むかしむかし", "max_tokens": 150, "temperature": 0, "ignore_eos": True, "stream": True}
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
def starting(model: Path) -> Iterator[Served]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "edgellm", "serve", str(model), "--port", str(port), "--parallel", "2"]
    with one_core():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)
    with process, http:
        try:
            yield Served(process, http)
        finally:
            process.kill()


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


@pytest.mark.parametrize(("drain_s", "signals"), [(0.05, 1), (100.0, 2)], ids=["the time is over", "a second signal"])
def test_draining_ends_with_its_time_and_with_a_second_signal(model: Path, drain_s: float, signals: int) -> None:
    runtime = open_runtime("gguf", model, RuntimeOptions(256, 2, 1))
    chat = LocalChat(Scheduler(runtime), load_tokenizer(TINY_JA), None)
    service, ready, sock = Service([Offer("model", lambda _: chat)]), threading.Event(), bind("127.0.0.1", 0)
    server = Server(create_app(service), service, ready.set, drain_s=drain_s)
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    assert ready.wait(30)
    with httpx.stream("POST", f"{address(sock)}/v1/completions", json=LONG, trust_env=False, timeout=60) as stream:
        events = (line.removeprefix("data: ") for line in stream.iter_lines() if line)
        next(events)
        for _ in range(signals):
            server.handle_exit(signal.SIGTERM, None)
        assert "closed" in error_of(list(events)[-1])
    thread.join(30)
    assert not thread.is_alive()
    runtime.close()


def test_a_signal_while_the_model_loads_ends_it_like_any_verb(model: Path) -> None:
    with starting(model) as served:
        eventually(lambda: health(served) == (503, "loading"), 60)
        os.kill(served.process.pid, signal.SIGTERM)
        assert served.process.wait(30) == 143
        assert served.process.stderr is not None
        assert served.process.stderr.read().splitlines()[-1] == "edgellm: stopped"
