"""A child process for calls that may abort llama.cpp: requests go in, its log and the answers come out.

Both ends are here. A request is one line of JSON and then `payload_bytes` raw bytes; an answer is one line of
JSON after a record separator; every other line is llama.cpp's log. The child ends when its stdin does, so it
never outlives the process that started it, however that one died.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, cast

from edgellm import errors
from edgellm.engines.deaths import how_it_ended, telling_line
from edgellm.errors import EngineFailed

ANSWER = b"\x1e"


class Child:
    """Our end. `work` says what the child is doing, for error sentences: "quantizing a.gguf to Q4_K_M"."""

    def __init__(self, module: str, work: str) -> None:
        self.work = work
        self.last_lines: deque[str] = deque(maxlen=40)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # Without this ggml starts a debugger to print a backtrace when it aborts.
            env=os.environ | {"GGML_NO_BACKTRACE": "1"},
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._process.kill()  # before stdin is closed, which would make it remove the file that it wrote
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def ask(
        self,
        request: Mapping[str, object],
        payload: Iterable[memoryview] = (),
        on_line: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Send one request and wait for its answer; `on_line` sees each line that llama.cpp logs meanwhile.

        Raises EngineFailed if the child dies, and whatever error of edgellm's or of the system's it answered with.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.last_lines.clear()
        parts = list(payload)
        header = {**request, "payload_bytes": sum(p.nbytes for p in parts)}
        try:
            self._process.stdin.write(json.dumps(header).encode() + b"\n")
            for part in parts:
                self._process.stdin.write(part)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        for raw in self._process.stdout:
            if raw.startswith(ANSWER):
                return self._read_answer(raw)
            if line := raw.decode("utf-8", "replace").strip():
                self.last_lines.append(line)
                if on_line is not None:
                    on_line(line)
        raise self._death()

    def _read_answer(self, raw: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(raw[len(ANSWER) :])
        if "errno" in answer:
            raise OSError(answer["errno"], answer["sentence"], answer["file"])
        if "error" in answer:
            kind: type[errors.EdgellmError] = getattr(errors, answer["error"])
            raise kind(answer["sentence"])
        return answer

    def telling_line(self) -> str:
        return telling_line(self.last_lines)

    def _death(self) -> EngineFailed:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            self.last_lines.append(raw.decode("utf-8", "replace").strip())
        code = self._process.wait()
        killed = code == -signal.SIGKILL
        advice = "free some, or work on a machine with more" if killed else "check the file, or choose another type"
        return EngineFailed(f"the process {self.work} {how_it_ended(code, self.last_lines)}: {advice}")


def serve(handle: Callable[[dict[str, Any], bytearray], Mapping[str, object]]) -> None:
    """The child's end: answer each request with what `handle(request, payload)` gives, until stdin ends.

    An `EdgellmError` or an `OSError` from `handle` becomes the answer. When stdin ends, the other process has died:
    the last request's file `out` is removed and this process ends at once, in the middle of llama.cpp's work.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends us in order
    requests: queue.Queue[tuple[dict[str, Any], bytearray]] = queue.Queue()
    current: dict[str, Any] = {}

    stdin = cast(io.BufferedReader, sys.stdin.buffer)

    def listen() -> None:
        while line := stdin.readline():
            request = json.loads(line)
            payload = bytearray(request.pop("payload_bytes"))
            view, filled = memoryview(payload), 0
            while filled < len(payload):
                got = stdin.readinto(view[filled:])
                if not got:
                    leave()
                filled += got
            requests.put((request, payload))
        leave()

    def leave() -> NoReturn:
        """The other process has died. Whichever thread finds that out first comes here: the one that listens, or the
        one that works, whose answers nobody reads."""
        # No thread can open a file from here on, so that none comes into being after it was removed.
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        if "out" in current:
            Path(current["out"]).unlink(missing_ok=True)
        os._exit(1)

    def say(text: bytes) -> None:
        try:
            log(text)
        except BrokenPipeError:
            leave()

    threading.Thread(target=listen, daemon=True).start()
    while True:
        request, payload = requests.get()
        current.update(request)
        try:
            answer = handle(request, payload)
        except errors.EdgellmError as e:
            answer = {"error": type(e).__name__, "sentence": str(e)}
        except OSError as e:
            answer = {"errno": e.errno, "sentence": e.strerror or str(e), "file": e.filename}
        except BaseException:
            say(traceback.format_exc().encode())
            os._exit(1)  # an ordinary exit would wait for the thread that reads stdin
        say(b"\n" + ANSWER + json.dumps(answer).encode() + b"\n")


def log(text: bytes) -> None:
    """Write to stdout past Python's buffers, in the order in which llama.cpp's own threads write."""
    while text:
        text = text[os.write(1, text) :]
