"""Tables for people; `--json` is for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    from edgellm.build.recipe_check import Checked
    from edgellm.records.bench import EngineTest
    from edgellm.records.device import Device
    from edgellm.records.recipe import Recipe
    from edgellm.records.results import Check, DemoResult, FormatRow

LADDER = ("type", "MB", "bits/weight", "mean KLD", "same top %", "bits/byte", "tok/s", "char/s")
DEVICES = ("name", "machines", "memory", "usable")


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
    table = Table(Column(DEVICES[0], no_wrap=True), *DEVICES[1:], box=None, pad_edge=False)
    for device in devices:
        table.add_row(*device_cells(device))
    Console().print(table)


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


def print_engine_tests(rows: Sequence[EngineTest]) -> None:
    table = Table("test", "tok/s (median)", "low", "high", "char/s", box=None)
    for row in rows:
        rate = row.tokens_per_s
        characters = "" if row.characters_per_s is None else f"{row.characters_per_s:.1f}"
        table.add_row(row.test, f"{rate.median:.1f}", f"{rate.low:.1f}", f"{rate.high:.1f}", characters)
    Console().print(table)
