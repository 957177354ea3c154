"""A journal forgets nothing that it was told, whatever becomes of the process that writes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgellm.errors import BadInput
from edgellm.evals.journal import Journal


def test_what_was_put_is_there_when_the_journal_is_opened_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "evals" / "run.jsonl", "run")
    journal.put("a", {"answer": "改行\nと\u2028も"})
    journal.put("b", {"answer": ""})
    # Not closed: a kill closes nothing.
    again = Journal(journal.path, "run")
    assert len(again) == 2
    assert again.get("a") == {"answer": "改行\nと\u2028も"}
    assert again.get("c") is None


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_line_that_a_kill_cut_short_is_dropped_and_written_over(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path / "run.jsonl", "run")
    journal.put("whole", {"n": 1})
    journal.put("broken", {"answer": "この行は途中で切れる"})
    journal.close()
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    again = Journal(journal.path, "run")
    assert (again.get("whole"), again.get("broken")) == ({"n": 1}, None)
    again.put("broken", {"n": 2})
    again.close()
    third = Journal(journal.path, "run")
    assert (len(third), third.get("broken")) == (2, {"n": 2})


def test_a_journal_cut_within_its_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"run": "ru')
    journal = Journal(path, "run")
    assert len(journal) == 0
    journal.put("a", {})
    assert Journal(path, "run").get("a") == {}


def test_another_runs_journal_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "run.jsonl", "one").close()
    with pytest.raises(BadInput, match="another evaluation"):
        Journal(tmp_path / "run.jsonl", "other")


def test_many_threads_may_write_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.jsonl", "run")
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda n: journal.put(f"key {n}", {"n": n, "text": "長い文" * 50}), range(60)))
    journal.close()
    again = Journal(journal.path, "run")
    assert {again.get(f"key {n}")["n"] for n in range(60)} == set(range(60))  # type: ignore[index]


def test_a_finished_journal_goes_and_another_stays(tmp_path: Path) -> None:
    for finished in (False, True):
        journal = Journal(tmp_path / "run.jsonl", "run")
        journal.close(finished=finished)
        assert journal.path.exists() is not finished
