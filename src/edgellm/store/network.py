"""Whether the network may be used: this machine always, others unless the user has said no."""

from __future__ import annotations

import ipaddress
import os

from edgellm.errors import NetworkNeeded


def need_network(host: str, what: str, offline: bool = False) -> None:
    """Raise NetworkNeeded if `host` is another machine and `offline` or the environment forbids the network.

    `what` begins the sentence: who would be talked to.
    """
    switches = {
        "--offline": "1" if offline else "",
        "EDGELLM_OFFLINE": os.environ.get("EDGELLM_OFFLINE", ""),
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", ""),
    }
    said_no = next((name for name, value in switches.items() if value.lower() in ("1", "true", "yes", "on")), None)
    if said_no is not None and not is_here(host):
        raise NetworkNeeded(f"{what} is at {host} and {said_no} forbids the network; run this again without it")


def is_here(host: str) -> bool:
    """Whether a name or an address is this machine's: its loopback, or an address of one of its interfaces.

    A name is never looked up, for that may ask the network; so all but `localhost` are other machines.
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or str(address) in own_addresses()


def own_addresses() -> set[str]:
    import psutil

    found = (entry.address for entries in psutil.net_if_addrs().values() for entry in entries)
    return {address.partition("%")[0] for address in found}
