"""Tables for people; `--json` is for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    from edgellm.build.recipe_check import Checked
    from edgellm.records.bench import EngineBench, EngineTest
    from edgellm.records.device import Device
    from edgellm.records.recipe import Recipe
    from edgellm.records.results import Check, DemoResult, Fidelity, FormatRow, KindFidelity

LADDER = ("type", "MB", "bits/weight", "mean KLD", "same top %", "bits/byte", "tok/s", "char/s")
DEVICES = ("name", "machines", "memory", "usable")
MACHINES = ("name", "machine", "memory", "usable", "GB/s", "TFLOP/s", "checks")


def shown(value: float | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else value


def print_checks(checks: Sequence[Check]) -> None:
    table = Table("check", "", "value", "limit", "detail", box=None)
    for check in checks:
        mark = "ok" if check.passed else "FAILED"
        table.add_row(check.name, mark, shown(check.value), shown(check.limit), check.detail)
    Console().print(table)


def print_kinds(fidelity: Fidelity) -> None:
    """What each kind of text loses, and before them the whole, which gates look at."""
    heads = ("mean KLD", "95 %", "same top %", "Δp %", "bits/byte", "bits/char")
    table = Table("text", *(Column(name, justify="right") for name in heads), box=None, pad_edge=False)
    texts: dict[str, Fidelity | KindFidelity] = {"whole": fidelity, **fidelity.by_kind}
    for kind, found in texts.items():
        delta, characters = found.mean_delta_p_percent, found.bits_per_character
        table.add_row(
            kind, f"{found.mean_kld.value:.5f}", f"{found.mean_kld.low:.5f}–{found.mean_kld.high:.5f}",
            f"{found.same_top_percent.value:.1f}", f"{delta.value:+.2f}" if delta else "",
            f"{found.bits_per_byte.value:.4f}", f"{characters.value:.3f}" if characters else "",
        )  # fmt: skip
    console = Console()
    console.print()
    console.print(table)


def print_recipes(recipes: Sequence[Recipe]) -> None:
    """A line for each recipe, and below what one has to bring for those whose weights are not published."""
    table = Table(Column("recipe", no_wrap=True), "for", "weights", "licence", box=None, pad_edge=False)
    for recipe in recipes:
        table.add_row(recipe.name, recipe.title, access(recipe), recipe.source.licence)
    console = Console()
    console.print(table)
    for recipe in recipes:
        if recipe.source.needs:
            console.print(f"\n{recipe.name} needs {recipe.source.needs}", markup=False, highlight=False, soft_wrap=True)


def device_cells(device: Device) -> tuple[str, ...]:
    """One class of machines under the headings of `DEVICES`."""
    return device.name, device.title, f"{device.memory_bytes >> 30} GiB", f"{device.usable_share:.0%}"


def machine_cells(device: Device) -> tuple[str, ...]:
    """One named machine under the headings of `MACHINES`."""
    bandwidth, peak = device.memory_bandwidth_bytes_per_s or 0, device.peak_flops_per_s or 0
    checks = str(sum(not check.apart for check in device.checks) or "")
    return (*device_cells(device), f"{bandwidth / 1e9:.5g}", f"{peak / 1e12:.4g}", checks)


def print_keys(keys: Sequence[Mapping[str, object]]) -> None:
    """Records of keys; what has no limit stays empty."""
    heads = ("name", "created", "expires", "requests/min", "at once", "tokens/min")
    parts = ("name", "created", "expires", "requests_per_minute", "concurrent_requests", "output_tokens_per_minute")
    table = Table(*heads, box=None, pad_edge=False)
    for key in keys:
        values = {part: "" if key[part] is None else str(key[part]) for part in parts}
        dates = {part: values[part][:10] for part in ("created", "expires")}
        table.add_row(*map(escape, (values | dates).values()))
    Console().print(table)


def print_devices(devices: Sequence[Device]) -> None:
    """Classes first, then named machines."""
    classes = Table(Column(DEVICES[0], no_wrap=True), *DEVICES[1:], box=None, pad_edge=False)
    right = (Column(head, justify="right") for head in MACHINES[2:])
    machines = Table(Column(MACHINES[0], no_wrap=True), MACHINES[1], *right, box=None, pad_edge=False)
    for device in devices:
        if device.is_machine:
            machines.add_row(*machine_cells(device))
        else:
            classes.add_row(*device_cells(device))
    console = Console()
    console.print(classes)
    console.print()
    console.print(machines)


def access(recipe: Recipe) -> str:
    """How one comes by the weights, in a word or two."""
    if recipe.source.needs:
        return "closed"
    if recipe.source.gated:
        return "gated"
    return "open" if recipe.source.open_weights else "restricted"


def gigabytes(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e9:.2f}"


def print_checked_recipes(rows: Mapping[str, Sequence[Checked]]) -> None:
    heads = ("file GB", "context", "cache GB", "room GB")
    table = Table(
        "recipe", "variant", "type", *(Column(name, justify="right") for name in heads), box=None, pad_edge=False
    )
    for name, checked in rows.items():
        for row in checked:
            context = "" if row.context_tokens is None else f"{row.context_tokens:,}"
            sizes = (gigabytes(row.cache_bytes), gigabytes(row.room_bytes))
            table.add_row(name, row.variant or "default", row.type, gigabytes(row.file_bytes), context, *sizes)
    Console().print(table)


def ladder_cells(row: FormatRow) -> tuple[str, ...]:
    """One rung of the ladder under the headings of `LADDER`; a speed that does not hold is in parentheses."""
    decode = next(t for t in row.bench.results if t.test.startswith("tg"))
    speeds = [f"{rate:.0f}" for rate in (row.decode_tokens_per_s, decode.characters_per_s or 0)]
    return (
        row.type, f"{row.size_bytes / 1e6:.2f}", f"{row.bits_per_weight:.2f}", f"{row.mean_kld:.5f}",
        f"{row.same_top_percent:.1f}", f"{row.bits_per_byte:.4f}",
        *(speed if row.bench.valid else f"({speed})" for speed in speeds),
    )  # fmt: skip


def print_demo(result: DemoResult, console: Console | None = None) -> None:
    """The ladder, the machine that it was measured on, the answer, and where everything is."""
    console = console or Console()
    table = Table(LADDER[0], *(Column(name, justify="right") for name in LADDER[1:]), box=None, pad_edge=False)
    for row in result.formats:
        table.add_row(*ladder_cells(row))
    console.print(table)
    said = [
        "",
        f"on {result.machine['cpu']}, cores: {result.machine['cores']}",
        f"Q: {result.question}",
        f"A: {result.reply}",
        "",
        f"bundle: {result.bundle}",
        f"report: {result.report}",
        f"{result.elapsed_s:.0f} s in all",
    ]
    if not all(row.bench.valid for row in result.formats):
        said.insert(1, "speeds in parentheses do not hold: other programs kept the processor busy")
    console.print("\n".join(said), markup=False, highlight=False, soft_wrap=True)


def print_engine_tests(result: EngineBench) -> None:
    """A row for each test, with the columns of what was measured; then energy, the sustained run and definitions."""
    columns = [column for column in ENGINE_COLUMNS if any(column[1](row) for row in result.results)]
    name = Column("test", min_width=max(len(row.test) for row in result.results))  # never cut short
    table = Table(name, *(Column(name, justify="right") for name, _ in columns), box=None, pad_edge=False)
    for row in result.results:
        table.add_row(row.test, *(cell(row) for _, cell in columns))
    console = Console()
    console.print(table)
    for line in engine_notes(result):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def digits(value: float | None, form: str = ".1f") -> str:
    return "" if value is None else format(value, form)


ENGINE_COLUMNS: Sequence[tuple[str, Callable[[EngineTest], str]]] = (
    ("tok/s (median)", lambda row: digits(row.tokens_per_s.median)),
    ("low", lambda row: digits(row.tokens_per_s.low)),
    ("high", lambda row: digits(row.tokens_per_s.high)),
    ("first run", lambda row: digits(row.first_run_tokens_per_s)),
    ("char/s", lambda row: digits(row.characters_per_s)),
    ("of bandwidth", lambda row: digits(row.bandwidth_fraction, ".0%")),
    ("of peak math", lambda row: digits(row.flops_fraction, ".0%")),
    ("J/token", lambda row: digits(row.joules_per_token, ".3g")),
    ("J/char", lambda row: digits(row.joules_per_character, ".3g")),
)


def engine_notes(result: EngineBench) -> list[str]:
    notes = []
    if ceilings := result.ceilings:
        notes.append(
            f"ceilings of {ceilings.device}: {ceilings.memory_bandwidth_bytes_per_s / 1e9:.1f} GB/s, "
            f"{ceilings.flops_per_s / 1e12:.2f} TFLOP/s ({ceilings.how})"
        )
    for use in result.energy:
        notes.append(
            f"energy ({use.source}): {use.joules:.1f} J in {use.seconds:.1f} s, of which the idle machine takes "
            f"{use.idle_watts * use.seconds:.1f} J at {use.idle_watts:.1f} W; J/token is of the rest"
        )
    if result.peak_memory_bytes:
        gpu = f", GPU {gigabytes(result.peak_gpu_memory_bytes)} GB" if result.peak_gpu_memory_bytes else ""
        notes.append(f"peak memory: {gigabytes(result.peak_memory_bytes)} GB{gpu}")
    if result.sustained:
        notes.append(str(result.conditions["sustained"]["words"]))
    return [*notes, *result.conditions.get("definitions", ())]
