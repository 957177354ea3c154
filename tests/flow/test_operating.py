"""`edgellm serve`, `key` and `audit` as an operator uses them: real processes, files and signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from live_server import announced_url, eventually

EDGELLM = (sys.executable, "-m", "edgellm.cli.main")


def edgellm(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*EDGELLM, *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@dataclass
class Running:
    process: subprocess.Popen[str]
    url: str
    folder: Path
    key: str

    def ask(self, key: str, stream: bool = False) -> httpx.Response:
        body = {"prompt": "海", "max_tokens": 4, "stream": stream}
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(f"{self.url}/v1/completions", json=body, headers=headers, trust_env=False, timeout=60)

    def said(self, words: str) -> str:
        """The next line on stderr that has them."""
        assert self.process.stderr is not None
        return next(line for line in self.process.stderr if words in line)

    @property
    def keys(self) -> Path:
        return self.folder / "keys.jsonl"

    @property
    def audit(self) -> Path:
        return self.folder / "audit.jsonl"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("operating")
    key = edgellm("key", "new", "--name", "first", "--file", folder / "keys.jsonl").stdout.strip()
    options = ["--port", "0", "--threads", "1", "--api-key-file", folder / "keys.jsonl", "--audit",
               folder / "audit.jsonl"]  # fmt: skip
    command = [*EDGELLM, "serve", "tiny-ja", *map(str, options)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process, announced_url(process), folder, key)
        finally:
            process.send_signal(signal.SIGINT)


def test_a_key_made_while_the_server_runs_counts_after_sighup_and_a_revoked_one_no_more(running: Running) -> None:
    second = edgellm("key", "new", "--name", "second", "--file", running.keys).stdout.strip()
    assert [running.ask(key).status_code for key in (running.key, second)] == [200, 401]
    engines = [child.pid for child in psutil.Process(running.process.pid).children()]
    running.process.send_signal(signal.SIGHUP)
    assert "2 keys" in running.said("keys")
    assert running.ask(second).status_code == 200
    edgellm("key", "revoke", "second", "--file", running.keys)
    running.process.send_signal(signal.SIGHUP)
    assert "1 keys" in running.said("keys")
    assert [running.ask(key).status_code for key in (running.key, second)] == [200, 401]
    before = running.keys.read_bytes()
    running.keys.write_text("{broken")
    running.process.send_signal(signal.SIGHUP)
    assert "line 1" in running.said("keys stay as they were")
    assert running.ask(running.key).status_code == 200
    running.keys.write_bytes(before)
    assert [child.pid for child in psutil.Process(running.process.pid).children()] == engines


def test_each_request_is_in_the_audit_log_with_its_key_and_the_models_digest(running: Running) -> None:
    asked = running.ask(running.key).headers["x-request-id"]
    streamed = running.ask(running.key, stream=True).headers["x-request-id"]

    def lines() -> dict[str, dict[str, object]]:
        return {line["request_id"]: line for line in map(json.loads, running.audit.read_text().splitlines())}

    eventually(lambda: {asked, streamed} <= set(lines()))
    for line in (lines()[asked], lines()[streamed]):
        assert (line["key"], line["model"], line["outcome"]) == ("first", "tiny-ja", "answered")
        assert str(line["model_digest"]).startswith("sha256:")
        assert (line["completion_tokens"], line["finish_reason"]) == (4, "length")


def test_a_second_server_may_not_write_to_the_same_audit_log(running: Running) -> None:
    refused = edgellm("serve", "tiny-ja", "--port", "0", "--audit", running.audit, code=1)
    assert "another process writes to" in refused.stderr


def test_an_audit_log_is_verified_also_while_the_server_writes_it(running: Running) -> None:
    running.ask(running.key)
    found = json.loads(edgellm("audit", "verify", running.audit, "--json").stdout)
    assert found["passed"]
    assert found["records"] >= 1
    running.ask(running.key)
    eventually(lambda: len(running.audit.read_text().splitlines()) > found["records"])
    edgellm("audit", "verify", running.audit, "--head", found["head"])
    copy = running.folder / "copy.jsonl"
    copy.write_text("".join(running.audit.read_text().splitlines(keepends=True)[: found["records"] - 1]))
    edgellm("audit", "verify", copy)
    assert "kept head" in edgellm("audit", "verify", copy, "--head", found["head"], code=3).stderr
    copy.write_text(running.audit.read_text().replace('"status":200', '"status":201', 1))
    broken = edgellm("audit", "verify", copy, "--json", code=3)
    assert not json.loads(broken.stdout)["passed"]
    assert "copy.jsonl line 1 breaks the chain" in broken.stderr


def no_keys_and_no_tls(_: Path) -> list[object]:
    return ["--host", "0.0.0.0"]


def half_a_certificate(folder: Path) -> list[object]:
    return ["--tls-cert", folder / "none.pem"]


def texts_without_a_log(_: Path) -> list[object]:
    return ["--audit-content"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(no_keys_and_no_tls, "--insecure"), (half_a_certificate, "--tls-key"), (texts_without_a_log, "--audit FILE")],
)
def test_what_would_not_protect_is_refused_before_a_model_is_loaded(
    tmp_path: Path, options: Callable[[Path], list[object]], sentence: str
) -> None:
    refused = edgellm("serve", "tiny-ja", "--port", "0", *options(tmp_path), code=2)
    assert sentence in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_keys_are_listed_without_what_would_let_anybody_in(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    made = ["--name", "花子", "--rate", "60", "--concurrency", "2", "--output-tokens", "900", "--expires", "2030-01-31"]
    key = edgellm("key", "new", "--file", path, *made).stdout.strip()
    listed = json.loads(edgellm("key", "list", "--file", path, "--json").stdout)
    assert listed[0].pop("created")
    assert listed == [
        {"name": "花子", "expires": "2030-01-31T00:00:00Z", "requests_per_minute": 60, "concurrent_requests": 2,
         "output_tokens_per_minute": 900}
    ]  # fmt: skip
    shown = edgellm("key", "list", "--file", path).stdout
    assert "花子" in shown
    assert key not in shown
    assert "already" in edgellm("key", "new", "--name", "花子", "--file", path, code=2).stderr
