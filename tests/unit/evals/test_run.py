"""A run does each job once, in whatever order, and remembers it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from edgellm.errors import EngineFailed
from edgellm.evals.journal import Journal
from edgellm.evals.model import Model
from edgellm.evals.run import Job, Run

NOBODY = cast(Model, None)  # these jobs ask no model


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "run.jsonl", "run")
    yield opened
    opened.close()


def test_results_come_in_the_order_of_the_jobs(journal: Journal) -> None:
    first_may_end = threading.Event()

    def slow() -> dict[str, Any]:
        assert first_may_end.wait(10)
        return {"n": 0}

    def quick() -> dict[str, Any]:
        first_may_end.set()
        return {"n": 1}

    found = Run(NOBODY, journal, concurrency=2).each({"slow": slow, "quick": quick}, "answers")
    assert list(found.items()) == [("slow", {"n": 0}), ("quick", {"n": 1})]


def test_no_more_jobs_run_at_once_than_asked_for(journal: Journal) -> None:
    running, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(3)

    def job() -> dict[str, Any]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(10)  # all three do come together
        with lock:
            running -= 1
        return {}

    Run(NOBODY, journal, concurrency=3).each({str(n): job for n in range(9)}, "answers")
    assert most == 3


def test_what_the_journal_knows_is_not_done_again(journal: Journal) -> None:
    done: list[str] = []

    def job(key: str) -> Job:
        def do() -> dict[str, Any]:
            done.append(key)
            return {"key": key}

        return do

    jobs = {key: job(key) for key in "abcd"}
    Run(NOBODY, journal).each({key: jobs[key] for key in "ac"}, "answers")
    found = Run(NOBODY, journal).each(jobs, "answers")
    assert done == ["a", "c", "b", "d"]
    assert list(found) == list("abcd")


def test_a_job_that_fails_ends_the_run_and_leaves_what_is_done(journal: Journal) -> None:
    done: list[int] = []

    def job(number: int) -> Job:
        def do() -> dict[str, Any]:
            if number == 2:
                raise EngineFailed("the server broke off")
            done.append(number)
            return {"n": number}

        return do

    with pytest.raises(EngineFailed, match="broke off"):
        Run(NOBODY, journal).each({str(n): job(n) for n in range(40)}, "answers")
    assert done == [0, 1]  # the rest was not begun
    assert all(journal.get(str(n)) == {"n": n} for n in done)


def test_progress_counts_what_was_there_before(journal: Journal) -> None:
    said: list[tuple[str, int, int]] = []
    jobs: dict[str, Job] = {str(n): dict for n in range(3)}
    Run(NOBODY, journal).each({"0": jobs["0"]}, "answers")
    Run(NOBODY, journal, progress=lambda *words: said.append(words)).each(jobs, "answers")
    assert said == [("answers", 1, 3), ("answers", 2, 3), ("answers", 3, 3)]


def test_a_limit_takes_the_first_items(journal: Journal) -> None:
    assert Run(NOBODY, journal, limit=2).limited([1, 2, 3]) == [1, 2]
    assert Run(NOBODY, journal).limited([1, 2, 3]) == [1, 2, 3]
