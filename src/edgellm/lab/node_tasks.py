"""What runs on a node of a Ray cluster. It is sent there as it stands, so it imports the standard library alone: a
node needs Ray and an `edgellm` that it can call, not in the same Python."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

SET_BY_RAY = "OMP_NUM_THREADS"  # to the processors that the task asked for, which is not how a bench is run otherwise


def sha256_of(path: Path) -> str:
    with open(path, "rb") as f:
        return f"sha256:{hashlib.file_digest(f, 'sha256').hexdigest()}"


def same_there(folder: Path, files: Mapping[str, str]) -> set[str]:
    """Paths of `files` (path → digest) that stand in `folder` with that digest."""
    return {name for name, sha256 in files.items() if (folder / name).is_file() and sha256_of(folder / name) == sha256}


def look(work: str, below: str, files: Mapping[str, str], here: str) -> tuple[str, list[str]]:
    """Where the bundle is or shall be on this node, and which files are missing there.

    `here` is its path on the machine that asks: where the node sees the same files there, nothing is sent.
    """
    folder = Path.home() / work / below
    missing = set(files) - same_there(folder, files)
    if missing and same_there(Path(here), files) == set(files):
        return here, []
    return str(folder), [name for name in files if name in missing]


def write_block(aside: str, offset: int, block: bytes) -> None:
    path = Path(aside)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "r+b" if offset else "wb") as f:
        f.seek(offset)
        f.write(block)


def finish_file(aside: str, place: str, sha256: str) -> bool:
    """Give a file its name if it is what was sent; else remove it."""
    path = Path(aside)
    if not path.is_file() or sha256_of(path) != sha256:
        path.unlink(missing_ok=True)
        return False
    with open(path, "rb") as f:
        os.fsync(f.fileno())
    os.replace(path, place)
    return True


def run_command(words: Sequence[str], most_bytes: int) -> tuple[int, bytes, bytes]:
    """Run a command to its end: exit code, stdout and stderr, of each at most that much.

    Its stdin is a pipe that closes when this process dies, by which `edgellm.lab.link.WATCHED` knows.
    """
    environment = {name: value for name, value in os.environ.items() if name != SET_BY_RAY}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=out, stderr=err, env=environment) as process:
            process.wait()
        return process.returncode, start_of(out, most_bytes), start_of(err, most_bytes)


def start_of(file: BinaryIO, most_bytes: int) -> bytes:
    file.seek(0)
    return file.read(most_bytes)
