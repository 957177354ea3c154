"""Results as a report shows them: each under a letter, with its file, its device and whether it holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from urllib.parse import quote

from edgellm.records.bench import EngineBench, EngineTest, LoadBench, LoadStep
from edgellm.records.evals import EvalResult
from edgellm.records.results import DemoResult
from edgellm.store.results import Result, Saved, device_of, kind_of, model_of, reasons_of


@dataclass(frozen=True)
class Entry:
    """One result file. `link` leads from the report to it, where both stay where they are."""

    letter: str
    name: str
    link: str
    kind: str
    device: str
    model: str
    detail: str  # type and size, or workload
    created: str
    valid: bool
    reasons: Sequence[str]
    result: Result


@dataclass(frozen=True)
class TestRow:
    entry: Entry
    test: EngineTest


@dataclass(frozen=True)
class StepRow:
    entry: Entry
    step: LoadStep


def entries_of(saved: Sequence[Saved], report: Path) -> list[Entry]:
    """In the order of devices, models and dates, so that what belongs together stands together."""
    order = sorted(saved, key=lambda s: (kind_of(s.result), device_of(s.result), model_of(s.result), s.result.created))
    return [entry_of(each, letter(i), report) for i, each in enumerate(order)]


def entry_of(saved: Saved, name: str, report: Path) -> Entry:
    result = saved.result
    reasons = reasons_of(result)
    return Entry(
        name, saved.path.name, link_to(saved.path, report), kind_of(result), device_of(result), model_of(result),
        detail_of(result), result.created, not reasons, reasons, result,
    )  # fmt: skip


def link_to(path: Path, report: Path) -> str:
    return quote(os.path.relpath(path.resolve(), report.resolve().parent).replace(os.sep, "/"))


def letter(number: int) -> str:
    """A to Z, then AA, AB and so on."""
    before, last = divmod(number, len(ascii_uppercase))
    return (letter(before - 1) if before else "") + ascii_uppercase[last]


def detail_of(result: Result) -> str:
    if isinstance(result, LoadBench):
        return " ".join(str(result.workload[key]) for key in ("name",) if key in result.workload) or result.arrival
    if isinstance(result, EngineBench | EvalResult) and result.model is not None:
        size = f"{result.model.size_bytes / 1e9:.2f} GB" if result.model.size_bytes else ""
        weights = "random weights" if result.model.random_weights else ""
        return ", ".join(part for part in (result.model.file_type, size, weights) if part)
    return ""


def engine_entries(entries: Iterable[Entry]) -> list[tuple[Entry, EngineBench]]:
    return [(entry, entry.result) for entry in entries if isinstance(entry.result, EngineBench)]


def load_entries(entries: Iterable[Entry]) -> list[tuple[Entry, LoadBench]]:
    return [(entry, entry.result) for entry in entries if isinstance(entry.result, LoadBench)]


def demo_entries(entries: Iterable[Entry]) -> list[tuple[Entry, DemoResult]]:
    return [(entry, entry.result) for entry in entries if isinstance(entry.result, DemoResult)]


def test_rows(entries: Iterable[Entry]) -> list[TestRow]:
    return [TestRow(entry, test) for entry, result in engine_entries(entries) for test in result.results]


def step_rows(entries: Iterable[Entry]) -> list[StepRow]:
    """The steps of a sweep, or the whole of another load."""
    return [StepRow(entry, step) for entry, result in load_entries(entries) for step in result.steps or (result,)]
