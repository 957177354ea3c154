"""The work folder: finished steps, each under the hash of everything that it depends on.

A step whose folder exists is whole, since it was made aside and renamed; resuming after a kill, caching
and provenance all come from this one rule.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from edgellm.errors import Busy
from edgellm.records.manifest import Step
from edgellm.store import digest
from edgellm.store.atomic import clear_leftovers, folder_aside, name_behind, remove_at_once
from edgellm.store.disk import filling, need_writable
from edgellm.store.lock import lock_file, locked

STEP_FILE = "step.json"
EVALUATIONS = "evals"  # a folder beside the steps: journals of runs that are not finished, and judgments by judge


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

        Raises Busy if another process is making the same step, NotWritable or NoSpace where the disk does not take
        it; whatever `make` raises leaves nothing behind.
        """
        if there := self.finished(stage, inputs, settings, versions):
            return there
        folder, record = self._named(stage, inputs, settings, versions)
        need_writable(folder, f"the step {folder.name}", "name another work folder with EDGELLM_WORK")
        with locked(lock_file(folder), f"the step {folder.name} in {self.root}"):
            if (folder / STEP_FILE).exists():
                return Made(folder, record, reused=True)
            clear_leftovers(folder)
            with filling(self.root, f"the step {folder.name}"), folder_aside(folder) as aside:
                make(aside)
                (aside / STEP_FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return Made(folder, record, reused=False)

    def finished(
        self, stage: str, inputs: Mapping[str, str], settings: Mapping[str, object], versions: Mapping[str, str]
    ) -> Made | None:
        """The step with these inputs, if it is there already; for work that makes several steps at once."""
        folder, record = self._named(stage, inputs, settings, versions)
        if not (folder / STEP_FILE).exists():
            return None
        with suppress(OSError):  # a work folder that is read-only still serves what it holds
            os.utime(folder)  # `clean` goes by the time of last use
        return Made(folder, record, reused=True)

    def _named(
        self, stage: str, inputs: Mapping[str, str], settings: Mapping[str, object], versions: Mapping[str, str]
    ) -> tuple[Path, Step]:
        parts = {"stage": stage, "inputs": dict(inputs), "settings": dict(settings), "versions": dict(versions)}
        key = digest.of_value(parts).removeprefix("sha256:")[:24]
        record = Step(stage=stage, key=key, inputs=dict(inputs), settings=dict(settings), versions=dict(versions))
        return self.root / f"{stage}-{key}", record

    def clean(self, older_than_days: float) -> tuple[int, int]:
        """Remove steps, and what evaluations keep, not used for that long; and what killed runs left, however young.

        Gives (steps and journals removed, bytes freed).
        """
        removed, freed = 0, 0
        if not self.root.exists():
            return 0, 0
        for entry in self._removable(older_than_days):
            name = name_behind(entry.name) or entry.name
            try:
                with locked(lock_file(entry.with_name(name)), name):
                    files = [entry] if entry.is_file() else [f for f in entry.rglob("*") if f.is_file()]
                    size = sum(f.stat().st_size for f in files)
                    remove_at_once(entry)
            except Busy:
                continue  # a run is making this very step
            removed, freed = removed + 1, freed + size
        self.remove_idle_locks()
        return removed, freed

    def _removable(self, older_than_days: float) -> list[Path]:
        """An evaluation writes on into its files, so it is these that tell when they were used last."""
        steps = [e for e in sorted(self.root.iterdir()) if (e / STEP_FILE).exists() and not name_behind(e.name)]
        left = [e for e in sorted(self.root.iterdir()) if name_behind(e.name)]
        kept = [e for e in sorted((self.root / EVALUATIONS).glob("*")) if not e.name.startswith(".")]
        old = [e for e in steps if idle_days(e) >= older_than_days]
        old += [e for e in kept if min(map(idle_days, list(e.glob("*")) or [e])) >= older_than_days]
        return left + old

    def remove_idle_locks(self) -> None:
        for folder in (self.root, self.root / EVALUATIONS):
            for file in folder.glob(lock_file(Path("*")).name):
                with suppress(Busy), locked(file, file.name):
                    pass  # letting a lock go removes its file


def idle_days(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / 86400
