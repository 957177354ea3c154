"""What may be reached when the user has said no to the network."""

from __future__ import annotations

import pytest

from edgellm.errors import NetworkNeeded
from edgellm.store.network import is_here, need_network


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGELLM_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1", "[::1]"])
def test_this_machine_may_always_be_reached(host: str) -> None:
    need_network(host, "the device desk", offline=True)


@pytest.mark.parametrize("host", ["192.0.2.1", "device.example", "2001:db8::1", "0x7f.1"])
def test_another_machine_may_not_once_the_user_said_no(host: str) -> None:
    need_network(host, "the device desk")
    with pytest.raises(NetworkNeeded, match=r"the device desk is at .* and --offline forbids the network"):
        need_network(host, "the device desk", offline=True)


@pytest.mark.parametrize("name", ["EDGELLM_OFFLINE", "HF_HUB_OFFLINE"])
def test_the_environment_says_no_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(NetworkNeeded, match=name):
        need_network("192.0.2.1", "the device desk")
    monkeypatch.setenv(name, "0")
    need_network("192.0.2.1", "the device desk")


def test_an_address_of_an_interface_is_this_machine() -> None:
    from edgellm.store.network import own_addresses

    assert "127.0.0.1" in own_addresses()
    assert all(is_here(address) for address in own_addresses() if address.count(".") == 3)
