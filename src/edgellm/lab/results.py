"""The results of a lab, which are its state too: what has a file is done, however many calls it took."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from edgellm.errors import DeviceFailed
from edgellm.records.bench import EngineBench
from edgellm.records.lab import LabKey, SuiteEntry
from edgellm.store import digest
from edgellm.store.results import free_name, model_of, save, slug, stamp

LOG = "lab.log"


def entry_digest(entry: SuiteEntry) -> str:
    """Of the options alone: a renamed entry is the same bench."""
    return digest.of_value(entry.model_dump(mode="json", exclude={"name"}, exclude_none=True))


def finished(folder: Path) -> set[tuple[str, str]]:
    """Of which bundles and entries (digests) a device's folder holds results. Files of others are passed over."""
    found = set()
    for path in folder.glob("*.json"):
        try:
            key = json.loads(path.read_text(encoding="utf-8")).get("lab")
            found.add((str(key["bundle"]), str(key["entry"])))
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            continue
    return found


def read_result(out: bytes, key: LabKey) -> EngineBench:
    """What a device printed, with its key; raises DeviceFailed if that is no result of a bench."""
    try:
        return EngineBench.model_validate_json(out).model_copy(update={"lab": key})
    except ValidationError:
        raise DeviceFailed("what it printed is no result of a bench; see what `command` calls there") from None


def save_result(result: EngineBench, folder: Path, entry: SuiteEntry) -> Path:
    """Into a device's folder, under a name made of date, device, model and entry; nothing is ever replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{stamp(result)}-{slug(folder.name)}-{slug(model_of(result))}-{slug(entry.name)}"
    return save(result, free_name(folder, name))
