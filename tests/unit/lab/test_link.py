"""The wrapper under which a device runs a command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgellm.lab.link import last_words, watched
from edgellm.records.lab import LabDevice
from ssh_devices import is_gone


def test_a_command_gets_its_words_its_environment_and_gives_its_code() -> None:
    device = LabDevice(name="desk", environment={"WHAT": "it's $(here)"})
    code = "import os, sys; print(os.environ['WHAT'], sys.argv[1:], repr(sys.stdin.read())); sys.exit(7)"
    done = ended(watched(device, [sys.executable, "-c", code, "a b", "$c"]))
    assert done == (7, "it's $(here) ['a b', '$c'] ''\n")


def ended(words: list[str]) -> tuple[int, str]:
    """Exit code and stdout of a command whose stdin stays open."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        return process.wait(20), said


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_is_the_commands(code: int) -> None:
    assert ended(watched(LabDevice(name="desk"), [sys.executable, "-c", f"import sys; sys.exit({code})"])) == (code, "")


def test_a_command_ends_when_its_stdin_is_closed() -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    words = watched(LabDevice(name="desk"), [sys.executable, "-c", code])
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        child = int(process.stdout.readline())
        process.stdin.close()
        assert process.wait(20) != 0
    assert is_gone(child)


def test_a_program_that_is_missing_gives_the_code_for_that() -> None:
    assert ended(watched(LabDevice(name="desk"), ["no-such-edgellm", "--version"])) == (127, "")


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (b"loading\nedgellm: there is no file; give one\n\n", "there is no file; give one"),
        (b"", "it said nothing"),
        ("壊れた\n".encode(), "壊れた"),
    ],
)
def test_the_last_line_is_what_went_wrong(stderr: bytes, said: str) -> None:
    assert last_words(stderr) == said
