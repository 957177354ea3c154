"""`edgellm lab run --on ray`, on three nodes of a real cluster on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edgellm
from edgellm.records.bench import EngineBench
from edgellm.store.results import load
from quick_build import make_quick_build
from ssh_devices import is_gone

SOURCES = str(Path(edgellm.__file__).parent.parent)
STORE_BYTES = 80_000_000
NODES = ("node-a", "node-b", "node-c")
SUITE = 'name = "quick"\n[[entries]]\nname = "one"\nprompt_tokens = 16\ndecode_tokens = 8\nrepeat = 1\n'
# Waits before the bench, where a file says so; the file then holds its process.
WRAPPER = """
import os, sys, time
from pathlib import Path
gate = Path(__file__).parent / "gate"
if gate.exists() and sys.argv[1] == "bench":
    gate.write_text(str(os.getpid()))
    time.sleep(60)
os.execv(sys.executable, [sys.executable, "-m", "edgellm", *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return make_quick_build(folder / "quick").run(folder / "work", folder / "bundle").bundle


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without processors, so that no task runs on it. A node that answers no more is dead after 3 seconds."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    checks = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False, "_system_config": checks}
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield started
    finally:
        started.shutdown()


def add_node(cluster: Any, name: str) -> Any:
    return cluster.add_node(num_cpus=1, node_name=name, object_store_memory=STORE_BYTES, wait=True)


def test_one_of_three_nodes_dies_in_mid_run_and_a_second_call_finishes_it(
    cluster: Any, bundle: Path, tmp_path: Path
) -> None:
    nodes = {name: add_node(cluster, name) for name in NODES}
    for name in NODES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "wrapper.py").write_text(WRAPPER)
    gate = tmp_path / "node-c" / "gate"
    gate.touch()
    words = command_line(tmp_path, cluster.address, bundle)

    first = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    bench = awaited(gate)
    cluster.remove_node(nodes["node-c"], allow_graceful=False)
    out, said = first.communicate(timeout=120)
    rows = {row["name"]: row for row in json.loads(out)["devices"]}
    assert {name: (row["done"], row["failed"]) for name, row in rows.items()} == {
        "node-a": (1, 0), "node-b": (1, 0), "node-c": (0, 1),
    }  # fmt: skip
    assert "its Ray node died" in rows["node-c"]["why"]
    assert first.returncode == 1
    assert said.splitlines()[-1].startswith("edgellm: node-c did not finish; ")
    assert all(line.startswith(("edgellm: ", "node-", "push to node-")) for line in said.splitlines()), said
    assert is_gone(bench)
    assert rows["node-a"]["sent_bytes"] == 0  # the node sees the very files

    gate.unlink()
    add_node(cluster, "node-c")
    # By this name the node sees another folder, as a node elsewhere does.
    words = command_line(tmp_path, cluster.address, Path("/proc/self/cwd") / bundle.name)
    second = subprocess.run(
        words, capture_output=True, text=True, check=False, env=environment(), timeout=120, cwd=bundle.parent
    )
    assert second.returncode == 0, second.stderr
    rows = {row["name"]: row for row in json.loads(second.stdout)["devices"]}
    assert {name: (row["done"], row["skipped"]) for name, row in rows.items()} == {
        "node-a": (0, 1), "node-b": (0, 1), "node-c": (1, 0),
    }  # fmt: skip
    result = load(Path(rows["node-c"]["results"][0]))
    assert isinstance(result, EngineBench)
    assert result.lab is not None
    assert result.lab.device == "node-c"
    assert rows["node-c"]["sent_bytes"] == sum(f.stat().st_size for f in bundle.rglob("*") if f.is_file())
    assert [test.test for test in result.results] == ["pp16", "tg8"]


def command_line(folder: Path, address: str, bundle: Path) -> list[str]:
    devices = "".join(
        f'[[devices]]\nname = "{name}"\nnode = "{name}"\nwork = "{folder / name / "work"}"\n'
        f'command = ["{sys.executable}", "{folder / name / "wrapper.py"}"]\n'
        f'environment = {{ PYTHONPATH = "{SOURCES}", EDGELLM_BENCH_CEILINGS = "false", EDGELLM_BENCH_THREADS = "1" }}\n'
        for name in NODES
    )
    (folder / "lab.toml").write_text(f'ray_address = "{address}"\n{devices}')
    (folder / "suite.toml").write_text(SUITE)
    return [
        sys.executable, "-m", "edgellm", "lab", "run", "--inventory", str(folder / "lab.toml"), "--recipe", str(bundle),
        "--suite", str(folder / "suite.toml"), "--on", "ray", "--results", str(folder / "results"), "--json",
    ]  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCES}


def awaited(gate: Path) -> int:
    """The process that waits at the gate."""
    for _ in range(1200):
        if text := gate.read_text():
            return int(text)
        time.sleep(0.05)
    raise AssertionError("no bench began")
