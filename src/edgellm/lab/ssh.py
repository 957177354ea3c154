"""Devices over ssh: connect with strict host keys, run commands, push files."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from edgellm.errors import DeviceFailed, MissingExtra
from edgellm.lab.inventory import Lab
from edgellm.lab.link import MOST_OUTPUT_BYTES, TAIL_BYTES, Connect, Ended, Pushed, Report, last_words, watched
from edgellm.lab.parcel import Parcel
from edgellm.lab.ssh_push import push_files
from edgellm.records.lab import LabDevice

if TYPE_CHECKING:
    import asyncssh

CONNECT_S, LOGIN_S = 15.0, 30.0
KEEPALIVE_S, KEEPALIVES = 10.0, 3  # a device that does not answer so many in a row is lost
CLOSING_S = 3.0
BLOCK_BYTES = 1 << 16


def connector(lab: Lab) -> Connect:
    """What connects to the devices of an inventory; raises MissingExtra where asyncssh is not installed."""
    try:
        import asyncssh  # noqa: F401
    except ImportError:
        raise MissingExtra("devices are reached through asyncssh; run: pip install 'edgellm[lab]'") from None
    return partial(connected, lab)


@asynccontextmanager
async def connected(lab: Lab, device: LabDevice) -> AsyncIterator[SshLink]:
    """A device for the time of the block; raises DeviceFailed with what is to be done about it."""
    import asyncssh

    where = f"{device.host} port {device.port}"
    try:
        connection = await asyncssh.connect(device.host, device.port, **settings(lab, device))
    except asyncssh.HostKeyNotVerifiable:
        raise DeviceFailed(unknown_host(lab, device)) from None
    except asyncssh.PermissionDenied:
        user = f" as {device.user}" if device.user else ""
        raise DeviceFailed(f"{where} does not let us in{user}; check `user` and `key` of the inventory") from None
    except asyncssh.Error as error:
        raise DeviceFailed(f"no ssh connection to {where} ({error.reason or error}); check its ssh server") from None
    except OSError as error:  # TimeoutError is one
        number = error.errno or 0  # below zero it is the resolver's, which has words of its own
        reason = os.strerror(number) if number > 0 else error.strerror or str(error) or "no answer"
        raise DeviceFailed(f"{where} cannot be reached ({reason}); check that it is on and has this address") from None
    try:
        yield SshLink(connection, device)
    except (asyncssh.Error, ConnectionError) as error:
        raise DeviceFailed(f"the connection to {where} was lost ({reason_of(error)}); see whether it is on") from None
    finally:
        connection.close()
        with suppress(Exception):
            async with asyncio.timeout(CLOSING_S):
                await connection.wait_closed()
        connection.abort()


def reason_of(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error or type(error).__name__)


def unknown_host(lab: Lab, device: LabDevice) -> str:
    place = "`host_key` of the inventory" if device.host_key else str(lab.place(lab.inventory.known_hosts))
    return (
        f"the host key of {device.host} port {device.port} is not the one in {place}, or none is there; compare what "
        f"`ssh-keyscan -p {device.port} {device.host}` prints with the key on the device itself, and put it into "
        "`host_key` of the inventory"
    )


def settings(lab: Lab, device: LabDevice) -> dict[str, Any]:
    """Options of a connection: keys only, no passwords, no configuration of the user's, no forwarding, and a host key
    that is known before. Raises DeviceFailed for a key or a list of hosts that cannot be read."""
    import asyncssh

    found: dict[str, Any] = {
        "config": None, "preferred_auth": "publickey", "password": None, "gss_host": None, "agent_forwarding": False,
        "connect_timeout": CONNECT_S, "login_timeout": LOGIN_S, "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": KEEPALIVES,
    }  # fmt: skip
    if device.user:
        found["username"] = device.user
    if device.host_key:
        try:
            found["known_hosts"] = ([asyncssh.import_public_key(device.host_key)], [], [])
        except ValueError:
            raise DeviceFailed("its `host_key` in the inventory is no public key; write `ssh-ed25519 AAAA…`") from None
    elif (known := lab.place(lab.inventory.known_hosts)).is_file():
        try:
            found["known_hosts"] = asyncssh.read_known_hosts(str(known))
        except (ValueError, OSError) as error:
            raise DeviceFailed(f"{known} cannot be read as a list of host keys ({error}); mend it") from None
    else:
        raise DeviceFailed(unknown_host(lab, device))
    if device.key:
        path = lab.place(device.key)
        try:
            found["client_keys"] = [asyncssh.read_private_key(path)]
        except ValueError as error:  # its kinds of them: no key, or no passphrase for it
            reason = f"{path} cannot be used ({error}); with a passphrase, add it to the ssh agent and leave `key` out"
            raise DeviceFailed(reason) from None
        except OSError as error:
            raise DeviceFailed(
                f"the key {path} cannot be read ({error.strerror}); mend `key` of the inventory"
            ) from None
        found["agent_path"] = None
    return found


class SshLink:
    """One connection."""

    def __init__(self, connection: asyncssh.SSHClientConnection, device: LabDevice) -> None:
        self._connection, self._device = connection, device

    async def run(self, words: Sequence[str], log: BinaryIO) -> Ended:
        """As `Link.run`; every word is quoted, so that the shell there sees words and nothing else."""
        command = f"exec {shlex.join(watched(self._device, words))}"
        process = await self._connection.create_process(command, encoding=None)
        try:
            out, tail = await asyncio.gather(read_all(process.stdout), read_tail(process.stderr, log))
            await process.wait_closed()
        finally:
            process.close()  # which closes stdin there
        if process.exit_status is None:
            raise DeviceFailed("the connection was lost while it worked; see whether the device is on")
        code = process.exit_status if process.exit_status >= 0 else 255
        return Ended(code, out, last_words(tail))

    async def push(self, parcel: Parcel, on_progress: Report | None) -> Pushed:
        return await push_files(self._connection, self._device, parcel, on_progress)


async def read_all(stream: asyncssh.SSHReader[bytes]) -> bytes:
    parts, size = [], 0
    while block := await stream.read(BLOCK_BYTES):
        parts.append(block)
        size += len(block)
        if size > MOST_OUTPUT_BYTES:
            raise DeviceFailed(
                f"a command wrote more than {MOST_OUTPUT_BYTES >> 20} MiB; see what `command` calls there"
            )
    return b"".join(parts)


async def read_tail(stream: asyncssh.SSHReader[bytes], log: BinaryIO) -> bytes:
    """The last of a stream, which all goes into the log up to the same bound."""
    tail, size = b"", 0
    while block := await stream.read(BLOCK_BYTES):
        if size < MOST_OUTPUT_BYTES:
            log.write(block)
            log.flush()
        size += len(block)
        tail = (tail + block)[-TAIL_BYTES:]
    return tail
