"""The work folder: finished steps, each under the hash of everything that it depends on.

A step whose folder exists is whole, since it was made aside and renamed; resuming after a kill, caching
and provenance all come from this one rule.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from edgellm.errors import Busy, NoSpace
from edgellm.records.manifest import Step
from edgellm.store import digest
from edgellm.store.atomic import ASIDE, folder_aside, remove_folder

STEP_FILE = "step.json"


def default_root() -> Path:
    """`EDGELLM_WORK`, or `work` in the user's cache folder."""
    named = os.environ.get("EDGELLM_WORK")
    return Path(named) if named else user_cache_path("edgellm") / "work"


@dataclass(frozen=True)
class Made:
    """A finished step: its folder, its record, and whether it was there before."""

    folder: Path
    step: Step
    reused: bool


@dataclass(frozen=True)
class WorkFolder:
    root: Path

    def step(
        self,
        stage: str,
        inputs: Mapping[str, str],
        settings: Mapping[str, object],
        versions: Mapping[str, str],
        make: Callable[[Path], None],
    ) -> Made:
        """Give the folder of the step with these inputs, made by `make(folder)` unless it is there already.

        Raises Busy if another process is making the same step; whatever `make` raises leaves nothing behind.
        """
        parts = {"stage": stage, "inputs": dict(inputs), "settings": dict(settings), "versions": dict(versions)}
        key = digest.of_value(parts).removeprefix("sha256:")[:24]
        record = Step(stage=stage, key=key, inputs=dict(inputs), settings=dict(settings), versions=dict(versions))
        folder = self.root / f"{stage}-{key}"
        if (folder / STEP_FILE).exists():
            os.utime(folder)  # `clean` goes by the time of last use
            return Made(folder, record, reused=True)
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root / f".{folder.name}.lock", f"the step {folder.name} in {self.root}"):
            if (folder / STEP_FILE).exists():
                return Made(folder, record, reused=True)
            with folder_aside(folder) as aside:
                make(aside)
                (aside / STEP_FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return Made(folder, record, reused=False)

    def clean(self, older_than_days: float) -> tuple[int, int]:
        """Remove steps not used for that long, and what killed runs left; gives (folders removed, bytes freed)."""
        removed, freed = 0, 0
        if not self.root.exists():
            return 0, 0
        for entry in sorted(self.root.iterdir()):
            if not entry.is_dir() or idle_days(entry) < older_than_days:
                continue
            if entry.name.startswith(ASIDE):
                name = entry.name.removeprefix(ASIDE).partition("-")[2]
            elif (entry / STEP_FILE).exists():
                name = entry.name
            else:
                continue
            try:
                with locked(self.root / f".{name}.lock", name):
                    size = sum(f.stat().st_size for f in entry.rglob("*") if f.is_file())
                    remove_folder(entry)
            except Busy:
                continue  # a run is making this very step
            removed, freed = removed + 1, freed + size
        return removed, freed


def idle_days(folder: Path) -> float:
    return (time.time() - folder.stat().st_mtime) / 86400


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on `path` for the time of the block; raises Busy at once if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(
                f"another edgellm process is working on {what}; wait until it ends, then run this again"
            ) from None
        # The file stays: unlinking a lock file lets a third process lock a new one of the same name.
        yield


def need_space(folder: Path, wanted_bytes: int, what: str) -> None:
    """Raise NoSpace unless the disk that holds `folder` has room for `wanted_bytes` more."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < wanted_bytes:
        raise NoSpace(
            f"{what} needs {wanted_bytes / 1e9:.2f} GB and the disk of {folder} has {free / 1e9:.2f} GB free; "
            "free some space or choose another folder"
        )
