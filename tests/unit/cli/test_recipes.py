"""`edgellm recipes` lists recipes, classes of machines that their variants are cut for, and named machines."""

from __future__ import annotations

import json

import pytest

from edgellm.cli.main import cli
from edgellm.errors import UsageError
from edgellm.store.catalogue import device_names, load_device


def test_the_classes_of_machines_are_listed_with_their_memory(capsys: pytest.CaptureFixture[str]) -> None:
    cli(["recipes", "--devices"], standalone_mode=False)
    printed = capsys.readouterr().out
    cli(["recipes", "--devices", "--json"], standalone_mode=False)
    listed = json.loads(capsys.readouterr().out)
    assert [device["name"] for device in listed] == device_names()
    for device in listed:
        assert device["usable_bytes"] == load_device(device["name"]).usable_bytes
        assert any(
            line.startswith(device["name"]) and f"{device['memory_bytes'] >> 30} GiB" in line
            for line in printed.splitlines()
        )


def test_a_named_machine_is_listed_with_its_speed_and_the_sources(capsys: pytest.CaptureFixture[str]) -> None:
    cli(["recipes", "--devices", "--json"], standalone_mode=False)
    listed = {device["name"]: device for device in json.loads(capsys.readouterr().out)}
    assert listed["rtx-4090"]["memory_bandwidth_bytes_per_s"] == 1.008e12
    assert "Ada" in listed["rtx-4090"]["sources"]["peak_flops_per_s"]
    assert "sources" not in listed["gpu-24gb"]


def test_machines_are_not_checked() -> None:
    with pytest.raises(UsageError, match="give one of them"):
        cli(["recipes", "--devices", "--check"], standalone_mode=False)
