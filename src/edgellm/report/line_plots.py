"""Plots of several series: points joined by lines, and straight lines that bound them (a roofline).

A series goes by one letter, which stands at its last point and in the list below the plot: full names would not fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from edgellm.report.labels import Box, place
from edgellm.report.plots import AREA, MARK, NAMES, Axis, figure, frame, line, text, x_grid, y_grid
from edgellm.report.scales import Scale

DASHES = 6  # styles of lines in report.css: `series0` to `series5`
STEP = 6.0  # pixels between the places at which a line is told to the names


@dataclass(frozen=True)
class Spot:
    """One point: its bar runs from `low` to `high`; `words` say it whole to whoever points at it."""

    x: float
    y: float
    low: float
    high: float
    words: str
    valid: bool = True


@dataclass(frozen=True)
class Series:
    label: str
    spots: Sequence[Spot]
    joined: bool = True


@dataclass(frozen=True)
class Bound:
    """The line y = amount / x, which nothing can pass."""

    label: str
    amount: float


@dataclass(frozen=True)
class Plane:
    x: Scale
    y: Scale

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.x.at(x), self.y.at(y)


def lines(
    name: str, title: str, description: str, x: Axis, y: Axis, series: Sequence[Series], bounds: Sequence[Bound] = ()
) -> Markup:  # fmt: skip
    """An `<svg>` element; empty Markup without a point. A spot that is not valid is drawn hollow.

    Spots that are not finite, or not positive on a logarithmic axis, are left out.
    """
    series = [Series(s.label, kept(s.spots), s.joined) for s in series]
    series = [s for s in series if s.spots]
    if not series:
        return Markup("")
    spots = [spot for s in series for spot in s.spots]
    reach = [bound.amount / spot.x for bound in bounds for spot in spots]
    x_scale, x_ticks = x.scale([spot.x for spot in spots], AREA.left, AREA.right)
    heights = [v for spot in spots for v in (spot.y, spot.low, spot.high)]
    y_scale, y_ticks = y.scale([*heights, *reach], AREA.bottom, AREA.top)
    plane = Plane(x_scale, y_scale)
    bars, circles = drawn_spots(series, plane)
    return figure(name, title, description, [
        *frame(x, y), *x_grid(x_scale, x_ticks), *y_grid(y_scale, y_ticks), *drawn_lines(series, plane), *bars,
        *[line(*segment(bound, plane), "bound") for bound in bounds], *circles, *names(series, bounds, plane),
    ])  # fmt: skip


def kept(spots: Sequence[Spot]) -> list[Spot]:
    return sorted((s for s in spots if math.isfinite(s.x) and math.isfinite(s.y) and s.x > 0), key=lambda s: s.x)


def drawn_lines(series: Sequence[Series], plane: Plane) -> list[Markup]:
    return [
        line(*plane.at(a.x, a.y), *plane.at(b.x, b.y), f"series series{number % DASHES}")
        for number, each in enumerate(series) if each.joined
        for a, b in pairwise(each.spots)
    ]  # fmt: skip


def drawn_spots(series: Sequence[Series], plane: Plane) -> tuple[list[Markup], list[Markup]]:
    bars, circles = [], []
    for spot in (spot for each in series for spot in each.spots):
        x, y = plane.at(spot.x, spot.y)
        bars.append(line(x, plane.y.at(spot.high), x, plane.y.at(spot.low), "bar"))
        circles.append(circle(x, y, "point" if spot.valid else "point hollow", spot.words))
    return bars, circles


def circle(x: float, y: float, style: str, words: str) -> Markup:
    pattern = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" class="{}"><title>{}</title></circle>')
    return pattern.format(x, y, MARK, style, words)


def segment(bound: Bound, plane: Plane) -> tuple[float, float, float, float]:
    """Both ends of y = amount / x within the plot, a straight line on two logarithmic axes."""
    left = max(plane.x.low, bound.amount / plane.y.high)
    right = min(plane.x.high, bound.amount / plane.y.low)
    return (*plane.at(left, bound.amount / left), *plane.at(right, bound.amount / right))


def names(series: Sequence[Series], bounds: Sequence[Bound], plane: Plane) -> list[Markup]:
    """Each series' letter at its last spot and each bound's name near its upper end, clear of all that is drawn."""
    ends = [plane.at(each.spots[-1].x, each.spots[-1].y) for each in series]
    segments = [segment(bound, plane) for bound in bounds]
    ends += [along(s, 0.3) for s in segments]
    taken = [around(x, y) for x, y in ends]
    for each in series:
        taken += [around(*plane.at(spot.x, spot.y)) for spot in each.spots]
        taken += [
            Box(x - 2, plane.y.at(s.high), x + 2, plane.y.at(s.low)) for s in each.spots for x in [plane.x.at(s.x)]
        ]
        if each.joined:
            taken += [b for a, c in pairwise(each.spots) for b in boxes_of((*plane.at(a.x, a.y), *plane.at(c.x, c.y)))]
    taken += [box for each in segments for box in boxes_of(each)]
    labels = [each.label for each in series] + [bound.label for bound in bounds]
    parts: list[Markup] = []
    for label, where in zip(labels, place(labels, ends, NAMES, taken), strict=True):
        if where.leader:
            parts.append(line(*where.leader, "leader"))
        parts.append(text(where.box.left, where.box.bottom - 2.5, label, "label", "start"))
    return parts


def around(x: float, y: float) -> Box:
    return Box(x - MARK - 1, y - MARK - 1, x + MARK + 1, y + MARK + 1)


def along(ends: tuple[float, float, float, float], share: float) -> tuple[float, float]:
    x1, y1, x2, y2 = ends
    return x1 + (x2 - x1) * share, y1 + (y2 - y1) * share


def boxes_of(ends: tuple[float, float, float, float]) -> list[Box]:
    """Small boxes along a line, so that no name is put upon it."""
    x1, y1, x2, y2 = ends
    count = max(1, int(math.hypot(x2 - x1, y2 - y1) / STEP))
    return [Box(x - 2, y - 2, x + 2, y + 2) for x, y in (along(ends, i / count) for i in range(count + 1))]
