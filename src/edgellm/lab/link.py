"""What ssh and Ray have in common: a device that a bundle is pushed to and that commands are run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from edgellm.lab.parcel import Parcel
from edgellm.records.lab import LabDevice

Report = Callable[[int, int], None]  # bytes sent, bytes in all
MOST_OUTPUT_BYTES = 64 << 20  # of a command; a result is some kB, with raw values some MB
TAIL_BYTES = 4096

# The command dies with its caller: a bench that outlived a lost connection would disturb the next one. So a second
# process waits for the end of stdin, which comes when the caller has gone, however it went.
WATCHED = """exec 3<&0
"$@" </dev/null 3<&- & child=$!
{ cat <&3; kill "$child"; sleep 5; kill -9 "$child"; } >/dev/null 2>&1 & watcher=$!
exec 3<&-
wait "$child"; code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"""


@dataclass(frozen=True)
class Ended:
    """A command that has run to its end."""

    code: int
    out: bytes
    tail: str  # the last of what it wrote to stderr


@dataclass(frozen=True)
class Pushed:
    path: str  # of the target, on the device
    sent_bytes: int


class Link(Protocol):
    """A device within reach. Every method raises DeviceFailed, in one sentence, where the device is lost."""

    async def run(self, words: Sequence[str], log: BinaryIO) -> Ended:
        """Run a command to its end, with its stderr in `log`; cancelled, it ends the command too."""
        ...

    async def push(self, parcel: Parcel, on_progress: Report | None) -> Pushed:
        """Bring what the device does not have yet. Raises DeviceFailed, too, if something arrived damaged."""
        ...


Connect = Callable[[LabDevice], AbstractAsyncContextManager[Link]]


class Watcher(Protocol):
    """Who is told what goes on."""

    def work(self, label: str) -> AbstractContextManager[Report]: ...

    def note(self, text: str) -> None: ...


def watched(device: LabDevice, words: Sequence[str]) -> list[str]:
    """The words that run `words` with the device's environment, for no longer than their stdin is open."""
    settings = [f"{name}={value}" for name, value in device.environment.items()]
    return ["sh", "-c", WATCHED, "edgellm-lab", "env", *settings, *words]


def bundle_folder(parcel: Parcel) -> str:
    """Where a parcel stands, below the device's work folder."""
    return f"bundles/{parcel.hex}"


def last_words(stderr: bytes) -> str:
    """The last line of what a command said, which for edgellm is what went wrong."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
    return next((line.removeprefix("edgellm: ") for line in reversed(lines) if line), "it said nothing")
