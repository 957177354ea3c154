"""`edgellm lab run` over ssh, against ssh servers on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import edgellm
from edgellm import __version__
from edgellm.build.lab import LabOrder, run_lab
from edgellm.records.bench import EngineBench, EngineTest
from edgellm.records.lab import LabRun
from edgellm.records.statistics import Spread
from edgellm.store import digest
from edgellm.store.results import load
from edgellm.store.work import WorkFolder
from quick_build import make_quick_build
from ssh_devices import FlippingSftp, Keys, Server, StandIn, free_port, is_gone, make_keys, openssh, stand_in

SOURCES = str(Path(edgellm.__file__).parent.parent)
QUICKLY = {"PYTHONPATH": SOURCES, "EDGELLM_BENCH_CEILINGS": "false", "EDGELLM_BENCH_THREADS": "1"}
REAL = [sys.executable, "-m", "edgellm"]
SUITE = """
name = "quick"
[[entries]]
name = "one"
prompt_tokens = 16
decode_tokens = 8
repeat = 1
[[entries]]
name = "two"
prompt_tokens = 16
decode_tokens = 0
repeat = 1
"""


class Quiet:
    def work(self, label: str) -> Any:
        return nullcontext(lambda done, total: None)

    def note(self, text: str) -> None:
        pass


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return make_quick_build(folder / "quick").run(folder / "work", folder / "bundle").bundle


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path / "keys")


@pytest.fixture
def server(keys: Keys) -> Iterator[Server]:
    """A device that can be cut off."""
    with Server(keys, free_port()).running() as running:
        yield running


@pytest.fixture(params=["asyncssh", "openssh"])
def port(request: pytest.FixtureRequest, keys: Keys) -> Iterator[int]:
    """A device, of either kind of server."""
    found = free_port()
    with openssh(keys, found) if request.param == "openssh" else Server(keys, found).running():
        yield found


@pytest.fixture
def program(tmp_path: Path) -> StandIn:
    return stand_in(tmp_path / "program", a_result().model_dump_json(), __version__)


def a_result() -> EngineBench:
    rate = Spread(median=10.0, low=9.0, high=11.0)
    return EngineBench(
        target="m", results=[EngineTest(test="pp16", tokens_per_s=rate, characters_per_s=None)],
        machine={"cpu": "a processor"}, conditions={}, valid=True, reasons=[], created="2026-11-22T00:00:00+00:00",
    )  # fmt: skip


class Lab:
    """An inventory, a suite and a folder of results below `folder`."""

    def __init__(self, folder: Path, bundle: Path, suite: str = SUITE) -> None:
        self.folder, self.bundle = folder, bundle
        self.devices: list[str] = []
        (folder / "suite.toml").write_text(suite, encoding="utf-8")

    def add(self, name: str, port: int, keys: Keys, command: list[str], **more: Any) -> None:
        facts = {
            "name": name, "host": "127.0.0.1", "port": port, "key": str(keys.user), "host_key": keys.host_key,
            "command": command, "work": str(self.folder / "devices" / name),
        } | more  # fmt: skip
        tables = "".join(
            f"[devices.{key}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in value.items())
            for key, value in facts.items()
            if isinstance(value, dict)
        )
        lines = "".join(f"{k} = {json.dumps(v)}\n" for k, v in facts.items() if not isinstance(v, dict))
        self.devices.append(f"[[devices]]\n{lines}{tables}")

    @property
    def inventory(self) -> Path:
        path = self.folder / "lab.toml"
        path.write_text(f'known_hosts = "known_hosts"\n{"".join(self.devices)}', encoding="utf-8")
        return path

    def run(self, **more: Any) -> LabRun:
        order = LabOrder(
            self.inventory, str(self.bundle), str(self.folder / "suite.toml"), self.folder / "results", **more
        )
        return run_lab(order, WorkFolder(self.folder / "work"), Quiet())

    def words(self) -> list[str]:
        return [
            *REAL, "lab", "run", "--inventory", str(self.inventory), "--recipe", str(self.bundle), "--suite",
            str(self.folder / "suite.toml"), "--results", str(self.folder / "results"), "--json",
        ]  # fmt: skip

    def there(self, name: str) -> Path:
        """The bundle's folder on a device."""
        return self.folder / "devices" / name / "bundles" / digest.of_file(self.bundle / "manifest.json")[7:]


@pytest.fixture
def lab(tmp_path: Path, bundle: Path) -> Lab:
    return Lab(tmp_path, bundle)


def test_a_real_bench_runs_on_the_device_and_its_result_comes_back(lab: Lab, port: int, keys: Keys) -> None:
    (lab.folder / "suite.toml").write_text(SUITE.partition('[[entries]]\nname = "two"')[0])
    lab.add("desk", port, keys, REAL, environment=QUICKLY)
    done = subprocess.run(lab.words(), capture_output=True, text=True, check=False, env=clean_environment())
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["devices"]
    assert (row["done"], row["failed"], row["skipped"], row["why"]) == (1, 0, 0, "")
    assert row["sent_bytes"] == sum(f.stat().st_size for f in lab.bundle.rglob("*") if f.is_file())
    result = load(Path(row["results"][0]))
    assert isinstance(result, EngineBench)
    assert [test.test for test in result.results] == ["pp16", "tg8"]
    assert result.lab is not None
    assert result.lab.bundle == digest.of_file(lab.bundle / "manifest.json")
    assert same_files(lab.there("desk"), lab.bundle)


def clean_environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": SOURCES, "COLUMNS": "200"}


def same_files(one: Path, other: Path) -> bool:
    def contents(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    return contents(one) == contents(other)


def test_a_second_push_moves_nothing(lab: Lab, port: int, keys: Keys, program: StandIn) -> None:
    lab.add("desk", port, keys, program.command)
    assert lab.run().devices[0].sent_bytes > 0
    before = {p: p.stat().st_mtime_ns for p in lab.there("desk").rglob("*")}
    (row,) = lab.run(again=True).devices
    assert (row.done, row.sent_bytes) == (2, 0)
    assert {p: p.stat().st_mtime_ns for p in lab.there("desk").rglob("*")} == before


def test_a_file_that_rotted_on_the_device_is_sent_again_alone(
    lab: Lab, server: Server, keys: Keys, program: StandIn
) -> None:
    lab.add("desk", server.port, keys, program.command)
    lab.run()
    rotten = lab.there("desk") / "tokenizer" / "tokenizer.model"
    data = rotten.read_bytes()
    rotten.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    (row,) = lab.run(again=True).devices
    assert row.sent_bytes == len(data)
    assert same_files(lab.there("desk"), lab.bundle)


def test_damage_on_the_way_is_found_and_nothing_bad_stays_there(lab: Lab, keys: Keys, program: StandIn) -> None:
    with Server(keys, free_port(), sftp=FlippingSftp).running() as server:
        lab.add("desk", server.port, keys, program.command)
        (row,) = lab.run().devices
    assert "arrived damaged" in row.why
    assert (row.done, row.failed) == (0, 2)
    assert not program.calls
    assert not [p for p in lab.there("desk").rglob("*") if p.is_file()]


def test_a_dead_host_stops_no_other_and_the_same_command_finishes_later(
    lab: Lab, server: Server, keys: Keys, program: StandIn
) -> None:
    dead = free_port()
    lab.add("dead", dead, keys, program.command)
    lab.add("desk", server.port, keys, program.command)
    done = subprocess.run(lab.words(), capture_output=True, text=True, check=False, env=clean_environment())
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("edgellm: dead did not finish; ")
    assert "run the same command again" in done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["devices"]}
    assert (rows["desk"]["done"], rows["desk"]["failed"]) == (2, 0)
    assert (rows["dead"]["done"], rows["dead"]["failed"]) == (0, 2)
    assert "cannot be reached" in rows["dead"]["why"]
    with Server(keys, dead).running():
        found = lab.run()
    assert [(row.name, row.done, row.skipped) for row in found.devices] == [("dead", 2, 0), ("desk", 0, 2)]
    assert len(program.calls) == 4


def test_a_connection_that_breaks_keeps_what_was_done_and_ends_the_bench_there(
    lab: Lab, server: Server, keys: Keys, program: StandIn
) -> None:
    lab.add("desk", server.port, keys, program.command)
    (program.folder / "dwell").touch()
    cutter = threading.Thread(target=cut_when_it_dwells, args=(server, program))
    cutter.start()
    (row,) = lab.run().devices
    cutter.join()
    assert "lost" in row.why
    assert (row.done, row.failed) == (0, 2)
    assert program.pid is not None
    assert is_gone(program.pid)


def cut_when_it_dwells(server: Server, program: StandIn) -> None:
    for _ in range(400):
        if program.pid is not None:
            break
        time.sleep(0.05)
    server.cut()


def test_a_slow_device_is_given_up_after_its_time_and_its_bench_ended(
    lab: Lab, server: Server, keys: Keys, program: StandIn
) -> None:
    lab.add("desk", server.port, keys, program.command, timeout_s=6)
    (program.folder / "dwell").touch()
    (row,) = lab.run().devices
    assert "not done within its 6 s" in row.why
    assert program.pid is not None
    assert is_gone(program.pid)


@pytest.mark.parametrize("pinned", [True, False], ids=["another key is pinned", "known_hosts does not know it"])
def test_an_unknown_host_key_is_refused(pinned: bool, lab: Lab, port: int, keys: Keys, program: StandIn) -> None:
    other = make_keys(lab.folder / "other")
    (lab.folder / "known_hosts").write_text(f"[127.0.0.1]:{free_port()} {keys.host_key}\n")
    lab.add("desk", port, keys, program.command, host_key=other.host_key if pinned else "")
    (row,) = lab.run().devices
    assert row.why.startswith("the host key of 127.0.0.1")
    assert f"ssh-keyscan -p {port} 127.0.0.1" in row.why
    assert not (lab.folder / "devices").exists()


def test_a_host_key_in_known_hosts_is_enough(lab: Lab, server: Server, keys: Keys, program: StandIn) -> None:
    (lab.folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {keys.host_key}\n")
    lab.add("desk", server.port, keys, program.command, host_key="")
    assert lab.run().devices[0].done == 2


def test_a_user_key_that_the_device_does_not_know_gives_one_sentence(
    lab: Lab, port: int, keys: Keys, program: StandIn
) -> None:
    other = make_keys(lab.folder / "other")
    lab.add("desk", port, keys, program.command, key=str(other.user), user="taro")
    assert "does not let us in as taro" in lab.run().devices[0].why


def test_a_device_without_edgellm_gives_one_sentence(lab: Lab, port: int, keys: Keys) -> None:
    lab.add("desk", port, keys, ["no-such-edgellm"])
    why = lab.run().devices[0].why
    assert why == f"there is no `no-such-edgellm` on it; install edgellm {__version__} there, or mend `command`"


def test_a_device_with_another_edgellm_is_not_measured(lab: Lab, server: Server, keys: Keys, program: StandIn) -> None:
    (program.folder / "version").write_text("0.0.1")
    lab.add("desk", server.port, keys, program.command)
    assert lab.run().devices[0].why.startswith(f"it has edgellm 0.0.1 where this is {__version__}")
    assert not program.calls


def test_a_bench_that_fails_is_told_and_the_next_still_runs(
    lab: Lab, server: Server, keys: Keys, program: StandIn
) -> None:
    (program.folder / "fails").write_text("8")  # --decode-tokens of the first entry
    lab.add("desk", server.port, keys, program.command)
    (row,) = lab.run().devices
    assert row.why == "one ended with 1 (there is no room for that many sequences)"
    assert (row.done, row.failed) == (1, 1)
    assert "there is no room" in (lab.folder / "results" / "desk" / "lab.log").read_text()


def test_nothing_in_an_inventory_reaches_a_shell(lab: Lab, port: int, keys: Keys, program: StandIn) -> None:
    mark = lab.folder / "marked"
    nasty = f"a 'b\" $(touch {mark}) `touch {mark}`; touch {mark} &"
    work = lab.folder / "a 'folder\" with $(spaces) ; and ; quotes"
    lab.add("desk", port, keys, program.command, work=str(work), environment={"NASTY": nasty})
    (row,) = lab.run().devices
    assert (row.done, row.why) == (2, "")
    assert str(work / "bundles") in program.calls[0]
    assert not mark.exists()
