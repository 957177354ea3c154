"""Servers that the serving benchmarks start, ask and stop: edgellm's own and those that it is compared with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 180.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def edgellm_command(target: str, port: int, sequences: int, context: int, extra: Sequence[str] = ()) -> list[str]:
    return [
        sys.executable, "-m", "edgellm", "serve", target, "--port", str(port), "--parallel", str(sequences),
        "--context", str(context), "--max-queue", "256", *extra,
    ]  # fmt: skip


def llama_server_command(
    program: Path, model: Path, port: int, sequences: int, context: int, threads: int
) -> list[str]:  # fmt: skip
    return [
        str(program), "--model", str(model), "--host", "127.0.0.1", "--port", str(port), "--parallel", str(sequences),
        "--ctx-size", str(sequences * context), "--threads", str(threads), "--no-webui",
    ]  # fmt: skip


def llama_cpp_python_command(python: Path, model: Path, port: int, context: int, threads: int) -> list[str]:
    """llama-cpp-python's own server. It answers one request at a time, and by default a new one cuts off the one
    that is being answered, which is turned off here."""
    return [
        str(python), "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1", "--port", str(port),
        "--n_ctx", str(context), "--n_threads", str(threads), "--n_threads_batch", str(threads),
        "--interrupt_requests", "false",
    ]  # fmt: skip


@contextmanager
def started(command: Sequence[str], port: int, health: str = "/health", lib: Path | None = None) -> Iterator[str]:
    """The URL of a server once it answers `health` with 200; it ends with the block. `lib`: folder of its libraries."""
    environment = dict(os.environ)
    if lib is not None:
        environment["LD_LIBRARY_PATH"] = f"{lib}:{environment.get('LD_LIBRARY_PATH', '')}"
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            wait_until_ready(process, url + health)
            yield url
        except BaseException:
            log.seek(0)
            print(log.read()[-3000:].decode("utf-8", "replace"), file=sys.stderr)
            raise
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{url} was not ready within {PATIENCE_S:.0f} s")
