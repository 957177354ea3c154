"""Which node of a cluster a device of the inventory means."""

from __future__ import annotations

from typing import Any

import pytest

from edgellm.errors import DeviceFailed
from edgellm.lab.ray_cluster import node_of
from edgellm.records.lab import LabDevice


def node(name: str, alive: bool = True, **labels: str) -> dict[str, Any]:
    return {
        "NodeName": name, "NodeID": f"id-{name}", "NodeManagerAddress": "10.0.0.1", "Alive": alive, "Labels": labels,
    }  # fmt: skip


NODES = [node("a", board="thor"), node("b", board="orin"), node("b2", board="orin"), node("gone", alive=False)]


@pytest.mark.parametrize("wanted", [{"node": "b"}, {"node": "id-b"}, {"node": "b", "label": {"board": "orin"}}])
def test_a_node_is_found_by_name_id_and_label(wanted: dict[str, Any]) -> None:
    assert node_of(LabDevice(name="x", **wanted), NODES)["NodeName"] == "b"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "give it `node` or `label`"),
        ({"node": "gone"}, "no live Ray node is gone (there are a, b, b2)"),
        ({"node": "b", "label": {"board": "thor"}}, "no live Ray node is b"),
        ({"label": {"board": "orin"}}, "fits 2 Ray nodes (b, b2)"),
        ({"node": "10.0.0.1"}, "fits 3 Ray nodes (a, b, b2)"),
    ],
)
def test_a_node_that_is_none_or_several_is_told(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(DeviceFailed) as error:
        node_of(LabDevice(name="x", **wanted), NODES)
    assert said in str(error.value)
