"""Series are drawn where their values say, bounds where nothing can pass, names where they can be read."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import pytest

from edgellm.records.statistics import Interval
from edgellm.report.forest import Bar, forest
from edgellm.report.labels import CHARACTER_WIDTH
from edgellm.report.line_plots import Bound, Series, Spot, lines
from edgellm.report.plots import AREA, HEIGHT, WIDTH, Axis
from edgellm.report.scales import logarithmic

LOG_X, LOG_Y = Axis("横", "x", "logarithmic"), Axis("縦", "y", "logarithmic")


def spot(x: float, y: float, valid: bool = True) -> Spot:
    return Spot(x, y, y * 0.9, y * 1.1, f"{x} {y}", valid)


def drawn(*series: Series, bounds: tuple[Bound, ...] = ()) -> ElementTree.Element:
    return ElementTree.fromstring(lines("plot", "title", "words", LOG_X, LOG_Y, series, bounds))


def of_class(svg: ElementTree.Element, tag: str, name: str) -> list[ElementTree.Element]:
    return [each for each in svg.findall(tag) if name in (each.get("class") or "").split()]


def test_a_series_is_joined_in_the_order_of_x() -> None:
    svg = drawn(Series("A", [spot(8, 40), spot(1, 10), spot(2, 20)]))
    joined = of_class(svg, "line", "series")
    assert [float(each.get("x1", "")) for each in joined] == sorted(float(each.get("x1", "")) for each in joined)
    assert len(joined) == 2


def test_every_spot_tells_its_values_to_whoever_points_at_it() -> None:
    svg = drawn(Series("A", [spot(1, 10), spot(2, 20)]))
    assert [circle.findtext("title") for circle in svg.findall("circle")] == ["1 10", "2 20"]


def test_a_spot_that_is_not_valid_is_hollow() -> None:
    svg = drawn(Series("A", [spot(1, 10), spot(2, 20, valid=False)]))
    assert ["hollow" in (c.get("class") or "") for c in svg.findall("circle")] == [False, True]


def test_a_bound_is_the_line_amount_over_x() -> None:
    svg = drawn(Series("A", [spot(1, 10), spot(4, 4)]), bounds=(Bound("40 GB/s", 40.0),))
    (bound,) = of_class(svg, "line", "bound")
    circles = svg.findall("circle")
    x1, y1, x2, y2 = (float(bound.get(key, "")) for key in ("x1", "y1", "x2", "y2"))

    def height(x: float) -> float:
        return y1 + (y2 - y1) * (x - x1) / (x2 - x1)

    for circle in circles:  # both lie below what the bound allows
        x, y = float(circle.get("cx", "")), float(circle.get("cy", ""))
        assert x1 <= x <= x2
        assert y > height(x)
    assert AREA.top <= min(y1, y2)
    assert max(y1, y2) <= AREA.bottom


def test_names_stand_clear_of_each_other_and_inside_the_plot() -> None:
    starts = {"A": 10, "B": 10.4, "C": 11, "D": 30}
    series = [Series(label, [spot(1, y), spot(8, 2 * y)]) for label, y in starts.items()]
    svg = drawn(*series, bounds=(Bound("40 GB/s", 300.0),))
    boxes = [
        (float(t.get("x", "")), float(t.get("y", "")), len(t.text or "") * CHARACTER_WIDTH)
        for t in of_class(svg, "text", "label")
    ]  # fmt: skip
    assert len(boxes) == 5
    for (ax, ay, aw), (bx, by, bw) in combinations(boxes, 2):
        assert abs(ay - by) >= 13 or ax + aw <= bx or bx + bw <= ax
    assert all(x >= AREA.left and x + w <= AREA.right + 1 for x, _, w in boxes)


def test_spots_that_cannot_be_drawn_are_left_out_and_nothing_makes_no_plot() -> None:
    svg = drawn(Series("A", [spot(1, 10), spot(2, float("nan")), spot(0, 3)]))
    assert len(svg.findall("circle")) == 1
    assert lines("plot", "t", "d", LOG_X, LOG_Y, [Series("A", [])]) == ""


@pytest.mark.parametrize("values", [[10.0, 14.0], [1.0, 32.0], [0.002, 900.0], [5.0], [1e-9, 1e9]])
def test_a_logarithmic_axis_holds_every_value_and_has_three_to_seven_ticks(values: list[float]) -> None:
    scale, ticks = logarithmic(values, 0, 100)
    assert scale.low < min(values) <= max(values) < scale.high
    assert 2 <= len(ticks) <= 7
    assert all(scale.low <= tick <= scale.high for tick in ticks)


def bar(label: str, value: float, status: str = "met") -> Bar:
    return Bar(label, Interval(value=value, low=value * 0.9, high=value * 1.1), status, label)


def test_a_forest_has_a_row_a_bar_and_a_line_at_the_target() -> None:
    bars = [bar("1 tg128", 2.0), bar("2 tg128x8", 0.5)]
    svg = ElementTree.fromstring(forest("f", "t", "d", bars, 1.0, "比", "ratio"))
    target = float(of_class(svg, "line", "target")[0].get("x1", ""))
    two, half = (float(circle.get("cx", "")) for circle in svg.findall("circle"))
    assert two - target == pytest.approx(target - half, abs=0.2)
    assert [t.text for t in of_class(svg, "text", "label")] == ["1 tg128", "2 tg128x8"]


def test_the_status_of_a_bar_is_its_style() -> None:
    bars = [bar("1", 2.0), bar("2", 0.5, "missed"), bar("3", 1.0, "undecided")]
    svg = ElementTree.fromstring(forest("f", "t", "d", bars, 1.0, "比", "ratio"))
    assert [(c.get("class") or "").split()[1] for c in svg.findall("circle")] == ["met", "missed", "undecided"]


def test_all_of_a_forest_is_inside_its_frame() -> None:
    bars = [bar(f"{i} tg128@d8192x32", 10.0**i) for i in range(-3, 4)]
    svg = ElementTree.fromstring(forest("f", "t", "d", bars, 1.0, "比", "ratio"))
    height = float((svg.get("viewBox") or "").split()[3])
    assert height != HEIGHT
    for each in svg.findall("text"):
        assert 0 <= float(each.get("x", "")) <= WIDTH
        assert 0 <= float(each.get("y", "")) <= height
