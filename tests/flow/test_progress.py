"""What a user sees of long work: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgellm.build.order import Order
from edgellm.build.pipeline import build
from edgellm.engines.gguf.convert import convert
from edgellm.stages import Report
from edgellm.store.work import WorkFolder
from terminal import CTRL_D, Terminal

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COUNTED = [
    "digest random-llama", "convert to F32", "calibrate", "quantize to Q8_0", "load the models to compare",
    "measure fidelity", "digest the bundle",
]  # fmt: skip
UNCOUNTED = ["generate", "check structure and tokenizer", "bundle"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration text of a few chunks."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("むかしむかし、あるところに、おじいさんとおばあさんがいました。\n" * 40)
    return path


@pytest.fixture(scope="module")
def model(random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("progress") / "random.gguf"
    convert(random_checkpoint, path, "F16")
    return path


@dataclass
class Recorder:
    """Progress that remembers the last report of every finished work, and what was noted."""

    finished: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def work(self, label: str) -> Iterator[Report]:
        reports: list[tuple[int, int]] = []
        yield lambda done, total: reports.append((done, total))
        self.finished[label] = reports[-1] if reports else None

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_every_stage_of_a_build_says_what_it_does_and_counts_to_the_end(
    random_checkpoint: Path, text: Path, tmp_path: Path
) -> None:
    recorder = Recorder()
    order = Order(str(random_checkpoint), tmp_path / "out", type="Q8_0", calibration=str(text), gated=False)
    built = build(order, WorkFolder(tmp_path / "work"), recorder)
    assert sorted(recorder.finished) == sorted([*COUNTED, *UNCOUNTED])
    for label in COUNTED:
        report = recorder.finished[label]
        assert report is not None, f"{label} reports nothing"
        done, total = report
        assert done == total > 0, label
    assert built.reused == []
    assert [note for note in recorder.notes if not note.startswith("disk: ")] == []
    assert re.search(rf"disk: .* MB in {tmp_path / 'work'}, then at least .* for the bundle", recorder.notes[0])


@dataclass(frozen=True)
class OnTerminal:
    """What `quantize --json` showed on a terminal, what went to its stdout, and where it worked."""

    checkpoint: Path
    bundle: Path
    environment: dict[str, str]
    shown: str
    stdout: str


@pytest.fixture(scope="module")
def quantized_on_terminal(random_checkpoint: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> OnTerminal:
    folder = tmp_path_factory.mktemp("terminal")
    words = ["--type", "Q8_0", "--calibration", text, "--gate", "none", "--json", "--out", folder / "out"]
    environment = {"EDGELLM_WORK": str(folder / "work"), "NO_COLOR": "1"}
    stdout = folder / "stdout"
    with Terminal("quantize", random_checkpoint, *words, stdout=stdout, environment=environment) as terminal:
        assert terminal.wait() == 0, terminal.text
    return OnTerminal(random_checkpoint, folder / "out", environment, terminal.text, stdout.read_text())


def test_a_terminal_gets_a_bar_for_every_stage(quantized_on_terminal: OnTerminal) -> None:
    shown = ESCAPE.sub("", quantized_on_terminal.shown)
    for label in (*COUNTED, *UNCOUNTED):
        assert re.search(rf"{label} +━", shown), label
    assert re.search(r"measure fidelity +━+ *\d+/48 0:00:\d\d", shown)


def test_no_color_is_respected_and_the_cursor_comes_back(quantized_on_terminal: OnTerminal) -> None:
    shown = quantized_on_terminal.shown
    assert [code for code in re.findall(r"\x1b\[([0-9;]*)m", shown) if re.match(r"[34]\d", code)] == []
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")


def test_stdout_is_one_json_document_beside_bars(quantized_on_terminal: OnTerminal) -> None:
    assert "\x1b" not in quantized_on_terminal.stdout
    assert json.loads(quantized_on_terminal.stdout)["size_bytes"] > 0


def test_a_log_says_once_what_is_reused(quantized_on_terminal: OnTerminal, text: Path, tmp_path: Path) -> None:
    words = ["calibrate", quantized_on_terminal.checkpoint, "--text", text, "--out", tmp_path / "i.gguf", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "edgellm", *map(str, words)], capture_output=True, text=True, check=False,
        env=os.environ | quantized_on_terminal.environment,
    )  # fmt: skip
    assert json.loads(done.stdout)["tokens"] > 0
    assert done.stderr == "convert to F32: reused\ncalibrate: reused\n"


def test_a_dumb_terminal_gets_the_lines_of_a_log(model: Path, tmp_path: Path) -> None:
    words = ["tokenize", model, "--lines", "-"]
    with Terminal(*words, stdout=tmp_path / "ids", environment={"TERM": "dumb"}) as terminal:
        terminal.until("tokenize: ")
        terminal.press(CTRL_D)
        assert terminal.wait() == 0
    assert "\x1b" not in terminal.text


def test_a_log_gets_lines_while_one_long_call_runs_and_one_at_its_end() -> None:
    command = [sys.executable, "-m", "edgellm", "tokenize", "tiny-ja", "--lines", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        first = process.stderr.readline().decode()  # nothing is typed until it has come
        out, err = process.communicate("あ\n".encode(), timeout=60)
    assert re.fullmatch(r"tokenize: \d+ s\n", first)
    assert re.fullmatch(r"(tokenize: .*\n)*tokenize: done, \d+ s\n", err.decode())
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (["show", "MODEL"], ["read"]),
        (["clean"], ["clean"]),
        (["calibrate", "MODEL", "--text", "TEXT", "--out", "FOLDER/i.gguf"], ["digest random.gguf", "calibrate"]),
        (["run", "MODEL", "はい", "--max-tokens", "3", "--threads", "1"], ["load random", "read the prompt"]),
        (["bench", "MODEL", "--prompt-tokens", "8", "--no-ceilings"], ["load random", "bench random", "digest random"]),
        (["verify", "BUNDLE"], ["digest out", "check structure", "load and generate"]),
        (["tokenize", "MODEL", "はい"], ["tokenize"]),
    ],
    ids=lambda words: words[0],
)
def test_other_verbs_show_bars_too(
    words: list[str], labels: list[str], model: Path, text: Path, quantized_on_terminal: OnTerminal,
    tmp_path: Path,
) -> None:  # fmt: skip
    places = {"MODEL": model, "TEXT": text, "BUNDLE": quantized_on_terminal.bundle, "FOLDER": tmp_path}
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    with Terminal(*words, environment={"EDGELLM_WORK": str(tmp_path / "work")}) as terminal:
        assert terminal.wait() == 0, terminal.text
    shown = ESCAPE.sub("", terminal.text)
    for label in labels:
        assert re.search(rf"{label}.*━", shown), label
