"""compare, claims and report as one calls them: exit codes, JSON, and sentences for people."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from bench_results import BUSY, dense, write_all
from edgellm.cli.main import VERBS, cli
from edgellm.errors import GateFailed
from edgellm.store import catalogue
from edgellm.store.results import save


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def printed(*words: str | Path) -> dict[str, Any]:
    done = run(*words, "--json")
    assert done.exception is None, done.exception
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return save(dense({1: 5.0}), tmp_path / "a.json"), save(dense({1: 4.9}, reasons=[BUSY]), tmp_path / "b.json")


def test_compare_prints_one_document(pair: tuple[Path, Path]) -> None:
    found = printed("compare", *pair)
    assert found["ratio"]["value"] == pytest.approx(0.98)
    assert found["ratio"]["low"] < 0.98 < found["ratio"]["high"]
    assert found["verdict"] in ("B is worse", "no difference seen")
    assert any(BUSY in note for note in found["notes"])


def test_compare_says_in_words_what_it_found(pair: tuple[Path, Path]) -> None:
    done = run("compare", *pair)
    assert done.exit_code == 0
    assert "tg128" in done.stdout
    assert "0.980" in done.stdout
    assert f"note: B does not hold: {BUSY}" in done.stdout


def test_a_gate_fails_where_the_lower_end_lies_below_it(pair: tuple[Path, Path]) -> None:
    done = run("compare", *pair, "--fail-below", "0.97")
    assert isinstance(done.exception, GateFailed)
    assert "0.98" not in str(done.exception).partition("times as good")[0]  # the lower end is told, not the ratio
    assert "tg128" in done.stdout  # and the table before it
    assert run("compare", *pair, "--fail-below", "0.9").exit_code == 0


def test_claims_prints_a_document_with_the_promised_keys(tmp_path: Path) -> None:
    found = printed("claims", "--results", write_all(tmp_path))
    assert {claim["status"] for claim in found["claims"]} == {"met", "missed", "unmeasured"}
    for claim in found["claims"]:
        assert {"id", "source", "statement", "target", "measured", "status", "cases"} <= claim.keys()


def test_claims_tells_people_each_case_and_what_does_not_count(tmp_path: Path) -> None:
    said = run("claims", "--results", write_all(tmp_path)).stdout
    assert "missed     llmjp4-cost" in said
    assert "tg128x8" in said
    assert f"not valid: {BUSY}" in said
    assert "Japanese MT-Bench, 7.82 ± 0.2 points of 10: no valid result file shows it" in said


def test_claims_without_results_is_what_shapes_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert printed("claims")["claims"][0]["status"] == "met"


def test_report_writes_the_file_and_tells_its_path(tmp_path: Path) -> None:
    results, out = write_all(tmp_path / "results"), tmp_path / "report.html"
    assert printed("report", results, "--out", out) == {"path": str(out), "results": 6}
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_commands_of_the_claims_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("answers.jsonl", "items.jsonl"):  # that the commands name
        (tmp_path / name).touch()
    commands = [
        command for claim in catalogue.load_claims().claims for measure in claim.measures for command in measure.how
    ]
    assert {words[1] for words in map(shlex.split, commands)} <= set(VERBS)
    for words in map(shlex.split, commands):
        command = cli.get_command(click.Context(cli), words[1])
        rest = words[2:]
        if isinstance(command, click.Group):
            command, rest = command.commands[rest[0]], rest[1:]
        assert command is not None
        command.make_context(words[1], rest)
