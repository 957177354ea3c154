"""All devices of a lab at the same time, on each one bench after the other; what one device does stops no other."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from edgellm import __version__
from edgellm.errors import DeviceFailed, EdgellmError
from edgellm.lab.link import Connect, Link, Watcher
from edgellm.lab.parcel import Parcel
from edgellm.lab.results import LOG, entry_digest, finished, read_result, save_result
from edgellm.records.lab import LabDevice, LabKey, LabRow, LabRun, Suite, SuiteEntry
from edgellm.store.lock import locked

NO_SUCH_COMMAND = 127
LOCK = ".lab.lock"


@dataclass(frozen=True)
class Job:
    """What is run on every device, and where the results go: a folder a device below `results`."""

    parcel: Parcel
    suite: Suite
    results: Path
    again: bool = False  # also what has results

    def pending(self, device: LabDevice) -> list[SuiteEntry]:
        had = set() if self.again else finished(self.results / device.name)
        return [entry for entry in self.suite.entries if (self.parcel.digest, entry_digest(entry)) not in had]


@dataclass
class Tally:
    """What has come of a device so far; whatever stops it, this stays."""

    results: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # benches that ended badly, while the device goes on
    sent_bytes: int = 0


async def run_devices(devices: Sequence[LabDevice], job: Job, connect: Connect, watcher: Watcher) -> LabRun:
    """Run what is pending. Gives a row a device, in their order; raises BadInput for a parcel that is damaged here."""
    if any(job.pending(device) for device in devices):
        with watcher.work("check the bundle"):
            await asyncio.to_thread(job.parcel.check)
    rows = await asyncio.gather(*(run_device(device, job, connect, watcher) for device in devices))
    return LabRun(bundle=job.parcel.digest, suite=job.suite.name, devices=tuple(rows))


async def run_device(device: LabDevice, job: Job, connect: Connect, watcher: Watcher) -> LabRow:
    pending, tally, why = job.pending(device), Tally(), ""
    if pending:
        folder = job.results / device.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / LOCK, f"the device {device.name}"), open(folder / LOG, "ab") as log:
                why = await one_after_the_other(device, pending, job, connect, watcher, tally, log)
        except (EdgellmError, OSError) as error:
            why = said(error)
        done, failed = len(tally.results), len(pending) - len(tally.results)
        watcher.note(f"{device.name}: {done} done, {failed} failed{f': {why}' if why else ''}")
    return LabRow(
        name=device.name, done=len(tally.results), failed=len(pending) - len(tally.results),
        skipped=len(job.suite.entries) - len(pending), sent_bytes=tally.sent_bytes, results=tuple(tally.results),
        why=why, notes=tuple(tally.notes),
    )  # fmt: skip


def said(error: EdgellmError | OSError) -> str:
    if isinstance(error, EdgellmError):
        return str(error)
    return f"{error.strerror or error} ({error.filename}); check the path, its rights and the disk"


async def one_after_the_other(
    device: LabDevice, pending: Sequence[SuiteEntry], job: Job, connect: Connect, watcher: Watcher, tally: Tally,
    log: BinaryIO,
) -> str:  # fmt: skip
    """Everything on one device, within its time. Gives why something failed, or nothing."""
    try:
        async with asyncio.timeout(device.timeout_s), connect(device) as link:
            await check_version(link, device, log)
            with watcher.work(f"push to {device.name}") as report:
                pushed = await link.push(job.parcel, report)
            tally.sent_bytes = pushed.sent_bytes
            for entry in pending:
                with watcher.work(f"{device.name}: {entry.name}"):
                    await run_entry(link, device, entry, pushed.path, job, tally, log)
    except TimeoutError:
        return f"it was not done within its {device.timeout_s:g} s; give it more with `timeout_s` of the inventory"
    except (EdgellmError, OSError) as error:
        return said(error)
    except Exception as error:  # of one device; the others have no part in it
        log.write(traceback.format_exc().encode())
        return f"an error that edgellm did not expect ({type(error).__name__}: {error}); {LOG} of its folder has more"
    return "; ".join(tally.refusals)


async def check_version(link: Link, device: LabDevice, log: BinaryIO) -> None:
    """Raises DeviceFailed unless the device has this very edgellm: figures of two versions are not comparable."""
    command = " ".join(device.words)
    ended = await link.run([*device.words, "--version"], log)
    said = ended.out.decode("utf-8", "replace").split()
    if ended.code == NO_SUCH_COMMAND:
        raise DeviceFailed(f"there is no `{command}` on it; install edgellm {__version__} there, or mend `command`")
    if ended.code or said[:2] != ["edgellm,", "version"]:
        raise DeviceFailed(f"`{command} --version` failed there ({ended.tail}); mend `command` of the inventory")
    if said[2:] != [__version__]:
        raise DeviceFailed(f"it has edgellm {' '.join(said[2:])} where this is {__version__}; install the same on both")


async def run_entry(
    link: Link, device: LabDevice, entry: SuiteEntry, path: str, job: Job, tally: Tally, log: BinaryIO
) -> None:
    """One bench, and its result in a file. One that ends badly is noted, since the next may do: a smaller batch say."""
    log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {entry.name} of {job.suite.name}\n".encode())
    log.flush()
    ended = await link.run([*device.words, "bench", path, *entry.options, "--json"], log)
    if ended.code:
        tally.refusals.append(f"{entry.name} ended with {ended.code} ({ended.tail})")
        return
    key = LabKey(device=device.name, bundle=job.parcel.digest, entry=entry_digest(entry), suite=job.suite.name)
    result = read_result(ended.out, key)
    tally.results.append(str(save_result(result, job.results / device.name, entry)))
    if not result.valid:
        tally.notes.append(f"{entry.name} is not valid: {'; '.join(result.reasons)}; --again measures it anew")
