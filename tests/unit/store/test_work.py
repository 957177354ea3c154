from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from edgellm.errors import Busy, NoSpace
from edgellm.store.atomic import aside_of
from edgellm.store.disk import need_space
from edgellm.store.lock import lock_file, locked
from edgellm.store.work import WorkFolder


def write_one(folder: Path) -> None:
    (folder / "product").write_text("done")


def test_a_finished_step_is_reused(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    first = work.step("convert", {"a": "1"}, {}, {}, write_one)
    again = work.step("convert", {"a": "1"}, {}, {}, lambda _: pytest.fail("made twice"))
    assert (first.reused, again.reused) == (False, True)
    assert (again.folder / "product").read_text() == "done"


@pytest.mark.parametrize(
    "changed", [({"a": "2"}, {}, {}), ({"a": "1"}, {"type": "F16"}, {}), ({"a": "1"}, {}, {"gguf": "2"})]
)
def test_any_changed_part_makes_another_step(tmp_path: Path, changed: tuple[dict[str, str], ...]) -> None:
    work = WorkFolder(tmp_path)
    first = work.step("convert", {"a": "1"}, {}, {}, write_one)
    other = work.step("convert", changed[0], changed[1], changed[2], write_one)
    assert other.step.key != first.step.key
    assert not other.reused


def test_a_failed_step_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_one(folder)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        WorkFolder(tmp_path).step("convert", {}, {}, {}, fail)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


def kill_self_half_way(root: Path) -> None:
    def make(folder: Path) -> None:
        write_one(folder)
        os.kill(os.getpid(), signal.SIGKILL)

    WorkFolder(root).step("convert", {}, {}, {}, make)


def test_a_killed_step_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=kill_self_half_way, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not WorkFolder(tmp_path).step("convert", {}, {}, {}, write_one).reused


def hold(path: Path, held: multiprocessing.Event) -> None:  # type: ignore[valid-type]
    with locked(path, "the folder"):
        held.set()  # type: ignore[attr-defined]
        time.sleep(30)


def test_a_second_process_on_the_same_step_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "lock", held))
    process.start()
    try:
        assert held.wait(10)
        with (
            pytest.raises(Busy, match="another edgellm process is working on the folder"),
            locked(tmp_path / "lock", "the folder"),
        ):
            pass
    finally:
        process.kill()
        process.join()


def test_clean_removes_old_steps_and_keeps_young_ones(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    old = work.step("convert", {"a": "old"}, {}, {}, write_one).folder
    young = work.step("convert", {"a": "young"}, {}, {}, write_one).folder
    os.utime(old, (0, 0))
    removed, freed = work.clean(older_than_days=30)
    assert removed == 1
    assert freed > 0
    assert not old.exists()
    assert young.exists()


def test_clean_removes_what_a_killed_run_left(tmp_path: Path) -> None:
    left = tmp_path / ".aside-01234567-convert-x"
    left.mkdir()
    os.utime(left, (0, 0))
    assert WorkFolder(tmp_path).clean(older_than_days=30)[0] == 1
    assert not left.exists()


def test_too_little_disk_is_said_before_work_starts(tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match="free some space"):
        need_space(tmp_path / "not" / "yet", 10**18, "the artifact")


def test_clean_removes_a_leftover_that_is_a_file(tmp_path: Path) -> None:
    aside_of(tmp_path / "imatrix.gguf").write_bytes(b"half")
    assert WorkFolder(tmp_path).clean(30)[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_held_for_a_moment_only_is_waited_for(tmp_path: Path) -> None:
    held = threading.Event()

    def hold() -> None:
        with locked(tmp_path / ".step.lock", "the step"):
            held.set()
            time.sleep(0.05)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with locked(tmp_path / ".step.lock", "the step"):
        assert (tmp_path / ".step.lock").exists()
    holder.join()


def test_clean_removes_journals_and_judgments_that_nobody_went_on_with(tmp_path: Path) -> None:
    evals = tmp_path / "evals"
    (evals / "judgments-1").mkdir(parents=True)
    for name in ("old.jsonl", "young.jsonl", "running.jsonl", "judgments-1/judgments.jsonl"):
        (evals / name).write_text("{}")
    for name in ("old.jsonl", "running.jsonl", "judgments-1/judgments.jsonl"):
        os.utime(evals / name, (0, 0))
    with locked(lock_file(evals / "running.jsonl"), "the run"):
        assert WorkFolder(tmp_path).clean(older_than_days=30) == (2, 4)
    assert sorted(path.name for path in evals.iterdir()) == ["running.jsonl", "young.jsonl"]
