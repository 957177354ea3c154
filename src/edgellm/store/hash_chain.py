"""A log of JSON lines in which each line vouches for all before it.

A line holds `previous`, the hash of the line before it ("" in the first), and `hash`, the SHA-256 of its own record
without `hash`, as canonical JSON: sorted keys, no spaces, UTF-8. Whoever changes, removes, adds or moves a line breaks
the chain there. Whoever may write the file can make the whole chain anew, and lines cut off at the end leave a chain
that is whole: both are seen only by somebody who kept a hash of before, the *head*.

What a crash or a full disk left of a last line stays there as it is. The next line names its bytes and their SHA-256
as `torn`, so that nothing else can be put between two lines.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgellm.errors import BadInput, Busy
from edgellm.store import digest

TAIL_BYTES = 1 << 16
NO_LINE = "it is no line of a chain, and no piece of one that the line after it names"


class ChainLog:
    """A chain that is being added to, by this process alone."""

    def __init__(self, path: Path) -> None:
        """Make the file, readable by its owner alone, or go on where it ends.

        Raises Busy if another process adds to it, BadInput if its last line is none of a chain, OSError.
        """
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"another process writes to {path}; end it, or give another file") from None
            self.head, self._torn = self._end()
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: Mapping[str, object]) -> str:
        """Add a line in one write and return its hash; it is with the system, and on the disk after `sync`.

        Raises OSError; a line of which only a part could be written is then `torn`, and nothing may follow it.
        """
        links: dict[str, object] = {"previous": self.head}
        start = b""
        if self._torn:
            links["torn"] = torn_words(self._torn)
            start = b"\n"  # ends the piece
        body = dict(record) | links
        head = digest.of_value(body)
        line = start + canonical(body | {"hash": head}) + b"\n"
        written = os.write(self._file, line)
        if written < len(line):
            raise OSError(f"only {written} of {len(line)} bytes of a line could be written")
        self.head, self._torn = head, b""
        return head

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def _end(self) -> tuple[str, bytes]:
        """(hash of the last line of the chain, the bytes of lines never finished after it)."""
        start, tail = os.fstat(self._file).st_size, b""
        while True:
            *lines, rest = tail.split(b"\n")
            first = 1 if start > 0 else 0  # the first one may lack its beginning
            for at in reversed(range(first, len(lines))):
                if (record := record_of(lines[at])) is not None:
                    if digest.of_value(without_hash(record)) == record.get("hash"):
                        return str(record["hash"]), b"\n".join([*lines[at + 1 :], rest])
                    raise self._foreign()
            if start == 0:
                if lines or not tail.startswith(b"{"[: len(tail)]):
                    raise self._foreign()
                return "", tail
            step = min(start, TAIL_BYTES)
            start -= step
            tail = os.pread(self._file, step, start) + tail

    def _foreign(self) -> BadInput:
        return BadInput(
            f"{self.path} does not end as a hash chain does, so it cannot be gone on with; give another file, and "
            "check this one with `edgellm audit verify`"
        )


@dataclass(frozen=True)
class ChainReport:
    """What `verify` found. `broken_line` counts from 1."""

    records: int
    head: str
    broken_line: int | None = None
    problem: str = ""
    torn_lines: int = 0  # what crashes left, each time named by the line after it
    unfinished_bytes: int = 0  # after the last line: a crash, or a line that is being written now

    @property
    def whole(self) -> bool:
        return self.broken_line is None and not self.problem


def verify(path: Path, kept_head: str | None = None) -> ChainReport:
    """Check every line of a chain up to the first that is broken, and that it holds the line whose hash is
    `kept_head`. Raises OSError."""
    head, records, torn_lines, number = "", 0, 0, 0
    seen = kept_head is None
    pieces: list[bytes] = []  # lines that are none of a chain, which the next one has to name
    raw = b"\n"

    def report(line: int | None = None, problem: str = "", unfinished_bytes: int = 0) -> ChainReport:
        return ChainReport(records, head, line, problem, torn_lines, unfinished_bytes)

    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            record = record_of(raw[:-1]) if raw.endswith(b"\n") else None
            if record is None:
                pieces.append(raw.removesuffix(b"\n"))
                continue
            if record.get("torn") != (torn_words(b"\n".join(pieces)) if pieces else None):
                return report(number - len(pieces), NO_LINE)
            if record.get("previous") != head:
                return report(number, "it does not follow the line before it")
            if digest.of_value(without_hash(record)) != record.get("hash"):
                return report(number, "its hash is not that of what it says")
            torn_lines += len(pieces)
            head, records, pieces = str(record["hash"]), records + 1, []
            seen = seen or head == kept_head
    if pieces and raw.endswith(b"\n"):
        return report(number - len(pieces) + 1, NO_LINE)
    missing = "" if seen else f"no line has the kept head {kept_head}: lines were cut off, or the file was made anew"
    return report(None, missing, len(b"\n".join(pieces)))


def torn_words(piece: bytes) -> dict[str, object]:
    """How a line names what was never finished before it."""
    return {"bytes": len(piece), "sha256": f"sha256:{hashlib.sha256(piece).hexdigest()}"}


def record_of(line: bytes) -> dict[str, object] | None:
    """The record of a line in its canonical form; None for anything else."""
    try:
        record = json.loads(line)
        return record if isinstance(record, dict) and canonical(record) == line else None
    except (ValueError, RecursionError):
        return None


def canonical(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def without_hash(record: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in record.items() if key != "hash"}
