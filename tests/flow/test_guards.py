"""What stands before the endpoints, over real sockets: limits of keys and requests, metrics, the audit log, TLS."""

from __future__ import annotations

import json
import re
import resource
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from prometheus_client.parser import text_string_to_metric_families

from certificates import make_certificate
from edgellm.errors import BadInput, UsageError
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Tokenizer, load_tokenizer
from edgellm.records.keys import KeyLimits
from edgellm.serve.audit import AuditLog
from edgellm.serve.guards import Guards
from edgellm.serve.key_file import new_record
from edgellm.serve.keys import KeyRing
from edgellm.serve.tls import check_certificate, check_exposure
from edgellm.store.hash_chain import verify
from live_server import eventually, live_server
from scripted_runtime import ScriptedRuntime, saying
from tiny_checkpoints import TINY_JA

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
KEY = {"Authorization": "Bearer secret"}


@dataclass
class Guarded:
    chat: LocalChat
    engine: ScriptedRuntime
    http: httpx.Client

    def ask(self, path: str = TEXT, **fields: object) -> httpx.Response:
        return self.http.post(path, json={"prompt": "あ", "max_tokens": 3} | fields, headers=KEY)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(TINY_JA)


@contextmanager
def guarded(
    tokenizer: Tokenizer, guards: Guards, *, held_back: bool = False, verify: ssl.SSLContext | bool = False,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[Guarded]:  # fmt: skip
    """A live server over a scripted model that says the same word for ever."""
    engine = ScriptedRuntime(
        vocab=tokenizer.vocab_tokens, context=10**9, step_tokens=64, held_back=held_back,
        rule=saying(tokenizer.encode("はい")),
    )  # fmt: skip
    with (
        LocalChat(Scheduler(engine), tokenizer, ChatTemplate.load(TINY_JA)) as chat,
        live_server(chat, guards=guards, certificate=certificate) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=30, verify=verify) as http,
    ):
        yield Guarded(chat, engine, http)
        engine.let_go()


def ring(**limits: int) -> KeyRing:
    return KeyRing([new_record("taro", "secret", KeyLimits(**limits))])


def code_of(reply: httpx.Response) -> tuple[int, str]:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return reply.status_code, error["code"]


def test_a_key_that_asks_too_often_is_told_when_to_come_back(tokenizer: Tokenizer) -> None:
    with guarded(tokenizer, Guards(ring(requests_per_minute=2))) as server:
        assert [server.ask().status_code for _ in range(2)] == [200, 200]
        refused = server.ask()
        assert code_of(refused) == (429, "rate_limit_exceeded")
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert server.http.get("/v1/models", headers=KEY).status_code == 200


def test_a_key_may_have_so_many_requests_answered_at_once(tokenizer: Tokenizer) -> None:
    with guarded(tokenizer, Guards(ring(concurrent_requests=1)), held_back=True) as server:
        server.engine.allow(2)
        body = {"prompt": "あ", "max_tokens": 50, "stream": True}
        with server.http.stream("POST", TEXT, json=body, headers=KEY) as first:
            assert first.status_code == 200
            assert code_of(server.ask()) == (429, "concurrency_limit_exceeded")
            server.engine.let_go()
            first.read()
        assert server.ask().status_code == 200


def test_a_key_may_be_given_so_many_tokens_a_minute(tokenizer: Tokenizer) -> None:
    with guarded(tokenizer, Guards(ring(output_tokens_per_minute=10))) as server:
        assert server.ask(max_tokens=30, ignore_eos=True).status_code == 200
        refused = server.ask()
        assert code_of(refused) == (429, "token_limit_exceeded")
        assert 100 <= int(refused.headers["retry-after"]) <= 130


def test_what_was_generated_for_a_client_that_went_away_is_charged_too(tokenizer: Tokenizer) -> None:
    with guarded(tokenizer, Guards(ring(output_tokens_per_minute=10))) as server:
        body = {"prompt": "あ", "max_tokens": 10**6, "stream": True}
        with server.http.stream("POST", TEXT, json=body, headers=KEY):
            eventually(lambda: server.chat.scheduler.state().completion_tokens > 20)
        eventually(lambda: server.chat.scheduler.state().running == 0)
        eventually(lambda: server.ask().status_code == 429)


def test_a_request_that_takes_too_long_is_ended_and_said_to_be(tokenizer: Tokenizer) -> None:
    with guarded(tokenizer, Guards(max_time_s=0.3)) as server:
        whole = server.ask(max_tokens=10**7)
        assert code_of(whole) == (504, "time_limit_exceeded")
        assert "0.3 s" in whole.json()["error"]["message"]
        stream = server.ask(max_tokens=10**7, stream=True)
        assert stream.status_code == 200
        *_, last = stream.text.strip().split("\n\n")
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "time_limit_exceeded"
        eventually(lambda: server.chat.scheduler.state().running == 0)
        assert server.ask().status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_too_many_bytes_is_refused(tokenizer: Tokenizer, chunked: bool) -> None:
    with guarded(tokenizer, Guards(max_body_bytes=1000)) as server:
        content: Any = iter([b" " * 600] * 2) if chunked else b" " * 1200
        assert code_of(server.http.post(TEXT, content=content)) == (413, "request_too_large")
        assert server.ask().status_code == 200


def samples(server: Guarded) -> dict[tuple[str, str], float]:
    """By name and model, every sample that has no other labels."""
    reply = server.http.get("/metrics", headers=KEY)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.text)
    found = [sample for family in families for sample in family.samples if set(sample.labels) == {"model"}]
    return {(sample.name, sample.labels["model"]): sample.value for sample in found}


def test_metrics_count_what_was_answered_by_llama_cpps_names(tokenizer: Tokenizer) -> None:
    with guarded(tokenizer, Guards()) as server:
        assert samples(server)["llamacpp:requests_processing", "tiny"] == 0
        for _ in range(3):
            server.ask(max_tokens=5, ignore_eos=True)
        server.ask(prompt=[])  # refused
        prompt = len(server.chat.text_prompt("あ"))
        found = samples(server)
    assert found["llamacpp:tokens_predicted_total", "tiny"] == 15
    computed, cached = (found[f"llamacpp:{name}_total", "tiny"] for name in ("prompt_tokens", "prompt_tokens_cached"))
    assert computed + cached == 3 * prompt
    assert found["llamacpp:n_tokens_max", "tiny"] == prompt + 5
    assert found["llamacpp:n_decode_total", "tiny"] >= 3
    for name in ("prompt_seconds_total", "tokens_predicted_seconds_total", "predicted_tokens_seconds"):
        assert found[f"llamacpp:{name}", "tiny"] > 0
    for name in ("ttft", "tpot", "e2e", "queue"):
        assert found[f"edgellm_{name}_seconds_count", "tiny"] == 3


def test_metrics_count_requests_by_what_became_of_them(tokenizer: Tokenizer) -> None:
    with guarded(tokenizer, Guards(max_time_s=0.3)) as server:
        server.ask()
        server.ask(max_tokens=10**7)
        server.ask(prompt=[])
        text = server.http.get("/metrics").text
    counted = dict(re.findall(r'^edgellm_requests_total\{.*outcome="(\w+)"\} (\S+)$', text, re.MULTILINE))
    assert counted == {"answered": "1.0", "failed": "1.0", "refused": "1.0"}


def test_metrics_need_the_key(tokenizer: Tokenizer) -> None:
    with guarded(tokenizer, Guards(ring())) as server:
        assert server.http.get("/metrics").status_code == 401
        assert server.http.get("/metrics", headers=KEY).status_code == 200


@pytest.mark.parametrize("content", [False, True])
def test_the_audit_log_has_a_line_for_each_request_and_texts_only_where_they_are_asked_for(
    tokenizer: Tokenizer, tmp_path: Path, content: bool
) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, {"tiny": "sha256:00"}, content=content, say=print)
    with guarded(tokenizer, Guards(ring(), audit=log)) as server, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: server.ask(prompt="ひみつの質問", max_tokens=n + 1, ignore_eos=True), range(8)))
        server.ask(prompt=[])
    log.close()
    assert verify(path).records == 9
    *answered, refused = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert sorted(line["completion_tokens"] for line in answered) == list(range(1, 9))
    assert len({line["request_id"] for line in answered}) == 8
    for line in answered:
        assert (line["key"], line["model"], line["model_digest"]) == ("taro", "tiny", "sha256:00")
        assert (line["outcome"], line["status"], line["finish_reason"]) == ("answered", 200, "length")
        assert line["e2e_s"] >= line["ttft_s"] >= 0
        assert abs((datetime.now(UTC) - datetime.fromisoformat(line["time"])).total_seconds()) < 300
        assert ("prompt" in line) == content
    assert (refused["outcome"], refused["status"]) == ("refused", 400)
    assert ("ひみつの質問" in path.read_text(encoding="utf-8")) == content
    assert ("はい" in path.read_text(encoding="utf-8")) == content


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file of this process may grow beyond what this one has."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_its_audit_log_the_server_answers_no_more(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path, said = tmp_path / "audit.jsonl", list[str]()
    log = AuditLog(path, {}, content=False, say=said.append)
    with guarded(tokenizer, Guards(audit=log)) as server:
        assert server.ask().status_code == 200
        with full_disk(path):
            server.ask()
            assert code_of(server.ask()) == (503, "audit_failed")
        assert code_of(server.ask()) == (503, "audit_failed")  # until it is started again
        assert server.http.get("/v1/models").status_code == 200
    log.close()
    assert len(said) == 1
    assert str(path) in said[0]
    assert verify(path).records == 1
    AuditLog(path, {}, content=False, say=said.append).close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key, beside which there is the same key locked with a password."""
    cert, key_file = make_certificate(tmp_path_factory.mktemp("tls"))
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"password")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.with_name("locked.pem").write_bytes(key.private_bytes(pem, pkcs8, locked))
    return cert, key_file


def test_a_client_that_trusts_the_certificate_is_served_over_tls(
    tokenizer: Tokenizer, certificate: tuple[Path, Path]
) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    with guarded(tokenizer, Guards(ring()), certificate=certificate, verify=trusted) as server:
        assert server.http.base_url.scheme == "https"
        assert server.ask().status_code == 200
        streamed = server.ask(stream=True)
        assert streamed.text.endswith("data: [DONE]\n\n")
        with pytest.raises(httpx.HTTPError):
            httpx.get(str(server.http.base_url.copy_with(scheme="http")), trust_env=False)
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(str(server.http.base_url), trust_env=False)


def test_files_that_are_no_certificate_and_its_key_are_refused(certificate: tuple[Path, Path]) -> None:
    good, key = certificate
    check_certificate(good, key)
    with pytest.raises(UsageError, match="password"):
        check_certificate(good, key.with_name("locked.pem"))
    with pytest.raises(UsageError, match="no file"):
        check_certificate(good, key.with_name("none.pem"))
    with pytest.raises(BadInput, match="PEM"):
        check_certificate(key, good)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_an_address_that_others_reach_needs_keys_or_tls_or_to_be_meant(host: str) -> None:
    with pytest.raises(UsageError, match="--insecure"):
        check_exposure(host, keys=False, tls=False, insecure=False)
    assert check_exposure(host, keys=False, tls=False, insecure=True) is None
    assert check_exposure(host, keys=True, tls=True, insecure=False) is None
    assert "--tls-cert" in str(check_exposure(host, keys=True, tls=False, insecure=False))
    assert "--api-key-file" in str(check_exposure(host, keys=False, tls=True, insecure=False))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_neither(host: str) -> None:
    assert check_exposure(host, keys=False, tls=False, insecure=False) is None
