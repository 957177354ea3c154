"""Scatter plots as inline SVG.

Written here rather than by matplotlib: its SVG fixes every colour (a report follows the reader's light or
dark setting), carries metadata with outside addresses, measures Japanese text with fonts that it may lack,
and would add some 100 MB of packages to the light install for two figures of eight points. Text stays text,
colours come from the report's CSS classes, and each figure has a title and a description for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgellm.report.labels import CHARACTER_WIDTH, Box, Placed, place
from edgellm.report.numbers import power_of_ten
from edgellm.report.scales import Scale, between, decades, linear, logarithmic

# As wide as a phone's column, so that text there has its full size; wider screens enlarge the whole.
WIDTH, HEIGHT = 360, 340
AREA = Box(52, 46, 348, 286)
NAMES = Box(AREA.left, 24, AREA.right, AREA.bottom)  # where points may be named: room above the topmost, too
MARK = 3.5
LONGEST_NAME = 14  # characters; a longer one is cut, its whole stands in the tables


@dataclass(frozen=True)
class Axis:
    """`kind` is linear (from 0), decades or logarithmic (both are; whole powers of ten, or as far as the values go), or
    between (logarithmic, with the given ticks).

    The title is `ja` or `en`, as the reader has switched the page.
    """

    ja: str
    en: str
    kind: str = "linear"
    ticks: Sequence[float] = ()

    def scale(self, values: Sequence[float], start: float, end: float) -> tuple[Scale, list[float]]:
        if self.kind == "between":
            return between(values, self.ticks, start, end)
        return {"linear": linear, "decades": decades, "logarithmic": logarithmic}[self.kind](values, start, end)


@dataclass(frozen=True)
class Point:
    """`low` and `high` are the ends of the bar through the point; `chosen` sets the point apart."""

    label: str
    x: float
    y: float
    low: float
    high: float
    chosen: bool = False


def scatter(name: str, title: str, description: str, x: Axis, y: Axis, points: Sequence[Point]) -> Markup:
    """An `<svg>` element; `name` makes its ids unique on the page.

    A point that a logarithmic axis cannot hold (y = 0) is drawn hollow at the lower edge. Points that are not
    finite are left out; without any point the plot is empty Markup.
    """
    points = [p for p in points if math.isfinite(p.x) and math.isfinite(p.y)]
    if not points:
        return Markup("")
    x_scale, x_ticks = x.scale([p.x for p in points], AREA.left, AREA.right)
    y_scale, y_ticks = y.scale([v for p in points for v in (p.y, p.high)], AREA.bottom, AREA.top)
    return figure(name, title, description, [
        *frame(x, y), *x_grid(x_scale, x_ticks), *y_grid(y_scale, y_ticks), *marks(points, x_scale, y_scale),
    ])  # fmt: skip


def figure(name: str, title: str, description: str, parts: Sequence[Markup], height: float = HEIGHT) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {width} {height:g}" role="img" aria-labelledby="{name}-title {name}-desc">'
        '<title id="{name}-title">{title}</title><desc id="{name}-desc">{description}</desc>{body}</svg>'
    ).format(
        width=WIDTH, height=height, name=name, title=title, description=description, body=Markup("").join(parts)
    )  # fmt: skip


def text(x: float, y: float, words: str, style: str, anchor: str = "middle") -> Markup:
    pattern = Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>')
    return pattern.format(x, y, style, anchor, words)


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    pattern = Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>')
    return pattern.format(x1, y1, x2, y2, style)


def frame(x: Axis, y: Axis) -> list[Markup]:
    return [
        line(AREA.left, AREA.bottom, AREA.right, AREA.bottom, "axis"),
        *titles(AREA.right, HEIGHT - 12, x, "end"),
        *titles(2, 16, y, "start"),
    ]


def titles(x: float, y: float, axis: Axis, anchor: str) -> list[Markup]:
    return [text(x, y, axis.ja, "title ja", anchor), text(x, y, axis.en, "title en", anchor)]


def x_grid(scale: Scale, ticks: Sequence[float]) -> list[Markup]:
    parts = []
    for value in ticks:
        at = scale.at(value)
        parts.append(line(at, AREA.bottom, at, AREA.bottom + 4, "axis"))
        words = tick_text(value)
        inside = min(at, WIDTH - CHARACTER_WIDTH * len(words) / 2)  # a long last one would be cut at the edge
        parts.append(text(inside, AREA.bottom + 19, words, "tick"))
    return parts


def y_grid(scale: Scale, ticks: Sequence[float]) -> list[Markup]:
    parts = []
    for value in ticks:
        at = scale.at(value)
        parts.append(line(AREA.left, at, AREA.right, at, "grid"))
        parts.append(text(AREA.left - 6, at + 4, tick_text(value), "tick", "end"))
    return parts


def tick_text(value: float) -> str:
    """Plain from 0.001 to below a million, else with a power of ten."""
    if value == 0 or 0.0009 < value < 1e6:
        return f"{value:,.10g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return power_of_ten("" if float(mantissa) == 1 else f"{float(mantissa):g}×", int(exponent))


def marks(points: Sequence[Point], x_scale: Scale, y_scale: Scale) -> list[Markup]:
    """Bars first, points over them, names last."""
    spots = [(x_scale.at(p.x), y_scale.at(p.y)) for p in points]
    spans = [(y_scale.at(p.high), y_scale.at(p.low)) for p in points]
    taken = [
        Box(sx - MARK - 1, min(top, sy - MARK - 1), sx + MARK + 1, max(bottom, sy + MARK + 1))
        for (sx, sy), (top, bottom) in zip(spots, spans, strict=True)
    ]
    placed = place([shortened(p.label) for p in points], spots, NAMES, taken)
    bars = [line(sx, top, sx, bottom, "bar") for (sx, _), (top, bottom) in zip(spots, spans, strict=True)]
    circles = [mark(p, sx, sy, y_scale) for p, (sx, sy) in zip(points, spots, strict=True)]
    names = [part for p, where in zip(points, placed, strict=True) for part in name_of(p, where)]
    return [*bars, *circles, *names]


def mark(point: Point, x: float, y: float, y_scale: Scale) -> Markup:
    style = "point chosen" if point.chosen else "point"
    if y_scale.logarithmic and point.y <= 0:
        style += " hollow"
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" class="{}"/>').format(x, y, MARK, style)


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def name_of(point: Point, where: Placed) -> list[Markup]:
    style = "label chosen" if point.chosen else "label"
    name = text(where.box.left, where.box.bottom - 2.5, shortened(point.label), style, "start")
    return [line(*where.leader, "leader"), name] if where.leader else [name]
