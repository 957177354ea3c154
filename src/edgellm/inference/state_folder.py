"""Saved sequences in files, so that prompts that were computed survive a restart.

Several engines may share a folder: a file is named by the digest of all that it depends on and of its token ids, it is
written aside and renamed, and any of them may delete the one that was used longest ago. Files hold what users wrote
(as token ids), so nobody but their owner may read them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import zlib
from collections import deque
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import numpy as np

from edgellm.errors import NotWritable
from edgellm.inference.radix_tree import Ids
from edgellm.store.atomic import ASIDE, file_aside
from edgellm.store.digest import of_value

LOG = logging.getLogger("edgellm.cache")
SUFFIX = ".state"
HEADER = Struct("<16sII")  # magic, number of ids, their CRC-32; then the ids and the state, which has its own checksum
MAGIC = b"edgellm prefix 1"
WAITING_BYTES = 256 * 1024 * 1024  # more do not wait to be written: a slow disk must not hold prompts in memory
ABANDONED_S = 3600.0  # a file that is still being written after this long never will be whole


class StateFolder:
    """The states of one model in a folder, within a number of bytes that all models there share."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Makes the folder; raises NotWritable where that cannot be done, and where it cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise NotWritable(
                f"the folder for saved prompts {folder} cannot be made ({error.strerror}); name another one"
            ) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise NotWritable(f"nothing can be written to the folder for saved prompts {folder}; name another one")
        remove_abandoned(folder)
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._change = threading.Condition()  # guards the next three
        self._writes: deque[tuple[Path, Ids, bytes]] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._failing = False  # whether the last write failed
        self._writer = threading.Thread(target=self._write_all, name="edgellm-cache-writer", daemon=True)
        self._writer.start()

    def path_of(self, group: str, ids: Ids) -> Path:
        """Where a state is kept. `group` is a digest of the model and of whoever may share its states."""
        return self._folder / f"{group[:32]}-{of_value(ids.tolist())[-32:]}{SUFFIX}"

    def write(self, path: Path, ids: Ids, state: bytes, *, wait: bool = False) -> None:
        """Write a file in the background; while too many others wait nothing is written, unless there is time to
        `wait`."""
        with self._change:
            if wait:
                self._change.wait_for(lambda: self._has_room(len(state)))
            elif not self._has_room(len(state)):
                LOG.info("%s is not written: the disk is slower than prompts come", path)
                return
            self._writes.append((path, ids, state))
            self._waiting_bytes += len(state)
            self._change.notify_all()

    def entries(self, group: str) -> list[tuple[Path, Ids]]:
        """The states of a group with their ids; damaged files are deleted."""
        found = []
        for path in sorted(self._folder.glob(f"{group[:32]}-*{SUFFIX}")):
            try:
                with open(path, "rb") as f:
                    found.append((path, _read_ids(f)))
            except FileNotFoundError:  # another engine made room
                continue
            except ValueError as error:
                self.drop(path, str(error))
            except OSError as error:
                LOG.warning("%s cannot be read (%s) and is left out of the cache", path, error)
        return found

    def read(self, path: Path) -> bytes | None:
        """The state of a file; None where it is gone or cannot be read."""
        try:
            with open(path, "rb") as f:
                _read_ids(f)
                state = f.read()
            os.utime(path)  # so that the file counts as used now
            return state
        except FileNotFoundError:
            return None
        except ValueError as error:
            self.drop(path, str(error))
        except OSError as error:
            LOG.warning("%s cannot be read (%s) and is left out of the cache", path, error)
        return None

    def drop(self, path: Path, reason: str) -> None:
        """Delete a file that is of no use."""
        LOG.warning("%s is deleted: %s", path, reason)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            LOG.warning("%s cannot be deleted: %s", path, error)

    def close(self) -> None:
        """Finish what waits to be written."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._writer.join()

    def _has_room(self, size: int) -> bool:
        return not self._writes or self._waiting_bytes + size <= WAITING_BYTES

    def _write_all(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._writes or self._closing)
                if not self._writes:
                    return
                path, ids, state = self._writes.popleft()
                self._waiting_bytes -= len(state)
                self._change.notify_all()
            self._write(path, ids, state)

    def _write(self, path: Path, ids: Ids, state: bytes) -> None:
        try:
            with file_aside(path) as aside:
                _write_file(aside, ids, state)
            self._make_room()
            self._failing = False
        except (OSError, MemoryError) as error:
            if not self._failing:  # told once: a full disk stays full for many prompts
                LOG.warning("%s cannot be written (%s); prompts are kept in memory alone until one can", path, error)
            self._failing = True

    def _make_room(self) -> None:
        """Delete what was used longest ago until the folder is within its limit."""
        files = []
        for path in self._folder.glob(f"[!.]*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._limit_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes have left half written."""
    for path in folder.glob(f"{ASIDE}*{SUFFIX}"):
        with suppress(OSError):  # another engine was faster
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


def _write_file(path: Path, ids: Ids, state: bytes) -> None:
    row = ids.astype("<i4").tobytes()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(HEADER.pack(MAGIC, len(ids), zlib.crc32(row)))
        f.write(row)
        f.write(state)


def _read_ids(file: BinaryIO) -> Ids:
    """The ids of an open file, which stands at its state afterwards; raises ValueError for a damaged one."""
    header = file.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise ValueError("it is no saved prompt")
    _, count, checksum = HEADER.unpack(header)
    # The size first: room for a damaged count of four billion ids would be made before any is missed.
    fits = HEADER.size + 4 * count <= os.fstat(file.fileno()).st_size
    row = file.read(4 * count) if fits else b""
    if not fits or zlib.crc32(row) != checksum:
        raise ValueError("its token ids are damaged")
    return np.frombuffer(row, "<i4").astype(np.int32)
