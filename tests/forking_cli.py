"""The command line in processes that are forked from one that has imported everything: a hundred calls in seconds.

Each call is a process of its own with its own arguments, streams and exit code, as from a shell; only the second of
imports is paid once. `ForkingCli` is the test's end; run as a program, this file is the other one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

MODULES = ("pipeline", "inspection", "benching", "verification", "tokenizing")


PATIENCE_S = 100  # then a call is ended, and its code is that of SIGALRM


class Done(NamedTuple):
    """`code` is negative where a signal ended the process, as in `subprocess`."""

    code: int
    stdout: str
    stderr: str


class ForkingCli:
    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._out, self._err = process, folder / "stdout", folder / "stderr"

    def __call__(self, *words: object) -> Done:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"words": [str(w) for w in words], "out": str(self._out), "err": str(self._err)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Done(code, *(path.read_text(encoding="utf-8") for path in (self._out, self._err)))


@contextmanager
def forking_cli(folder: Path) -> Iterator[ForkingCli]:
    """`folder` takes what the processes print."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield ForkingCli(process, folder)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def fork(words: list[str], out: str, err: str) -> int:
    """Run one command line in a forked process and give its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    from edgellm.cli.main import main

    code = 99  # of a command line that returned, which it never does
    signal.alarm(PATIENCE_S)
    try:
        for stream, path in ((0, os.devnull), (1, out), (2, err)):
            flags = os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(path, flags, 0o600), stream)
        sys.argv = ["edgellm", *words]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    from importlib import import_module

    for name in MODULES:
        import_module(f"edgellm.build.{name}")
    for name in ("edgellm.engines.gguf.opening", "edgellm.inference.local_chat", "edgellm.serve.server", "rich.table"):
        import_module(name)
    for line in sys.stdin:
        print(fork(**json.loads(line)), flush=True)
