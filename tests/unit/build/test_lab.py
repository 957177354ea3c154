"""What `edgellm lab run` refuses before anything is built or sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from edgellm.build.lab import LabOrder, run_lab
from edgellm.errors import DeviceFailed, EdgellmError, MissingExtra, NetworkNeeded, UsageError
from edgellm.store.work import WorkFolder
from ssh_devices import free_port


class NoWork:
    def work(self, label: str) -> Any:
        raise AssertionError(f"work began: {label}")

    def note(self, text: str) -> None:
        pass


def refusal(folder: Path, inventory: str, **more: Any) -> EdgellmError:
    (folder / "lab.toml").write_text(inventory, encoding="utf-8")
    order = LabOrder(folder / "lab.toml", "tiny-ja", "engine-short", folder / "results", **more)
    with pytest.raises(EdgellmError) as error:
        run_lab(order, WorkFolder(folder / "work"), NoWork())
    assert not (folder / "results").exists()
    return error.value


def test_a_device_elsewhere_is_not_reached_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    error = refusal(tmp_path, '[[devices]]\nname = "desk"\nhost = "192.0.2.1"\n', offline=True)
    assert isinstance(error, NetworkNeeded)
    assert error.exit_code == 4
    assert "the device desk is at 192.0.2.1" in str(error)


def test_a_device_without_an_address_is_told(tmp_path: Path) -> None:
    error = refusal(tmp_path, '[[devices]]\nname = "desk"\n')
    assert isinstance(error, UsageError)
    assert "the device desk has no `host`" in str(error)


@pytest.mark.parametrize(("on", "library"), [("ssh", "asyncssh"), ("ray", "ray")])
def test_a_missing_library_is_told_with_its_extra(
    on: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    text = 'ray_address = "127.0.0.1:6379"\n[[devices]]\nname = "desk"\nhost = "127.0.0.1"\n'
    error = refusal(tmp_path, text, on=on)
    assert isinstance(error, MissingExtra)
    assert f"edgellm[{'lab' if on == 'ssh' else 'ray'}]" in str(error)


@pytest.mark.parametrize("address", ["", "cluster", "127.0.0.1:x"])
def test_a_cluster_without_an_address_is_told(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    error = refusal(tmp_path, '[[devices]]\nname = "desk"\nnode = "desk"\n', on="ray")
    assert isinstance(error, UsageError)
    assert "RAY_ADDRESS" in str(error)


def test_a_cluster_elsewhere_is_not_reached_offline(tmp_path: Path) -> None:
    error = refusal(tmp_path, 'ray_address = "192.0.2.1:6379"\n[[devices]]\nname = "desk"\n', on="ray", offline=True)
    assert isinstance(error, NetworkNeeded)


def test_a_cluster_that_is_down_is_told_at_once(tmp_path: Path) -> None:
    text = f'ray_address = "127.0.0.1:{free_port()}"\n[[devices]]\nname = "desk"\nnode = "desk"\n'
    error = refusal(tmp_path, text, on="ray")
    assert isinstance(error, DeviceFailed)
    assert "no Ray cluster answers" in str(error)
