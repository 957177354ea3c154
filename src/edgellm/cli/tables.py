"""Tables for people; `--json` is for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from edgellm.records.results import Check, EngineTest, FormatRow


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


def print_ladder(rows: Sequence[FormatRow]) -> None:
    table = Table("type", "MB", "bits/weight", "mean KLD", "same top %", "bits/byte", "tok/s", "char/s", box=None)
    for row in rows:
        decode = next(t for t in row.bench.results if t.test.startswith("tg"))
        table.add_row(
            row.type, f"{row.size_bytes / 1e6:.2f}", f"{row.bits_per_weight:.2f}", f"{row.mean_kld:.5f}",
            f"{row.same_top_percent:.1f}", f"{row.bits_per_byte:.4f}", f"{row.decode_tokens_per_s:.0f}",
            f"{decode.characters_per_s or 0:.0f}",
        )  # fmt: skip
    Console().print(table)


def print_engine_tests(rows: Sequence[EngineTest]) -> None:
    table = Table("test", "tok/s (median)", "low", "high", "char/s", box=None)
    for row in rows:
        rate = row.tokens_per_s
        characters = "" if row.characters_per_s is None else f"{row.characters_per_s:.1f}"
        table.add_row(row.test, f"{rate.median:.1f}", f"{rate.low:.1f}", f"{rate.high:.1f}", characters)
    Console().print(table)
