"""From a bench to a file, and from files to a comparison, a report and the claims: the commands themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def edgellm(*words: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "edgellm", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "results"
    small = ("--prompt-tokens", "16", "--decode-tokens", "8", "--repeat", "3", "--no-ceilings", "--save", folder)
    for _ in range(2):
        edgellm("bench", "tiny-ja", *small)
    return folder


def test_a_bench_leaves_a_file_in_its_device_s_folder_and_a_second_one_beside_it(results: Path) -> None:
    files = sorted(results.rglob("*.json"))
    assert len(files) == 2
    assert {file.parent for file in files} == {files[0].parent}
    assert files[0].parent.parent == results
    assert all("tiny-ja" in file.name and file.name.endswith("engine.json") for file in files)


def test_two_files_are_compared(results: Path) -> None:
    found = edgellm("compare", *sorted(results.rglob("*.json")))
    assert {row["test"] for row in found["tests"]} == {"tg8", "pp16"}
    assert found["test"] == "tg8"
    assert found["ratio"]["low"] <= found["ratio"]["value"] <= found["ratio"]["high"]
    assert not any("differ" in note for note in found["notes"])  # the same model, machine, settings and software


def test_the_files_become_a_report(results: Path) -> None:
    out = results.parent / "report.html"
    assert edgellm("report", results, "--out", out) == {"path": str(out), "results": 2}
    assert "tiny-ja" in out.read_text(encoding="utf-8")


def test_the_toy_model_proves_no_claim(results: Path) -> None:
    found = edgellm("claims", "--results", results)
    assert found["counted"] == []
    assert len(found["not_counted"]) == 2
