"""Where bubblewrap is missing, old or not allowed, and where the kernel can count memory by groups."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgellm.errors import SandboxMissing
from edgellm.evals.confinement import command as command_module
from edgellm.evals.confinement import group as group_module
from edgellm.evals.sandbox import Limits, run_python
from sandboxes import needs_sandbox

QUICK = Limits(seconds=2, memory_bytes=256 << 20, tmp_bytes=8 << 20)
pytestmark = needs_sandbox


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SandboxMissing, match="apt install bubblewrap"):
        run_python("print(1)")


def test_a_bubblewrap_that_is_not_allowed_to_work_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxMissing, match="No permissions to create new namespace"):
        run_python("print(1)")


def test_a_bubblewrap_that_cannot_limit_a_folder_gives_none_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "has_size", lambda program: False)
    assert "Read-only" in run_python("open('/tmp/x', 'w')", QUICK).stderr


def test_a_virtual_environment_runs_the_python_behind_it() -> None:
    program, needed = command_module.interpreter()
    assert program.is_file()
    assert not any(path.is_relative_to(Path(sys.prefix)) for path in needed) or sys.prefix == sys.base_prefix


def test_a_cgroup_that_may_be_divided_gets_the_limits(tmp_path: Path) -> None:
    own = tmp_path / "user.slice" / "me"
    own.mkdir(parents=True)
    (tmp_path / "user.slice" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    parent = group_module.own_parent(tmp_path, "/user.slice/me")
    assert parent == tmp_path / "user.slice"
    made = group_module.made(parent, 1000, 20)
    assert {file.name: file.read_text() for file in made.iterdir()} == {"memory.max": "1000", "pids.max": "20"}


def test_a_cgroup_without_limits_of_memory_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu\n")
    assert group_module.own_parent(tmp_path, "/") is None


def test_a_program_is_put_into_its_cgroup_and_the_kernels_word_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a folder in the place of the kernel's, which this machine may not have."""

    def made(parent: Path, memory_bytes: int, processes: int) -> Path:
        (tmp_path / "memory.events").write_text("oom 1\noom_kill 1\n")
        return tmp_path

    monkeypatch.setattr(group_module, "own_parent", lambda: tmp_path)
    monkeypatch.setattr(group_module, "made", made)
    monkeypatch.setattr(group_module, "removed", lambda folder: None)
    ran = run_python("import os\nos.abort()", QUICK)
    assert (ran.confined_by, ran.killed_by) == ("cgroup", "memory")
    assert int((tmp_path / "cgroup.procs").read_text()) > 0


def test_systemd_is_asked_for_a_group_where_it_gives_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program in its place that writes down what it was asked, and runs the rest."""
    fake = tmp_path / "systemd-run"
    asked = tmp_path / "asked"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {asked}\nwhile [ "$1" != "--" ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("SECRET", "very-secret")
    monkeypatch.setattr(group_module, "own_parent", lambda: None)
    group_module.systemd_gives_groups.cache_clear()
    try:
        ran = run_python("import os\nprint('SECRET' in os.environ, 'XDG_RUNTIME_DIR' in os.environ)", QUICK)
    finally:
        group_module.systemd_gives_groups.cache_clear()
    assert (ran.stdout, ran.confined_by) == ("False False\n", "cgroup")
    limit = QUICK.memory_bytes + QUICK.tmp_bytes
    assert f"--user --scope --quiet --collect --property MemoryMax={limit}" in asked.read_text()
