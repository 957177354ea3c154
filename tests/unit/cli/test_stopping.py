"""Signals in processes that do what is hard to end: stuck in a library, called back by one, with children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

# A mutex that is locked twice: the call never returns, and no signal interrupts it.
STUCK = """
import ctypes, signal, subprocess, sys, time
from pathlib import Path
from edgellm.cli import stopping
from edgellm.store.atomic import file_aside, folder_aside

def stuck():
    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    said = False
    while True:
        try:  # a signal may still come before the call
            if not said:
                said = True
                print("ready", flush=True)
            libc.pthread_mutex_lock(mutex)
        except stopping.Stopped:
            pass

stop = stopping.STOP
stop.listen()
"""


@contextmanager
def python(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK + script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_call_that_never_returns_is_ended_with_nothing_left_behind(number: int, code: int, tmp_path: Path) -> None:
    script = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
Path(sys.argv[1], "pid").write_text(str(child.pid))
with folder_aside(Path(sys.argv[1], "folder")) as folder, file_aside(Path(sys.argv[1], "file")) as file:
    file.write_text("half")
    (folder / "part").write_text("half")
    stuck()
"""
    with python(script, tmp_path) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "", "edgellm: stopped\n")
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert os.listdir(tmp_path) == ["pid"]


def test_a_second_signal_ends_at_once() -> None:
    with python("stopping.GRACE_S = 1000\nstuck()") as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_work_that_can_be_interrupted_unwinds(tmp_path: Path) -> None:
    script = """
try:
    print("ready", flush=True)
    time.sleep(1000)
except BaseException:
    Path(sys.argv[1]).write_text("unwound")
    stop.end_if_asked()
"""
    with python(script, tmp_path / "file") as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "edgellm: stopped\n")
    assert (tmp_path / "file").read_text() == "unwound"


def test_a_signal_while_a_library_calls_back_is_no_traceback() -> None:
    script = """
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def compare(a, b):
    signal.raise_signal(signal.SIGINT)
    return 0
ctypes.CDLL(None).qsort((ctypes.c_int * 2)(), 2, 4, compare)
stuck()
"""
    with python(script) as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "edgellm: stopped\n")


def test_what_an_interrupted_import_makes_of_the_signal_does_not_count() -> None:
    """Libraries turn the exception into errors of their own, an ImportError say."""
    script = """
try:
    print("ready", flush=True)
    time.sleep(1000)
except BaseException:
    pass
try:
    raise ImportError("initialization failed")
except ImportError:
    stop.end_if_asked()
"""
    with python(script) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "edgellm: stopped\n")


def test_a_block_may_take_the_interrupts_for_itself() -> None:
    script = """
for _ in range(2):
    with stop.own_interrupts():
        try:
            print("ready", flush=True)
            time.sleep(1000)
        except KeyboardInterrupt:
            print("caught", flush=True)
print("ready", flush=True)
time.sleep(1)
print("over", flush=True)
"""
    with python(script) as process:
        assert process.stdout is not None
        for line in ("caught\n", "ready\n") * 2:
            if line == "caught\n":
                process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == line
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "over\n", "")


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """As under nohup, and for what a shell script starts with &."""
    script = "stop.let_go()\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nstop.listen()\nprint('ready', flush=True)\n"
    with python(script + "sys.stdin.readline()\nprint('over')") as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate("\n", timeout=60)
    assert (process.returncode, out) == (0, "over\n")
