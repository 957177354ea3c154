"""Result files: one JSON document each, kept for years, so they are read by kind and version and never half written.

A folder of results has one folder a device: `results/DEVICE/DATE-DEVICE-MODEL-KIND.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgellm.errors import BadInput, UsageError
from edgellm.records.base import Record
from edgellm.records.bench import EngineBench, LoadBench
from edgellm.records.evals import EvalResult
from edgellm.records.ladder import LadderResult
from edgellm.records.results import DemoResult
from edgellm.store.atomic import write_text
from edgellm.store.disk import filling, need_writable
from edgellm.store.lock import locked

Result = EngineBench | LoadBench | DemoResult | EvalResult | LadderResult
KINDS: Mapping[str, type[Record]] = {
    "engine": EngineBench, "load": LoadBench, "demo": DemoResult, "eval": EvalResult, "ladder": LadderResult,
}  # fmt: skip
MOST_FAILED = 0.05  # share of what an evaluation asked: with more of it lost, what is left is another set of items
SCHEMA_VERSION = 1  # of every kind so far
LONGEST_PART = 48  # characters of one part of a name


@dataclass(frozen=True)
class Saved:
    """A result and the file that it was read from."""

    path: Path
    result: Result


@dataclass(frozen=True)
class Unreadable:
    """A file that is no result, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Collection:
    results: Sequence[Saved]
    unreadable: Sequence[Unreadable]


def save(result: Result, path: Path) -> Path:
    """Write the result whole or not at all, and give the file's path.

    A path that ends in `.json` is that file, and one that is there is replaced. Any other path is a folder of results:
    there the file goes into its device's folder under a name made of date, device, model (of an evaluation, suite too)
    and kind, and nothing is ever replaced. Raises NotWritable, NoSpace, Busy.
    """
    text = result.model_dump_json(indent=1) + "\n"
    what = f"the result {path}"
    need_writable(path, what, "give another place with --save")
    if path.suffix == ".json" and not path.is_dir():
        with filling(path, what):
            write_text(path, text)
        return path
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file whose name does not end in .json; name a .json file or a folder")
    device = slug(device_of(result))
    folder = path if path.name == device else path / device
    with filling(folder, what), locked(folder / ".saving.lock", f"the results in {folder}"):
        words = [device, slug(model_of(result)), *suite_of(result), kind_of(result)]
        file = free_name(folder, "-".join([stamp(result), *words]))
        write_text(file, text)
    return file


def free_name(folder: Path, stem: str) -> Path:
    """`STEM.json`, or `STEM-2.json` and so on where that is taken."""
    number, file = 1, folder / f"{stem}.json"
    while file.exists():
        number += 1
        file = folder / f"{stem}-{number}.json"
    return file


def load(path: Path) -> Result:
    """The result in a file; raises BadInput in one sentence for a file that is none, or newer than this edgellm."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"there is no result file {path}; `edgellm bench … --save` writes one") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder; name one result file in it") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise BadInput(f"{path} is no whole JSON document; measure again or fetch the file again") from None
    kind = kind_in(document)
    if kind is None:
        raise BadInput(f"{path} is no result of edgellm; give a file that `edgellm bench … --save` or `eval run` wrote")
    if kind not in KINDS:
        raise BadInput(f"{path} holds a result of the kind {kind!r}, which this edgellm does not know; update edgellm")
    version = document.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BadInput(
            f"{path} is of schema version {version} and this edgellm reads up to {SCHEMA_VERSION}; update edgellm"
        )
    try:
        return KINDS[kind].model_validate(document)  # type: ignore[return-value]  # the records of KINDS are Results
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise BadInput(f"{path} is damaged at {where}: {first['msg'].lower()}; measure or fetch it again") from None


def kind_in(document: Any) -> str | None:
    """What a JSON document says that it is; the demo's record is known by its keys."""
    if not isinstance(document, dict):
        return None
    if {"formats", "bundle", "verdict"} <= document.keys():
        return "demo"
    kind = document.get("kind")
    return kind if isinstance(kind, str) and "schema_version" in document else None


def load_all(folder: Path) -> Collection:
    """Every result below a folder, by path; a file that cannot be read is named with the reason, never passed over.

    Raises BadInput if there is no such folder.
    """
    if not folder.is_dir():
        raise BadInput(f"there is no folder of results {folder}; `edgellm bench … --save {folder}` makes it")
    results, unreadable = [], []
    for path in sorted(folder.rglob("*.json")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # being written
        try:
            results.append(Saved(path, load(path)))
        except BadInput as error:
            unreadable.append(Unreadable(path, str(error)))
    return Collection(results, unreadable)


def load_each(paths: Sequence[Path]) -> Collection:
    """The results of files and folders; raises BadInput for a file that is none, or a place that is not there."""
    results: list[Saved] = []
    unreadable: list[Unreadable] = []
    for path in paths:
        if path.is_dir():
            found = load_all(path)
            results += found.results
            unreadable += found.unreadable
        else:
            results.append(Saved(path, load(path)))
    return Collection(results, unreadable)


def kind_of(result: Result) -> str:
    return "demo" if isinstance(result, DemoResult) else result.kind


def suite_of(result: Result) -> list[str]:
    """What a name says more of an evaluation: which one it is."""
    return [slug(result.suite)] if isinstance(result, EvalResult) else []


def reasons_of(result: Result) -> list[str]:
    """Why the figures do not hold; empty where they do."""
    if isinstance(result, DemoResult):
        return [f"{row.type}: {reason}" for row in result.formats for reason in row.bench.reasons]
    if isinstance(result, EvalResult):
        return reasons_against_scores(result)
    return [] if result.valid else list(result.reasons) or ["no reason recorded"]


def reasons_against_scores(result: EvalResult) -> list[str]:
    asked = max(len(result.records), result.items)
    found = ["nothing could be scored"] if result.score is None else []
    if result.failed > MOST_FAILED * asked:
        found.append(f"{result.failed} of {asked} answers have no score (bound {MOST_FAILED:.0%})")
    if result.model is not None and result.model.random_weights:
        found.append("the weights are random")
    return found


def model_of(result: Result) -> str:
    """The name by which people know what was measured."""
    if isinstance(result, DemoResult):
        return str(result.model.get("name", "demo"))
    if isinstance(result, EngineBench | EvalResult) and result.model is not None:
        return result.model.name
    if isinstance(result, EvalResult) and result.model_name:
        return result.model_name
    return Path(result.target).name or result.target


def device_of(result: Result) -> str:
    """What did the work, in words that are equal for equal machines: the GPU's name, the board's, or the processor and
    its cores.

    Of a load result it is the machine that made the load, whose server may be another, and so it is of an evaluation
    behind a URL.
    """
    if isinstance(result, EngineBench):
        named = result.settings.get("device") or (result.ceilings.device if result.ceilings else "")
        if isinstance(named, str) and named not in ("", "cpu"):
            return named
    cpu, cores = result.machine.get("board") or result.machine.get("cpu"), result.machine.get("cores")
    name = " ".join(str(cpu or "unknown machine").split())
    return f"{name}, {cores} cores" if cores else name


def stamp(result: Result) -> str:
    """When it was measured, as names of files sort: 20261122T172300Z."""
    try:
        when = datetime.fromisoformat(result.created)
    except ValueError:
        when = datetime.now(UTC)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def slug(words: str) -> str:
    """Words as a part of a file's name: letters and digits in lower case, the rest as single hyphens."""
    return re.sub(r"[^\w.]+", "-", words.lower()).strip("-.")[:LONGEST_PART].strip("-.") or "unnamed"
