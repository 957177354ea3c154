"""llama.cpp's own tools take our files, and measure the same fidelity as we do."""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from edgellm.build.pipeline import Base, make_artifact, make_base
from edgellm.engines import open_runtime
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.inference.target import resolve
from edgellm.measures.fidelity import Columns, Document, Tally, divergences, predictions, surprise
from edgellm.measures.fidelity_figures import summary
from edgellm.stages.verify import VERIFICATION
from edgellm.store.catalogue import read_documents
from edgellm.store.work import WorkFolder, default_root

pytestmark = pytest.mark.oracle
CHUNK = 512


@pytest.fixture(scope="module")
def base() -> Base:
    return make_base(resolve("tiny-ja"), WorkFolder(default_root()))


def artifact(base: Base, type_name: str) -> Path:
    return make_artifact(base, "gguf", type_name, {}, "shipped", WorkFolder(default_root())).artifact


def ask(port: int, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        document: dict[str, object] = json.load(reply)
    return document


def wait_until_healthy(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "llama-server ended while it loaded the file"
        try:
            ask(port, "/health")
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("llama-server did not become healthy within a minute")


def test_stock_llama_server_loads_our_gguf_and_goes_on_with_the_same_tokens(base: Base, oracle_tools: Path) -> None:
    gguf, ids = artifact(base, "F16"), [1, *base.tokenizer.encode("むかしむかし、あるところに")]
    runtime = open_runtime("gguf", gguf, RuntimeOptions(context_tokens=256))
    ours: list[int] = []
    feed = ids
    for _ in range(8):
        ours.append(int(runtime.step([Feed(0, feed)])[0][0].argmax()))
        feed = ours[-1:]
    runtime.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [oracle_tools / "llama-server", "-m", gguf, "--port", str(port), "--host", "127.0.0.1", "-c", "256"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_healthy(port, server)
            body = {"prompt": ids, "n_predict": 8, "temperature": 0, "return_tokens": True, "ignore_eos": True}
            theirs = ask(port, "/completion", body)["tokens"]
        finally:
            server.terminate()
    assert theirs == ours


def perplexity(tools: Path, *words: object) -> str:
    done = subprocess.run(
        [str(tools / "llama-perplexity"), "-c", str(CHUNK), "-b", str(CHUNK), "--no-warmup", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


# Our name → how the line of the tool begins.
FIGURES = {
    "mean_kld": r"Mean\s+KLD", "median_kld": r"Median\s+KLD", "p90_kld": r"90\.0%\s+KLD", "p99_kld": r"99\.0%\s+KLD",
    "p999_kld": r"99\.9%\s+KLD", "max_kld": r"Maximum\s+KLD", "mean_delta_p_percent": r"Mean\s+Δp",
    "rms_delta_p_percent": r"RMS\s+Δp", "same_top_percent": r"Same\s+top\s+p",
}  # fmt: skip


def figures(tools: Path, model: Path, logits: Path) -> dict[str, float]:
    """What the tool says; it is asked again where it ended before the last lines of its log were out (1 in 8)."""
    for _ in range(8):
        said = perplexity(tools, "-m", model, "--kl-divergence-base", logits, "--kl-divergence")
        found = {name: re.search(rf"{words}\s*:\s*(-?[0-9.]+)", said) for name, words in FIGURES.items()}
        if all(found.values()):
            return {name: float(match[1]) for name, match in found.items() if match}
    pytest.fail(f"llama-perplexity did not print all figures in eight runs: {said[-2000:]}")


def ids_in(base_file: Path) -> list[list[int]]:
    """The token ids of a `--kl-divergence-base` file: `_logits_`, n_ctx, n_vocab, n_chunk, then ids."""
    raw = base_file.read_bytes()
    assert raw[:8] == b"_logits_"
    context, _, chunks = struct.unpack("<Iii", raw[8:20])
    ids = np.frombuffer(raw, "<i4", context * chunks, 20).reshape(chunks, context)
    return ids.astype(int).tolist()


@pytest.mark.parametrize("type_name", ["Q4_K_M", "Q2_K"])
def test_our_figures_agree_with_llama_perplexity(
    base: Base, oracle_tools: Path, tmp_path: Path, type_name: str
) -> None:
    """On the same ids and the same positions: the tool scores the second half of every chunk of 512.

    Its file holds the reference's log-probabilities in 16 bits, cut at 16 below the largest logit, which the maximum
    feels most; Δp is printed with three places.
    """
    text, logits = tmp_path / "text.txt", tmp_path / "base.kld"
    text.write_text("\n".join(read_documents(VERIFICATION)), encoding="utf-8")
    quantized = artifact(base, type_name)
    perplexity(oracle_tools, "-m", base.gguf, "-f", text, "--kl-divergence-base", logits)
    theirs = figures(oracle_tools, quantized, logits)
    options = RuntimeOptions(context_tokens=CHUNK)
    reference, other = open_runtime("gguf", base.gguf, options), open_runtime("gguf", quantized, options)
    tally, own = Tally(), Tally()
    for chunk in ids_in(logits):
        inputs = [1, *chunk[1:]]  # the tool puts BOS over the first token of each chunk
        scored, targets = slice(CHUNK // 2, CHUNK - 1), np.asarray(chunk[CHUNK // 2 + 1 :])
        expected, got = (predictions(runtime, inputs)[scored] for runtime in (reference, other))
        same = (expected.argmax(axis=1) == got.argmax(axis=1)).astype(np.float64)
        tally.add(Columns(divergences(expected, got), same, surprise(got, targets)))
        own.nats.append(surprise(expected, targets))
    reference.close()
    other.close()
    ours = summary(tally, own, [Document([0, 1], 1)] * len(tally.kld))
    for name in FIGURES:
        found = ours.max_kld if name == "max_kld" else getattr(ours, name).value
        near = 0.06 if name == "max_kld" else 0.02
        assert found == pytest.approx(theirs[name], rel=near, abs=0.003 if "delta" in name else 1e-6), name
