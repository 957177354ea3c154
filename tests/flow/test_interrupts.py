"""Ctrl-C and SIGTERM in the middle of every verb: one line, the exit code for it, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.store.atomic import ASIDE
from terminal import BAR_GONE, CTRL_C, Terminal
from tiny_checkpoints import random_llama

STOPPED = "edgellm: stopped"
THEN = ", then "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and room for what is made; the work folder is shared, so each case finds the steps before its own."""
    folder = tmp_path_factory.mktemp("interrupts")
    large = random_llama(folder / "large", layers=6, hidden=512, ffn=2048)  # an answer of seconds
    convert(large, folder / "random.gguf", "F16")
    (folder / "text.txt").write_text("むかしむかし、あるところに、おじいさんとおばあさんがいました。\n" * 40)
    return folder


def command(folder: Path, checkpoint: Path, words: str) -> list[str]:
    places = {
        "CHECKPOINT": checkpoint, "MODEL": folder / "random.gguf", "TEXT": folder / "text.txt",
        "OUT": folder / "out", "DEMO": folder / "demo",
    }  # fmt: skip
    for name, place in places.items():
        words = words.replace(name, str(place))
    return words.split(" ")


def stop(terminal: Terminal) -> None:
    """Press Ctrl-C and look at the end of the command."""
    terminal.press(CTRL_C)
    assert terminal.wait() == 130, terminal.text
    assert terminal.text.endswith(f"\r\n{STOPPED}\r\n"), terminal.text[-300:]
    assert terminal.text.count(STOPPED) == 1
    assert "Traceback" not in terminal.text
    assert terminal.left_behind() == []


QUANTIZE = "quantize CHECKPOINT --type Q8_0 --gate none --calibration TEXT --out OUT"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (QUANTIZE, "digest random-llama"),
        (QUANTIZE, "convert to F32"),
        (QUANTIZE, "calibrate"),
        (QUANTIZE, "quantize to Q8_0"),
        (QUANTIZE, "measure fidelity"),
        (QUANTIZE.replace("TEXT", "self"), "generate text"),
        pytest.param("quantize CHECKPOINT --format onnx --out OUT", "export to ONNX", marks=pytest.mark.onnx),
        ("run MODEL むかし --temperature 2", "read the prompt"),
        ("run MODEL むかし --temperature 2", f"read the prompt{THEN}{BAR_GONE}"),
        ("bench MODEL --repeat 99", "bench random"),
        ("tokenize MODEL -", "tokenize"),
        ("demo --out DEMO", "calibrate"),
    ],
)
def test_ctrl_c_ends_a_verb_with_one_line(words: str, shown: str, folder: Path, random_checkpoint: Path) -> None:
    environment = {"EDGELLM_WORK": str(folder / "work")}
    with Terminal(*command(folder, random_checkpoint, words), environment=environment) as terminal:
        terminal.until(*shown.split(THEN))
        stop(terminal)
    assert not list(folder.rglob(f"{ASIDE}*"))
    assert not (folder / "out" / "manifest.json").exists()


@pytest.mark.parametrize("module", ["click", "numpy", "llama_cpp.llama_cpp"])
def test_ctrl_c_during_imports_is_no_traceback(module: str, folder: Path) -> None:
    environment = {"PYTHONPROFILEIMPORTTIME": "1"}  # Python then writes a line for each module that it has imported
    with Terminal("run", folder / "random.gguf", "はい", environment=environment) as terminal:
        terminal.until("edgellm\r\n", f"{module}\r\n")
        stop(terminal)


def test_what_was_whole_before_the_interrupt_is_reused(folder: Path, random_checkpoint: Path) -> None:
    environment = {"EDGELLM_WORK": str(folder / "again")}
    words = command(folder, random_checkpoint, QUANTIZE)
    with Terminal(*words, environment=environment) as terminal:
        terminal.until("quantize to Q8_0")
        stop(terminal)
    with Terminal(*words, environment=environment) as terminal:
        terminal.until("convert to F32: reused", "calibrate: reused")
        stop(terminal)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_process_alone_ends_its_children_too(
    number: int, code: int, folder: Path, random_checkpoint: Path, tmp_path: Path
) -> None:
    words = command(folder, random_checkpoint, QUANTIZE)
    with Terminal(*words, environment={"EDGELLM_WORK": str(tmp_path)}) as terminal:
        terminal.until("calibrate")
        os.kill(terminal.process.pid, number)
        assert terminal.wait() == code
        assert terminal.left_behind() == []
    assert terminal.text.endswith(f"\r\n{STOPPED}\r\n")


def test_a_log_ends_with_the_one_line(folder: Path) -> None:
    line = [sys.executable, "-m", "edgellm", "tokenize", str(folder / "random.gguf"), "--lines", "-"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # A shell starts what it runs beside itself, such as these tests, with the signal ignored.
    with subprocess.Popen(line, **pipes, preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL)) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.wait(60)  # while its input is still open, which would end it as well
        out, err = process.communicate()
    assert process.returncode == 130
    assert out == b""
    assert re.fullmatch(rf"(tokenize: \d+ s\n)+{STOPPED}\n", (first + err).decode())


def test_in_the_chat_ctrl_c_stops_an_answer_and_at_the_prompt_ends_the_chat(folder: Path) -> None:
    with Terminal("run", folder / "random.gguf", "--temperature", "2", "--threads", "1") as terminal:
        terminal.until("> ")
        terminal.press("むかし\r".encode())
        terminal.until("read the prompt", BAR_GONE)
        terminal.press(CTRL_C)
        terminal.until("(stopped)", "> ")
        time.sleep(0.5)  # a signal between the prompt and the reading behind it would be seen with the next key
        terminal.press(CTRL_C)
        assert terminal.wait() == 0
        assert terminal.left_behind() == []
    assert STOPPED not in terminal.text
