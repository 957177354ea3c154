"""Ratios with their intervals, one below the other, against the line that they are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgellm.records.statistics import Interval
from edgellm.report.line_plots import circle
from edgellm.report.plots import WIDTH, figure, line, text, tick_text
from edgellm.report.scales import Scale, logarithmic

LEFT, RIGHT, TOP, ROW = 128.0, WIDTH - 14.0, 22.0, 28.0
BELOW = 46.0
LONGEST = 15  # characters of a name at the left


@dataclass(frozen=True)
class Bar:
    """One row; `style` is met, missed or undecided."""

    label: str
    value: Interval
    style: str
    words: str


def forest(name: str, title: str, description: str, bars: Sequence[Bar], target: float, ja: str, en: str) -> Markup:
    """An `<svg>` element with a row a bar and a line at the target; empty Markup without a bar.

    The axis is logarithmic: twice as much and half as much are equally far from 1. `ja`, `en`: what is across.
    """
    bars = [bar for bar in bars if bar.value.low > 0]
    if not bars:
        return Markup("")
    values = [v for bar in bars for v in (bar.value.low, bar.value.high, target)]
    scale, ticks = logarithmic(values, LEFT, RIGHT)
    return forest_on(name, title, description, bars, scale, ticks, ja, en, target)


def forest_on(
    name: str, title: str, description: str, bars: Sequence[Bar], scale: Scale, ticks: Sequence[float], ja: str,
    en: str, target: float | None = None,
) -> Markup:  # fmt: skip
    """The same on a given axis; without a target there is no line."""
    bottom = TOP + ROW * len(bars)
    parts = [part for tick in ticks for part in axis_tick(scale, tick, bottom)]
    parts += [line(LEFT, bottom, RIGHT, bottom, "axis")]
    if target is not None:
        parts += [line(scale.at(target), TOP - 8, scale.at(target), bottom, "target")]
    for number, bar in enumerate(bars):
        parts += row(bar, TOP + ROW * (number + 0.5), scale)
    for words, language in ((ja, "ja"), (en, "en")):
        parts.append(text(RIGHT, bottom + BELOW - 10, words, f"title {language}", "end"))
    return figure(name, title, description, parts, bottom + BELOW)


def axis_tick(scale: Scale, tick: float, bottom: float) -> list[Markup]:
    at = scale.at(tick)
    return [line(at, TOP - 8, at, bottom, "grid"), text(at, bottom + 17, tick_text(tick), "tick")]


def row(bar: Bar, y: float, scale: Scale) -> list[Markup]:
    label = bar.label if len(bar.label) <= LONGEST else bar.label[: LONGEST - 1] + "…"
    low, high = scale.at(bar.value.low), scale.at(bar.value.high)
    return [
        text(2, y + 4.5, label, "label", "start"),
        line(low, y, high, y, "bar"), line(low, y - 4, low, y + 4, "bar"), line(high, y - 4, high, y + 4, "bar"),
        circle(scale.at(bar.value.value), y, f"point {bar.style}", bar.words),
    ]  # fmt: skip
