"""`edgellm bench --url` as a user runs it, against `edgellm serve` and against a server that stamps its chunks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from certificates import make_certificate
from edgellm.records.bench import LoadBench
from forking_cli import Done, ForkingCli, forking_cli
from live_server import announced_url
from stamping_server import stamping_server

EDGELLM = (sys.executable, "-m", "edgellm", "bench")
PATIENCE_S = 120
SMALL = ("--requests", "6", "--concurrency", "2", "--output-tokens", "8")


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkingCli]:
    with forking_cli(tmp_path_factory.mktemp("streams")) as cli:
        yield cli


def bench(cli: ForkingCli, *words: object, code: int = 0) -> Done:
    done = cli("bench", *words)
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def result_of(cli: ForkingCli, *words: object) -> LoadBench:
    return LoadBench.model_validate_json(bench(cli, *words, "--json").stdout)


def alone(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process with variables of its own."""
    command, environment = [*EDGELLM, *map(str, words)], {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`edgellm serve tiny-ja` that asks for a key, and a file that holds the key."""
    folder = tmp_path_factory.mktemp("served")
    keys, key = folder / "keys.jsonl", folder / "key"
    command = [sys.executable, "-m", "edgellm", "key", "new", "--name", "load", "--file", str(keys)]
    key.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    command = [sys.executable, "-m", "edgellm", "serve", "tiny-ja", "--port", "0", "--threads", "1", "--parallel", "2"]
    process = subprocess.Popen([*command, "--api-key-file", str(keys)], stderr=subprocess.PIPE, text=True)
    try:
        yield announced_url(process), key
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def stamping() -> Iterator[str]:
    with stamping_server("--first-ms", "5", "--gap-ms", "1") as url:
        yield url


@pytest.fixture(scope="module")
def measured(
    cli: ForkingCli, served: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """One run against the real server: the document that it printed, and the folder of its files."""
    url, key = served
    folder = tmp_path_factory.mktemp("measured")
    words = [
        "--url", url, "--api-key-file", key, *SMALL, "--prompt-tokens", "128", "--tokenizer", "tiny-ja", "--ignore-eos",
        "--cache-busting", "--slo", "ttft=60000,tpot=60000", "--save", folder / "saved.json",
        "--export", f"vllm={folder / 'vllm.json'}", "--export", f"guidellm={folder / 'guidellm.json'}", "--json",
    ]  # fmt: skip
    return json.loads(bench(cli, *words).stdout), folder


def test_the_promised_keys_are_printed(measured: tuple[dict[str, Any], Path]) -> None:
    found, _ = measured
    assert found["requests"] == {"ok": 6, "failed": 0, "rejected": 0}
    for measure in ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"):
        assert 0 <= found[measure]["p50"] <= found[measure]["p90"] <= found[measure]["p99"]
    assert found["output_tokens_per_s"] > 0
    assert found["output_characters_per_s"] > 0
    assert found["goodput_per_s"] == pytest.approx(found["requests_per_s"])
    assert found["definitions"].keys() >= {"ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"}


def test_prompts_and_answers_have_the_lengths_that_were_asked_for(measured: tuple[dict[str, Any], Path]) -> None:
    found, _ = measured
    assert {record["output_tokens"] for record in found["records"]} == {8}
    lengths = [record["prompt_tokens"] for record in found["records"]]
    assert max(lengths) - min(lengths) <= 3
    assert 128 - 2 <= min(lengths) <= 128 + 40  # what the chat template adds


def test_what_is_saved_and_exported_is_the_printed_result(measured: tuple[dict[str, Any], Path]) -> None:
    found, folder = measured
    assert json.loads((folder / "saved.json").read_text()) == found
    vllm = json.loads((folder / "vllm.json").read_text())
    assert vllm["completed"] == 6
    assert vllm["total_output_tokens"] == 48
    (guidellm,) = json.loads((folder / "guidellm.json").read_text())["benchmarks"]
    assert guidellm["metrics"]["request_totals"]["successful"] == 6


def test_people_get_a_table_and_the_definitions(cli: ForkingCli, stamping: str) -> None:
    said = bench(cli, "--url", stamping, *SMALL).stdout
    for word in ("TTFT", "TPOT", "ITL", "E2E", "p50", "p99", "requests: 6 ok, 0 failed, 0 rejected", "itl_ms: gaps"):
        assert word in said
    assert "2 requests of warm-up not counted" in said


def test_a_sweep_tells_every_step_and_the_knee(cli: ForkingCli, stamping: str) -> None:
    found = result_of(cli, "--url", stamping, "--sweep", "--requests", "4", "--slo", "e2e=0.001")
    assert found.arrival == "sweep"
    assert [step.label for step in found.steps] == ["c=1"]
    assert found.knee is None
    assert found.conditions["stopped"] == "at c=1 only 0% of the requests kept the SLO"


def test_an_open_loop_at_a_rate(cli: ForkingCli, stamping: str) -> None:
    found = result_of(cli, "--url", stamping, "--rate", "20", "--arrival", "constant", "--requests", "10")
    assert (found.arrival, found.rate_per_s, found.requests.ok) == ("constant", 20.0, 10)
    assert [record.scheduled_s for record in found.records] == pytest.approx([n / 20 for n in range(10)])


def test_conversations_against_the_real_server(cli: ForkingCli, served: tuple[str, Path]) -> None:
    url, key = served
    words = ("--url", url, "--api-key-file", key, "--requests", "3", "--turns", "3", "--output-tokens", "8")
    found = result_of(cli, *words, "--ignore-eos")
    assert [(record.status, record.turn) for record in found.records] == [("ok", 0), ("ok", 1), ("ok", 2)]
    lengths = [record.prompt_tokens or 0 for record in found.records]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2]


def test_the_key_may_come_from_the_environment(served: tuple[str, Path]) -> None:
    url, key = served
    done = alone("--url", url, "--requests", "1", "--ignore-eos", EDGELLM_API_KEY=key.read_text().strip())
    assert done.returncode == 0, done.stderr


def test_without_its_key_the_server_refuses_and_one_sentence_says_so(cli: ForkingCli, served: tuple[str, Path]) -> None:
    done = bench(cli, "--url", served[0], *SMALL, code=2)
    assert done.stdout == ""
    assert "answered 401" in done.stderr
    assert "--api-key-file" in done.stderr.splitlines()[-1]


def test_a_server_that_is_not_there_is_one_sentence(cli: ForkingCli) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    done = bench(cli, "--url", f"http://127.0.0.1:{port}", *SMALL, "--json", code=1)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "check that the server runs" in done.stderr


def test_a_server_that_answers_nothing_of_the_warm_up_is_one_sentence(
    cli: ForkingCli, served: tuple[str, Path]
) -> None:
    url, key = served
    done = bench(cli, "--url", url, "--api-key-file", key, "--model", "nobody", *SMALL, code=1)
    assert done.stdout == ""
    assert "nobody" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "1", "--concurrency", "2"], "exclude each other"),
        (["--slo", "ttft"], "ttft=500"),
        (["--export", "csv=x"], "vllm=FILE"),
        (["--duration", "0"], "60 or 10m"),
        (["--api-key-file", "nowhere"], "no key file"),
    ],
)
def test_wrong_options_are_one_sentence(cli: ForkingCli, words: list[str], said: str) -> None:
    done = bench(cli, "--url", "http://127.0.0.1:9", *words, code=1 if "nowhere" in words else 2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_certificate_is_trusted_when_it_is_named(cli: ForkingCli, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with stamping_server("--tls-cert", str(certificate), "--tls-key", str(key)) as url:
        assert url.startswith("https://")
        assert "CERTIFICATE_VERIFY_FAILED" in bench(cli, "--url", url, *SMALL, code=1).stderr
        assert result_of(cli, "--url", url, *SMALL, "--ca", certificate).requests.ok == 6


def test_another_machine_is_left_alone_when_the_network_is_forbidden() -> None:
    done = alone("--url", "http://192.0.2.1", *SMALL, EDGELLM_OFFLINE="1")
    assert done.returncode == 4
    assert "192.0.2.1" in done.stderr


def test_ctrl_c_prints_no_part_of_a_result(stamping: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    command = [*EDGELLM, "--url", stamping, "--duration", "60", "--json", "--save", str(saved)]
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell may have it ignored
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeded
    )  # fmt: skip
    assert process.stderr is not None
    assert any("load c=1" in line for line in process.stderr)  # it has begun
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "edgellm: stopped"
    assert not saved.exists()
