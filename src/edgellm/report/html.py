"""The demo's report: one HTML file in Japanese and English that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup

from edgellm.records.bench import EngineTest
from edgellm.records.results import DemoResult, FormatRow
from edgellm.report import numbers, wording
from edgellm.report.choices import choices
from edgellm.report.plots import Axis, Point, scatter
from edgellm.store.atomic import write_text

TEMPLATES = Path(__file__).with_name("templates")
BITS_TICKS = (1, 1.5, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
FILTERS: dict[str, Callable[..., Markup]] = {
    "count": numbers.count, "fixed": numbers.fixed, "signed": numbers.signed, "rate": numbers.rate,
    "significant": numbers.significant, "megabytes": numbers.megabytes, "gibibytes": numbers.gibibytes,
    "any_value": numbers.any_value,
}  # fmt: skip


def write_report(result: DemoResult, path: Path) -> None:
    """Write the report of a demo run at `path`, whole or not at all.

    Every number shown carries the result's exact value in `<data value>`. Raises OSError if `path` cannot be
    written.
    """
    write_text(path, render(result))


def render(result: DemoResult) -> str:
    """The HTML text. A field of the template that the result lacks is an error, never an empty place."""
    bundled = result.model.get("bundled_type")
    return environment().get_template("demo.html.j2").render(
        result=result, wording=wording, bundled=bundled, size_plot=size_plot(result.formats, bundled),
        speed_plot=speed_plot(result.formats, bundled), engine_test=engine_test,
        choices=choices(result.formats, bundled),
        half=next((row for row in result.formats if row.type == "F16"), None),
    )  # fmt: skip


@cache
def environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.filters |= {name: demanding(show) for name, show in FILTERS.items()}
    return found


def demanding(show: Callable[..., Markup]) -> Callable[..., Markup]:
    """A filter that fails on a missing field with the field's name, where `show` would trip over its type."""

    def shown(value: object, *arguments: object) -> Markup:
        if isinstance(value, Undefined):
            str(value)  # raises UndefinedError
        return show(value, *arguments)

    return shown


def engine_test(row: FormatRow, kind: str) -> EngineTest | None:
    """The first test of a row whose name begins with `kind`: pp for prompt processing, tg for generation."""
    return next((test for test in row.bench.results if test.test.startswith(kind)), None)


def size_plot(rows: Sequence[FormatRow], bundled: object) -> Markup:
    points = [
        Point(row.type, row.size_bytes / 1e6, kld.value, kld.low, kld.high, row.type == bundled)
        for row in rows
        for kld in [row.fidelity.mean_kld]
    ]
    return scatter(
        "size", "ファイルの大きさと平均 KLD Size against mean KLD",
        "横軸はファイルの大きさ、縦軸は平均 KLD（対数）。左下ほど小さく忠実。値は表を参照。 "
        "File size across, mean KL divergence up on a logarithmic axis; the values are in the tables.",
        Axis("ファイルの大きさ (MB)", "file size (MB)"),
        Axis("平均 KLD (nat/token)", "mean KLD (nat/token)", "decades"), points,
    )  # fmt: skip


def speed_plot(rows: Sequence[FormatRow], bundled: object) -> Markup:
    points = [
        Point(row.type, row.bits_per_weight, rate.median, rate.low, rate.high, row.type == bundled)
        for row in rows
        if (test := engine_test(row, "tg"))
        for rate in [test.tokens_per_s]
    ]
    return scatter(
        "speed", "重みあたりのビット数と生成速度 Bits per weight against decode speed",
        "横軸は重みあたりのビット数（対数）、縦軸は生成速度の中央値、縦棒は最小から最大まで。値は表を参照。 "
        "Bits per weight across on a logarithmic axis, median decode speed up, bars from lowest to highest "
        "run; the values are in the tables.",
        Axis("重みあたりのビット数 (bit)", "bits per weight", "between", BITS_TICKS),
        Axis("生成速度 (token/s)", "decode speed (token/s)"), points,
    )  # fmt: skip
