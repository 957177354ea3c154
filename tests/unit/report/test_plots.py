"""Plots put points where their values say and names where they can be read."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from edgellm.report.labels import Box, place
from edgellm.report.plots import AREA, NAMES, WIDTH, Axis, Point, scatter, tick_text
from edgellm.report.scales import between, decades, linear

LINEAR, DECADES = Axis("横", "x"), Axis("縦", "y", "decades")


def drawn(points: list[Point], y: Axis = DECADES) -> ElementTree.Element:
    return ElementTree.fromstring(scatter("plot", "title", "words", LINEAR, y, points))


def point(label: str, x: float, y: float) -> Point:
    return Point(label, x, y, y * 0.9, y * 1.1)


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis() -> None:
    svg = drawn([point("a", 1, 0.001), point("b", 1, 0.01), point("c", 1, 0.1)])
    a, b, c = (float(circle.get("cy", "")) for circle in svg.findall("circle"))
    assert a - b == pytest.approx(b - c, abs=0.11)  # places are written to a tenth of a pixel
    assert a > b > c


def test_a_point_stands_at_its_value_on_a_linear_axis() -> None:
    svg = drawn([point("a", 5, 0.1), point("b", 10, 0.1)])
    a, b = (float(circle.get("cx", "")) for circle in svg.findall("circle"))
    assert (b - AREA.left) == pytest.approx(2 * (a - AREA.left), abs=0.2)


def test_a_zero_on_a_logarithmic_axis_is_a_hollow_point_at_the_lower_edge() -> None:
    svg = drawn([Point("zero", 1, 0.0, 0.0, 0.0), point("b", 1, 0.01)])
    zero, other = svg.findall("circle")
    assert float(zero.get("cy", "")) == AREA.bottom
    assert "hollow" in (zero.get("class") or "")
    assert "hollow" not in (other.get("class") or "")


def test_only_zeros_still_make_a_plot() -> None:
    assert len(drawn([Point("zero", 1, 0.0, 0.0, 0.0)]).findall("circle")) == 1


def test_points_that_are_not_finite_are_left_out() -> None:
    svg = drawn([point("a", 1, 0.1), point("lost", 1, float("nan")), point("lost", float("inf"), 1.0)])
    assert len(svg.findall("circle")) == 1


def test_without_points_there_is_no_plot() -> None:
    assert scatter("plot", "title", "words", LINEAR, DECADES, []) == ""


def test_names_and_titles_are_escaped() -> None:
    svg = scatter("plot", "a < b", 'c & "d"', LINEAR, DECADES, [point("</text><b>", 1, 0.1)])
    root = ElementTree.fromstring(svg)
    assert root.findtext("title") == "a < b"
    assert root.findtext("desc") == 'c & "d"'
    assert "</text><b>" in [t.text for t in root.findall("text")]


def test_the_chosen_point_is_set_apart() -> None:
    svg = drawn([point("a", 1, 0.1), Point("b", 2, 0.1, 0.1, 0.1, chosen=True)])
    assert [("chosen" in (c.get("class") or "")) for c in svg.findall("circle")] == [False, True]


def test_text_stays_text_and_colours_come_from_classes() -> None:
    svg = scatter(
        "plot", "題", "説明", Axis("大きさ", "size"), Axis("平均 KLD", "mean KLD", "decades"), [point("Q4_K_M", 1, 0.1)]
    )
    assert "大きさ</text>" in svg
    assert not re.search(r"fill=|stroke=|style=|xmlns|<path", svg)


@pytest.mark.parametrize("top", [0.003, 0.7, 1.0, 13.9, 512.0, 40_000.0])
def test_a_linear_axis_begins_at_zero_and_holds_every_value(top: float) -> None:
    scale, ticks = linear([top / 3, top], 0, 100)
    assert scale.at(0) == 0
    assert top < scale.high < 2 * top
    assert 3 <= len(ticks) <= 7
    assert np.allclose(np.diff(ticks), ticks[1])


def test_decades_have_at_most_eight_ticks() -> None:
    scale, ticks = decades([1e-12, 3.0], 0, 100)
    assert (scale.low, scale.high) == (1e-12, 10.0)
    assert len(ticks) <= 8
    assert decades([0.02], 0, 100)[0].low <= 0.01


def test_given_ticks_outside_the_values_are_left_out() -> None:
    scale, ticks = between([4.1, 16.0], (1, 2, 4, 8, 16, 32), 0, 100)
    assert ticks == [4, 8, 16]
    assert 0 < scale.at(4.1) < scale.at(16.0) < 100


def test_names_of_eight_crowded_points_do_not_cover_each_other_or_a_point() -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        spots = [(float(x), float(y)) for x, y in zip(np.linspace(60, 300, 8), rng.uniform(60, 120, 8), strict=True)]
        own = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
        boxes = [p.box for p in place(["Q4_K_M"] * 8, spots, NAMES, own)]
        assert not any(a.meets(b) for a, b in combinations(boxes, 2))
        assert not any(a.meets(b) for a in boxes for b in own)
        assert all(NAMES.holds(b) for b in boxes)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.001, "0.001"), (1e-4, "10⁻⁴"), (2.5e-7, "2.5×10⁻⁷"), (40_000, "40,000"), (1.2e6, "1.2×10⁶")],
)
def test_ticks_are_as_short_as_they_can_be(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_a_long_name_is_cut_with_an_ellipsis() -> None:
    names = [t.text for t in drawn([point("Q4_K_M" * 9, 1, 0.1)]).findall("text") if "label" in (t.get("class") or "")]
    assert names == ["Q4_K_MQ4_K_MQ…"]


def test_a_long_tick_at_the_edge_stays_inside() -> None:
    ticks = [t for t in drawn([point("a", 1.1e12, 0.1)]).findall("text") if "×10¹²" in (t.text or "")]
    assert ticks
    assert all(float(t.get("x", "")) < WIDTH - 20 for t in ticks)
