"""Devices as nodes of a Ray cluster that is there already: tasks pinned to one node each, never tried twice."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from edgellm.errors import DeviceFailed, MissingExtra, UsageError
from edgellm.lab import node_tasks
from edgellm.lab.inventory import Lab
from edgellm.lab.link import (
    MOST_OUTPUT_BYTES,
    TAIL_BYTES,
    Connect,
    Ended,
    Pushed,
    Report,
    bundle_folder,
    last_words,
    watched,
)  # fmt: skip
from edgellm.lab.parcel import Parcel
from edgellm.records.lab import LabDevice
from edgellm.records.manifest import FileEntry
from edgellm.store.atomic import ASIDE
from edgellm.store.network import need_network

BLOCK_BYTES = 8 << 20  # at once in the object store, which may be small
REACH_S = 5.0
LOST = "its Ray node died or was lost while it worked; bring it back, and see whether it had memory enough"

Node = dict[str, Any]  # as `ray.nodes()` describes it


def check_reachable(lab: Lab, offline: bool = False) -> str:
    """The address of the cluster, where somebody answers; Ray itself would try for a minute.

    Raises MissingExtra where Ray is not installed, UsageError without an address, NetworkNeeded, DeviceFailed.
    """
    address = lab.inventory.ray_address or os.environ.get("RAY_ADDRESS", "")
    host, port = split_address(address)
    need_network(host, "the Ray cluster", offline)
    quiet_ray()
    try:
        socket.create_connection((host, port), REACH_S).close()
    except OSError as error:
        reason = error.strerror or error or "no answer"
        raise DeviceFailed(
            f"no Ray cluster answers at {address} ({reason}); start it with `ray start --head`"
        ) from None
    return address


@contextmanager
def joined(lab: Lab, offline: bool = False) -> Iterator[Connect]:
    """Belong to the cluster for the time of the block. Gives what connects to a device; raises as `check_reachable`."""
    address, ray = check_reachable(lab, offline), quiet_ray()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=True)
    except Exception as error:  # Ray's own, and those of four libraries below it
        raise DeviceFailed(f"the Ray cluster at {address} does not take us in ({error}); see its logs") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # where Ray's threads print what dies
        try:
            ray.cloudpickle.register_pickle_by_value(node_tasks)
            yield partial(connected, ray, offline)
        finally:
            ray.shutdown()


def quiet_ray() -> Any:
    """Ray, which tells nobody that it is used, and prints nothing beside our own lines."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    try:
        import ray
    except ImportError:
        raise MissingExtra("a Ray cluster is reached through Ray; run: pip install 'edgellm[ray]'") from None
    return ray


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(
            f'the Ray cluster\'s address is {address!r}; write `ray_address = "HOST:PORT"` into the inventory, or set '
            "RAY_ADDRESS"
        )
    return host, int(port)


def node_of(device: LabDevice, nodes: Sequence[Node]) -> Node:
    """The live node that a device of the inventory means; raises DeviceFailed unless it is one."""
    if not device.node and not device.label:
        raise DeviceFailed("the inventory does not say which Ray node it is; give it `node` or `label`")
    alive = [node for node in nodes if node["Alive"]]
    found = [node for node in alive if is_meant(device, node)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(str(node["NodeName"]) for node in (found or alive)))
    meant = device.node or device.label
    if found:
        raise DeviceFailed(f"{meant} fits {len(found)} Ray nodes ({names}); give `node` the name or id of one")
    raise DeviceFailed(f"no live Ray node is {meant} (there are {names}); bring it back, or mend the inventory")


def is_meant(device: LabDevice, node: Node) -> bool:
    named = not device.node or device.node in (node["NodeName"], node["NodeID"], node["NodeManagerAddress"])
    return named and device.label.items() <= node.get("Labels", {}).items()


@asynccontextmanager
async def connected(ray: Any, offline: bool, device: LabDevice) -> AsyncIterator[RayLink]:
    node = node_of(device, ray.nodes())
    need_network(node["NodeManagerAddress"], f"the Ray node {node['NodeName']}", offline)
    try:
        yield RayLink(ray, device, node)
    except ray.exceptions.RayTaskError as error:  # our own function failed there
        cause = error.cause
        raise DeviceFailed(
            f"it failed there ({type(cause).__name__}: {cause}); mend what it says, say `work`"
        ) from None
    except ray.exceptions.RayError:
        raise DeviceFailed(LOST) from None


class RayLink:
    """One node."""

    def __init__(self, ray: Any, device: LabDevice, node: Node) -> None:
        self._ray, self._device, self._node = ray, device, node

    async def run(self, words: Sequence[str], log: BinaryIO) -> Ended:
        resources = self._device.resources
        if resources is None:
            resources = {name: self._node["Resources"].get(name, 0.0) for name in ("CPU", "GPU")}
        command = watched(self._device, words)
        code, out, err = await self._task(node_tasks.run_command, resources, command, MOST_OUTPUT_BYTES)
        log.write(err)
        return Ended(code, out, last_words(err[-TAIL_BYTES:]))

    async def push(self, parcel: Parcel, on_progress: Report | None) -> Pushed:
        """By path where the node sees the same files under the same path; else in blocks, through the object store."""
        files = {entry.path: entry.sha256 for entry in parcel.files}
        below, here = bundle_folder(parcel), str(parcel.folder.absolute())
        found, names = await self._task(node_tasks.look, {}, self._device.work, below, files, here)
        folder, missing = Path(found), [entry for entry in parcel.files if entry.path in names]
        total, done = sum(entry.bytes for entry in missing), 0
        for entry in missing:
            async for sent in self._send(parcel.folder / entry.path, folder / entry.path, entry):
                if on_progress is not None:
                    on_progress(done + sent, total)
            done += entry.bytes
        return Pushed(str(folder / parcel.target) if parcel.target else str(folder), total)

    async def _send(self, source: Path, place: Path, entry: FileEntry) -> AsyncIterator[int]:
        """Gives the bytes sent so far."""
        aside = str(place.with_name(f"{ASIDE}{entry.sha256.removeprefix('sha256:')}"))
        with open(source, "rb") as f:
            offset = 0
            while (block := f.read(BLOCK_BYTES)) or not offset:
                await self._task(node_tasks.write_block, {}, aside, offset, self._ray.put(block))
                offset += len(block)
                yield offset
                if not block:
                    break
        if not await self._task(node_tasks.finish_file, {}, aside, str(place), entry.sha256):
            raise DeviceFailed(f"{entry.path} arrived damaged; check its disk and memory, then run the same again")

    async def _task(self, function: Callable[..., Any], resources: dict[str, float], *arguments: Any) -> Any:
        """Run a function on this node; cancelled, it ends there too."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        others = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU")}
        task = self._ray.remote(function).options(
            num_cpus=resources.get("CPU", 0), num_gpus=resources.get("GPU", 0), resources=others, max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(self._node["NodeID"], soft=False),
        )  # fmt: skip
        reference = task.remote(*arguments)
        try:
            return await asyncio.wrap_future(reference.future())
        except asyncio.CancelledError:
            self._ray.cancel(reference, force=True)
            raise
