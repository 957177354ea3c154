"""Reports on result files: the results themselves, or what they show of the claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgellm.records.bench import EngineBench, LoadBench
from edgellm.records.claims import Case, ClaimFound, ClaimsFound, MeasureFound
from edgellm.records.evals import with_ends
from edgellm.report import wording
from edgellm.report.collected import (
    Entry,
    demo_entries,
    engine_entries,
    entries_of,
    link_to,
    load_entries,
    step_rows,
    test_rows,
)
from edgellm.report.forest import Bar, forest
from edgellm.report.html import environment
from edgellm.report.ladders import kinds_of, ladder_entries
from edgellm.report.result_plots import Figure, figures
from edgellm.report.scores import score_figures, score_groups
from edgellm.store.atomic import write_text
from edgellm.store.results import Collection

SOFTWARE = ("edgellm", "llama-cpp-python", "nvidia_driver")
PLOTTED = ("ratio", "speed")  # kinds of metrics whose cases are worth a picture


def write_results_report(collection: Collection, path: Path, version: str) -> None:
    """Write the report on results at `path`, whole or not at all."""
    entries = entries_of(collection.results, path)
    groups = score_groups(entries)
    write_text(path, environment().get_template("results.html.j2").render(
        wording=wording, version=version, entries=entries, unreadable=collection.unreadable,
        tests=test_rows(entries), steps=step_rows(entries), demos=demo_entries(entries),
        engines=engine_entries(entries), loads=load_entries(entries), groups=groups, with_ends=with_ends,
        ladders=ladder_entries(entries), kinds_of=kinds_of,
        figures=[*figures(entries), *score_figures(groups)],
        machines=machines_of(entries), software=told_once(entries, software_words), gpus=told_once(entries, gpu_words),
    ))  # fmt: skip


def machines_of(entries: Sequence[Entry]) -> list[tuple[str, dict[str, object], str]]:
    """(device, what is known of the machine, letters of its results), each machine once."""
    found: dict[str, tuple[str, dict[str, object], list[str]]] = {}
    for entry in entries:
        machine = dict(entry.result.machine)
        found.setdefault(f"{entry.device} {machine}", (entry.device, machine, []))[2].append(entry.letter)
    return [(device, machine, ", ".join(letters)) for device, machine, letters in found.values()]


def told_once(entries: Sequence[Entry], words_of: Callable[[Mapping[str, Any]], str]) -> list[tuple[str, str]]:
    """(what is told of the conditions, letters of the results of which it is true), without those that tell nothing."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if isinstance(entry.result, EngineBench | LoadBench) and (words := words_of(entry.result.conditions)):
            found.setdefault(words, []).append(entry.letter)
    return [(words, ", ".join(letters)) for words, letters in found.items()]


def software_words(conditions: Mapping[str, Any]) -> str:
    named = [f"{name} {conditions[name]}" for name in SOFTWARE if conditions.get(name)]
    return "; ".join([*named, *(str(conditions[name]) for name in ("engine_build", "setup") if conditions.get(name))])


def gpu_words(conditions: Mapping[str, Any]) -> str:
    """Clocks, heat and what slowed each GPU, as `bench` notes them."""
    said = []
    for gpu in conditions.get("gpus") or []:
        facts = [str(gpu.get("name"))]
        for name, unit in (("clock_mhz_lowest", "MHz at the lowest"), ("clock_mhz_highest", "MHz at the highest"),
                           ("temperature_c_highest", "°C"), ("power_limit_watts", "W allowed")):  # fmt: skip
            if gpu.get(name) is not None:
                facts.append(f"{gpu[name]:g} {unit}")
        if gpu.get("slowed"):
            facts.append(f"slowed by {' and '.join(gpu['slowed'])}")
        said.append(", ".join(facts))
    return "; ".join(said)


def write_claims_report(found: ClaimsFound, path: Path, version: str) -> None:
    """Write the report on claims at `path`, whole or not at all."""
    write_text(path, environment().get_template("claims.html.j2").render(
        wording=wording, version=version, found=found, pictures={c.id: pictures(c) for c in found.claims},
        numbered={c.id: list(enumerate(c.cases, 1)) for c in found.claims},
        link=lambda file: link_to(Path(file), path), file_name=lambda file: Path(file).name,
    ))  # fmt: skip


def pictures(claim: ClaimFound) -> list[Figure]:
    """For each measure whose cases stand on devices: every case's interval against the target."""
    made = []
    for measure in claim.measures:
        cases = [(i, c) for i, c in enumerate(claim.cases, 1) if c.measure == measure.name and c.value is not None]
        if measure.kind in PLOTTED and measure.target_value and cases:
            made.append(picture(claim, measure, cases))
    return made


def picture(claim: ClaimFound, measure: MeasureFound, cases: Sequence[tuple[int, Case]]) -> Figure:
    assert measure.target_value is not None
    bars = [
        Bar(f"{i} {case.test}", case.value, case.status, f"{i} {case.test} {case.device}: {case.value.value:.4g}")
        for i, case in cases if case.value is not None
    ]  # fmt: skip
    unit, target = cases[0][1].unit, f"{measure.target_value:g}"
    plot = forest(
        f"claim-{claim.id}-{claim.measures.index(measure)}", f"{measure.ja} {measure.name}",
        f"{measure.ja}。横軸は対数、縦線は基準、番号は表の番号。 "
        f"{measure.name}: a row for each case, numbered as in the table; the line is the target.",
        bars, measure.target_value, f"{measure.ja} ({unit})", f"{measure.name} ({unit})",
    )  # fmt: skip
    ja = f"{measure.ja}。縦線は基準の {target}、番号は表の番号、横棒は区間です。白丸は区間が基準をまたいでいます。"
    en = f"{measure.name}: the line is the target, {target}; numbers are those of the table, bars intervals."
    return plot, ja, f"{en} A hollow point's interval holds the target."
