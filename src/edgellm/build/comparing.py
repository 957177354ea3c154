"""Two results, or two folders of them, held against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgellm.build.comparing_evals import eval_notes, eval_rows, why_unlike
from edgellm.build.comparing_ladders import ladder_rows, why_unlike_ladders
from edgellm.errors import UsageError
from edgellm.measures import comparison as measured
from edgellm.records.bench import EngineBench, EngineTest, LoadBench, RequestRecord
from edgellm.records.comparison import ComparedTest, Comparison, Side
from edgellm.records.evals import EvalResult
from edgellm.records.ladder import LadderResult
from edgellm.records.results import DemoResult
from edgellm.store.results import Result, Saved, device_of, kind_of, load, load_all, model_of, reasons_of

Rows = list[ComparedTest]
NO_DIFFERENCE = ("concurrency", "resumed")  # settings of an evaluation on which no score depends


def compare(a: Path, b: Path, test: str | None = None) -> Comparison:
    """B over A, test by test; the first row is a decode test if both have one.

    Of folders the newest result of each model on each device is taken, a valid one before one that is not. Raises
    BadInput for what is no result, UsageError where the two have nothing in common or not the test that was asked for.
    """
    if a.is_dir() != b.is_dir():
        raise UsageError(f"{a if a.is_dir() else b} is a folder and the other a file; give two files or two folders")
    if a.is_dir():
        return compare_folders(a, b, test)
    one, other = Saved(a, load(a)), Saved(b, load(b))
    rows = chosen(rows_of(one, other), test, a, b)
    return Comparison(
        ratio=rows[0].ratio, difference=rows[0].difference, verdict=rows[0].verdict, test=rows[0].test,
        tests=tuple(rows), notes=tuple(notes(one, other)), a=side(one), b=side(other),
    )  # fmt: skip


def side(saved: Saved) -> Side:
    result = saved.result
    return Side(
        path=str(saved.path), kind=kind_of(result), target=model_of(result), device=device_of(result),
        created=result.created, valid=not reasons_of(result),
    )  # fmt: skip


def chosen(rows: Rows, test: str | None, a: Path, b: Path) -> Rows:
    """The rows of one test, or all with the decode tests first."""
    if not rows:
        raise UsageError(f"{a} and {b} have no test in common; run the same tests for both")
    if test is None:
        return sorted(rows, key=lambda row: not row.test.startswith("tg"))
    picked = [row for row in rows if row.test == test]
    if not picked:
        known = ", ".join(dict.fromkeys(row.test for row in rows))
        raise UsageError(f"{a} and {b} have no test {test!r} in common; they have {known}")
    return picked


def rows_of(a: Saved, b: Saved) -> Rows:
    kinds = kind_of(a.result), kind_of(b.result)
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{a.path} is of the kind {kinds[0]} and {b.path} of the kind {kinds[1]}; compare like with like"
        )
    if why := why_unlike_results(a.result, b.result):
        raise UsageError(f"the scores of {a.path} and {b.path} cannot be compared, because {why}")
    return COMPARED[kinds[0]](a.result, b.result)


def why_unlike_results(a: Result, b: Result) -> str:
    """Why two results of one kind cannot be compared at all; speeds always can."""
    if isinstance(a, LadderResult) and isinstance(b, LadderResult):
        return why_unlike_ladders(a, b)
    return why_unlike(a, b) if isinstance(a, EvalResult) and isinstance(b, EvalResult) else ""


def engine_rows(a: EngineBench, b: EngineBench, prefix: str = "") -> Rows:
    others = {test.test: test for test in b.results}
    paired = bool(a.settings.get("pairing")) and a.settings.get("pairing") == b.settings.get("pairing")
    return [engine_row(test, others[test.test], paired, prefix) for test in a.results if test.test in others]


def engine_row(a: EngineTest, b: EngineTest, paired: bool, prefix: str) -> ComparedTest:
    found, how, has_interval = measured.speed_ratio(a, b, paired=paired)
    return ComparedTest(
        test=prefix + a.test, unit="token/s", better="higher", a=a.tokens_per_s.median, b=b.tokens_per_s.median,
        ratio=found, verdict=measured.verdict(found, "higher", has_interval=has_interval), how=how,
    )  # fmt: skip


def demo_rows(a: DemoResult, b: DemoResult) -> Rows:
    """Type by type."""
    others = {row.type: row for row in b.formats}
    return [
        row for one in a.formats if one.type in others
        for row in engine_rows(one.bench, others[one.type].bench, f"{one.type} ")
    ]  # fmt: skip


def load_rows(a: LoadBench, b: LoadBench) -> Rows:
    """Percentiles of times and amounts a second, resampling requests; without raw records there is nothing to draw."""
    from edgellm.bench.load.measures import MEASURES

    rows: Rows = []
    for name, time_ms in MEASURES.items():
        mine, its = (np.array(times(result.records, time_ms)) for result in (a, b))
        for share in (50, 99):
            rows += row_of_times(f"{name} p{share}", mine, its, share)
    rows += row_of_amounts("output tokens", "token/s", a, b, lambda record, _: float(record.output_tokens or 0))
    if a.slo_ms and a.slo_ms == b.slo_ms:
        rows += row_of_amounts("goodput", "request/s", a, b, kept)
    return rows


def times(records: Sequence[RequestRecord], time_ms: Callable[[RequestRecord], float | None]) -> list[float]:
    values = [time_ms(record) for record in records if record.status == "ok"]
    return [value for value in values if value is not None]


def kept(record: RequestRecord, slo_ms: Mapping[str, float]) -> float:
    """1 for a whole answer within every limit."""
    from edgellm.bench.load.measures import keeps

    return float(record.status == "ok" and keeps(record, slo_ms))


def row_of_amounts(
    test: str, unit: str, a: LoadBench, b: LoadBench, amount: Callable[[RequestRecord, Mapping[str, float]], float]
) -> Rows:  # fmt: skip
    of_a, of_b = (np.array([amount(record, result.slo_ms) for record in result.records]) for result in (a, b))
    if not of_a.any() or not of_b.any():
        return []
    found = measured.per_second(of_a, of_b, a.duration_s, b.duration_s)
    return [ComparedTest(
        test=test, unit=unit, better="higher", a=float(of_a.sum()) / a.duration_s, b=float(of_b.sum()) / b.duration_s,
        ratio=found, verdict=measured.verdict(found, "higher", has_interval=min(len(of_a), len(of_b)) > 1),
        how=f"{len(of_a)} and {len(of_b)} requests resampled",
    )]  # fmt: skip


def row_of_times(test: str, a: measured.Floats, b: measured.Floats, share: int) -> Rows:
    """No row where either has no such time, or nothing to divide by."""
    statistic = measured.percentile(share)
    if not len(a) or not len(b) or not (np.min(a) > 0 and np.min(b) > 0):
        return []
    found = measured.ratio(a, b, statistic)
    return [ComparedTest(
        test=test, unit="ms", better="lower", a=float(statistic(a)), b=float(statistic(b)), ratio=found,
        verdict=measured.verdict(found, "lower", has_interval=min(len(a), len(b)) > 1),
        how=f"{len(a)} and {len(b)} requests resampled",
    )]  # fmt: skip


COMPARED: Mapping[str, Callable[[Any, Any], Rows]] = {
    "engine": engine_rows, "load": load_rows, "demo": demo_rows, "eval": eval_rows, "ladder": ladder_rows,
}  # fmt: skip


def notes(a: Saved, b: Saved) -> list[str]:
    """What else than the figures differs, and whose figures do not hold."""
    found = [f"{label} does not hold: {reason}" for label, s in (("A", a), ("B", b)) for reason in reasons_of(s.result)]
    found += differences("models", model_facts(a.result), model_facts(b.result))
    machines = {key: m.get(key) for key in ("cpu", "cores", "memory_bytes", "gpus") for m in (a.result.machine,)}
    others = {key: b.result.machine.get(key) for key in machines}
    found += differences(
        "machines", machines | {"device": device_of(a.result)}, others | {"device": device_of(b.result)}
    )
    found += differences("settings", settings_of(a.result), settings_of(b.result))
    found += differences("software", software_of(a.result), software_of(b.result))
    if isinstance(a.result, EvalResult) and isinstance(b.result, EvalResult):
        found += eval_notes(a.result, b.result, eval_rows(a.result, b.result))
    return found


def differences(what: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    changed = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
    if not changed:
        return []
    said = "; ".join(f"{key.replace('_', ' ')} {short(a.get(key))} and {short(b.get(key))}" for key in changed)
    return [f"the {what} differ: {said}"]


def short(value: Any) -> str:
    text = "unknown" if value is None else f"{value:,}" if type(value) is int else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def machine_of(result: Result) -> dict[str, Any]:
    keep = ("board", "cpu", "cores", "memory_bytes", "instruction_sets")
    return {"device": device_of(result)} | {key: result.machine.get(key) for key in keep}


def model_facts(result: Result) -> dict[str, Any]:
    if isinstance(result, EngineBench | EvalResult) and result.model is not None:
        keep = {"name", "recipe", "sha256", "size_bytes", "file_type", "layers"}
        return result.model.model_dump(include=keep)
    return {"name": model_of(result)}


def settings_of(result: Result) -> dict[str, Any]:
    if isinstance(result, EngineBench):
        return {key: value for key, value in result.settings.items() if key != "pairing"}
    if isinstance(result, LoadBench):
        return result.workload | {
            "arrival": result.arrival, "concurrency": result.concurrency, "rate_per_s": result.rate_per_s,
            "slo_ms": result.slo_ms or None,
        }  # fmt: skip
    if isinstance(result, EvalResult | LadderResult):
        return {key: value for key, value in result.settings.items() if key not in NO_DIFFERENCE}
    return {}


def software_of(result: Result) -> dict[str, Any]:
    if isinstance(result, DemoResult | LadderResult):
        return result.versions
    if isinstance(result, EvalResult):
        return {key: result.versions[key] for key in ("edgellm", "engine_build") if key in result.versions}
    return {key: result.conditions[key] for key in ("edgellm", "engine_build") if key in result.conditions}


def compare_folders(a: Path, b: Path, test: str | None) -> Comparison:
    """Result by result; those of one model are matched on equal devices, or on any where the folders share none."""
    mine, its = load_all(a), load_all(b)
    said = [f"{u.path.name} was passed over: {u.reason}" for c in (mine, its) for u in c.unreadable]
    for with_device in (True, False):
        ones, others = (newest(c.results, with_device) for c in (mine, its))
        if common := [key for key in ones if key in others]:
            break
    rows: Rows = []
    unlike: list[UsageError] = []
    for key in common:
        one, other = ones[key], others[key]
        paths = {"model": " ".join(key[1:3]).strip(), "a_path": str(one.path), "b_path": str(other.path)}
        try:
            rows += [row.model_copy(update=paths) for row in rows_of(one, other)]
        except UsageError as error:  # the others are compared all the same
            unlike.append(error)
            continue
        said += [f"{one.path.name} and {other.path.name}: {note}" for note in notes(one, other)]
    for folder, own, theirs in ((a, ones, others), (b, others, ones)):
        said += [f"only {folder} has {' '.join(key).strip()}" for key in own if key not in theirs]
    if unlike and not rows:
        raise unlike[0]
    rows = chosen(rows, test, a, b)
    return Comparison(
        ratio=rows[0].ratio, difference=rows[0].difference, verdict=rows[0].verdict, test=rows[0].test,
        tests=tuple(rows), notes=(*said, *map(str, unlike)),
    )  # fmt: skip


def newest(results: Sequence[Saved], with_device: bool) -> dict[tuple[str, ...], Saved]:
    """By (kind, model, file type, of an evaluation suite and protocol, device): the newest valid result, or the newest
    if none is valid."""
    found: dict[tuple[str, ...], Saved] = {}
    for saved in sorted(results, key=lambda s: (not reasons_of(s.result), s.result.created)):
        result = saved.result
        model = result.model if isinstance(result, EngineBench | EvalResult) else None
        words = [(model.file_type or "") if model else ""]
        words += [result.suite, result.protocol] if isinstance(result, EvalResult) else []
        key = (kind_of(result), model_of(result), " ".join(word for word in words if word))
        found[key + ((device_of(saved.result),) if with_device else ())] = saved
    return found
