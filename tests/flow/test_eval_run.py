"""`eval run` as one calls it: a kill in the middle costs nothing that was answered, and a real model is asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from counting_server import Counting, counting_server
from live_server import announced_url, eventually

ITEMS = 8


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The URL of a real `edgellm serve` with the embedded model."""
    words = ["serve", "tiny-ja", "--port", "0", "--parallel", "2"]
    process = subprocess.Popen([sys.executable, "-m", "edgellm.cli.main", *words], stderr=subprocess.PIPE, text=True)
    try:
        yield announced_url(process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def command(server: Counting, *words: str) -> list[str]:
    asked = ["--url", server.url, "--suite", "ifeval-ja", "--limit", str(ITEMS), "--concurrency", "2", "--json"]
    return [sys.executable, "-m", "edgellm.cli.main", "eval", "run", *asked, *words]


def start(server: Counting, work: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(server, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"EDGELLM_WORK": str(work), "EDGELLM_OFFLINE": "1"},
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell may have it ignored
    )  # fmt: skip


def finished(server: Counting, work: Path, *words: str) -> tuple[dict[str, Any], str]:
    process = start(server, work, *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found, err


def journal_lines(work: Path) -> int:
    return sum(file.read_bytes().count(b"\n") - 1 for file in (work / "evals").glob("ifeval-ja-*.jsonl"))


def test_a_killed_run_goes_on_and_asks_nothing_twice(served: str, work: Path, tmp_path: Path) -> None:
    with counting_server(passed_on_to=served, hold_from=5) as server:
        killed = start(server, work)
        eventually(lambda: len(server.asked) == 6 and journal_lines(work) == 4, 60)
        second = start(server, work)
        _, said = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "another edgellm process is working on the same evaluation" in said
        killed.kill()
        killed.communicate(timeout=30)
        server.release.set()
        result, said = finished(server, work, "--save", str(tmp_path / "result.json"))
        assert "4 answers and judgments are there from a run that was stopped" in said
        # The two that were held when it was killed had no answer, so they alone were asked for again.
        assert sorted(server.times().values()) == [1] * (ITEMS - 2) + [2] * 2
    assert (result["items"], result["failed"], result["settings"]["resumed"]) == (ITEMS, 0, 4)
    assert {"suite", "protocol", "score", "categories", "strict", "loose"} <= set(result)
    assert len(result["records"]) == ITEMS
    # A real model spoke, or thought.
    assert all(record["answer"] or record["reasoning_characters"] for record in result["records"])
    assert journal_lines(work) == 0
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == result


def test_ctrl_c_ends_with_130_and_keeps_what_was_answered(work: Path) -> None:
    with counting_server(hold_from=3) as server:
        stopped = start(server, work)
        eventually(lambda: len(server.asked) == 4 and journal_lines(work) == 2, 60)
        stopped.send_signal(signal.SIGINT)
        _, said = stopped.communicate(timeout=30)
        assert (stopped.returncode, said.splitlines()[-1]) == (130, "edgellm: stopped")
        assert journal_lines(work) == 2
        server.release.set()
        assert finished(server, work)[0]["settings"]["resumed"] == 2
        assert len(server.asked) == 4 + ITEMS - 2
