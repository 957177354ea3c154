"""What a control group allows, in both versions of their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.bench.given_cores import quota_cores
from edgellm.bench.tree import Tree
from fake_machine import FakeMachine


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/x",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
)
def test_a_quota_is_told_in_cores(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    machine = FakeMachine(tmp_path)
    for path, text in files.items():
        machine.write(path, text)
    assert quota_cores(Tree(tmp_path)) == cores
