"""A parcel to a device over SFTP: only what is not there yet, each file checked there before it gets its name.

A file is written beside its place as `.aside-DIGEST`, its SHA-256 is computed on the device, and only then is it
renamed. The manifest is the last, so a folder with a manifest is whole, on the device as here.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgellm.errors import DeviceFailed
from edgellm.lab.link import Pushed, Report, bundle_folder
from edgellm.lab.parcel import Parcel
from edgellm.records.lab import LabDevice
from edgellm.records.manifest import FileEntry
from edgellm.store.atomic import ASIDE

if TYPE_CHECKING:
    import asyncssh

ROOM_BYTES = 64 << 20  # that a disk keeps beside what is sent
SUMMERS = (["sha256sum", "--"], ["shasum", "-a", "256", "--"])  # GNU and BusyBox; macOS
NO_SUCH_COMMAND = 127


async def push_files(
    connection: asyncssh.SSHClientConnection, device: LabDevice, parcel: Parcel, on_progress: Report | None
) -> Pushed:
    """Raises DeviceFailed where the device has no room, does not let us write, or has something else than was sent."""
    import asyncssh

    try:
        async with connection.start_sftp_client() as sftp:
            await sftp.makedirs(device.work, exist_ok=True)
            folder = PurePosixPath(str(await sftp.realpath(device.work))) / bundle_folder(parcel)
            await sftp.makedirs(str(folder), exist_ok=True)
            missing = await differing(connection, sftp, folder, parcel)
            await need_room(sftp, folder, missing)
            total, done = sum(entry.bytes for entry in missing), 0
            for entry in missing:
                report = None if on_progress is None else shifted(on_progress, done, total)
                await send(connection, sftp, parcel, entry, folder, report)
                done += entry.bytes
    except asyncssh.SFTPError as error:
        raise DeviceFailed(f"its folder {device.work} cannot be written ({error.reason}); mend `work`") from None
    return Pushed(str(folder / parcel.target) if parcel.target else str(folder), total)


def shifted(on_progress: Report, before: int, total: int) -> Report:
    return lambda done, _of_file: on_progress(before + done, total)


async def differing(
    connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, folder: PurePosixPath, parcel: Parcel
) -> list[FileEntry]:
    """The files of a parcel that the device lacks, or has otherwise; by size first, then by digest."""
    sized = []
    for entry in parcel.files:
        path = str(folder / entry.path)
        if await sftp.isfile(path) and await sftp.getsize(path) == entry.bytes:
            sized.append(entry)
    digests = await sha256_there(connection, [str(folder / entry.path) for entry in sized])
    same = {entry.path for entry, found in zip(sized, digests, strict=True) if found == entry.sha256}
    return [entry for entry in parcel.files if entry.path not in same]


async def send(
    connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, parcel: Parcel, entry: FileEntry,
    folder: PurePosixPath, report: Report | None,
) -> None:  # fmt: skip
    place = folder / entry.path
    aside = place.with_name(f"{ASIDE}{entry.sha256.removeprefix('sha256:')}")
    await sftp.makedirs(str(place.parent), exist_ok=True)
    handler = None if report is None else (lambda _from, _to, done, total: report(done, total))
    await sftp.put(str(parcel.folder / entry.path), str(aside), progress_handler=handler)
    if await sha256_there(connection, [str(aside)]) != [entry.sha256]:
        await sftp.remove(str(aside))
        raise DeviceFailed(f"{entry.path} arrived damaged; check its disk and the network, then run the same again")
    await sftp.posix_rename(str(aside), str(place))


async def sha256_there(connection: asyncssh.SSHClientConnection, paths: Sequence[str]) -> list[str]:
    """Digests that the device itself computes from what its disk holds, one a path, in their order."""
    if not paths:
        return []
    for summer in SUMMERS:
        done = await connection.run(shlex.join([*summer, *paths]))
        if done.exit_status == 0:
            found = [f"sha256:{line.partition(' ')[0]}" for line in str(done.stdout).splitlines()]
            if len(found) == len(paths):
                return found
        if done.exit_status != NO_SUCH_COMMAND:
            break
    raise DeviceFailed("what was sent cannot be checked there; see that sha256sum works on it and finds its own files")


async def need_room(sftp: asyncssh.SFTPClient, folder: PurePosixPath, missing: Sequence[FileEntry]) -> None:
    import asyncssh

    wanted = sum(entry.bytes for entry in missing) + ROOM_BYTES if missing else 0
    with suppress(asyncssh.SFTPOpUnsupported):  # not every server tells
        disk = await sftp.statvfs(str(folder))
        free = (disk.bavail or 0) * (disk.frsize or 0)
        if free < wanted:
            raise DeviceFailed(
                f"it has {free / 1e9:.2f} GB free and needs {wanted / 1e9:.2f} GB; free some space there"
            )
