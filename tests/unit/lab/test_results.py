"""Results are the state of a lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.errors import DeviceFailed
from edgellm.lab.results import entry_digest, finished, read_result, save_result
from edgellm.records.bench import EngineBench
from edgellm.records.lab import LabKey, SuiteEntry

ENTRY = SuiteEntry(name="short")
KEY = LabKey(device="desk", bundle="sha256:b", entry=entry_digest(ENTRY), suite="s")
RESULT = EngineBench(
    target="m", results=[], machine={}, conditions={}, valid=True, reasons=[], created="2026-11-22T10:00:00+00:00"
)


def test_a_saved_result_counts_as_finished_and_nothing_else_does(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    path = save_result(read_result(RESULT.model_dump_json().encode(), KEY), folder, ENTRY)
    assert path.name == "20261122T100000Z-desk-m-short.json"
    (folder / "of-bench-save.json").write_text(RESULT.model_dump_json())
    (folder / "half.json").write_text('{"lab": {"bundle"')
    (folder / "list.json").write_text("[1]")
    (folder / "lab.log").write_text("x")
    assert finished(folder) == {("sha256:b", KEY.entry)}


def test_a_folder_that_is_not_there_has_nothing_finished(tmp_path: Path) -> None:
    assert finished(tmp_path / "desk") == set()


def test_a_second_result_stands_beside_the_first(tmp_path: Path) -> None:
    result = read_result(RESULT.model_dump_json().encode(), KEY)
    assert save_result(result, tmp_path / "desk", ENTRY) != save_result(result, tmp_path / "desk", ENTRY)


def test_the_digest_of_an_entry_is_that_of_its_options() -> None:
    assert entry_digest(ENTRY) == entry_digest(SuiteEntry(name="renamed"))
    assert entry_digest(ENTRY) != entry_digest(SuiteEntry(name="short", depth=1))


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(DeviceFailed, match="no result of a bench"):
        read_result(b"hello", KEY)
