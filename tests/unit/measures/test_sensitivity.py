"""What follows from measured sensitivities for types, layers and texts that were not measured."""

from __future__ import annotations

import pytest

from edgellm.measures.sensitivity import between, measured_curve, on_curve, spread_places


def test_a_divergence_grows_in_proportion_to_the_error_beyond_what_was_measured() -> None:
    assert on_curve({0.01: 0.5}, 0.04) == pytest.approx(2.0)
    assert on_curve({0.01: 0.5, 0.02: 1.5}, 0.001) == pytest.approx(0.05)
    assert on_curve({0.01: 0.5, 0.02: 1.5}, 0.04) == pytest.approx(3.0)


def test_between_two_measured_errors_it_lies_on_a_line_in_logarithms() -> None:
    assert on_curve({0.01: 1.0, 0.04: 16.0}, 0.02) == pytest.approx(4.0)


def test_no_error_is_no_divergence() -> None:
    assert on_curve({0.01: 1.0}, 0.0) == 0.0
    assert on_curve({0.0: 0.0}, 0.0) == 0.0


def test_a_type_that_was_tried_keeps_what_was_measured() -> None:
    found = measured_curve({"Q4_K": 0.01, "Q3_K": 0.04, "Q8_0": 0.001}, {"Q4_K": 1.0, "Q3_K": 3.0})
    assert found == pytest.approx({"Q4_K": 1.0, "Q3_K": 3.0, "Q8_0": 0.1})


def test_a_layer_lies_between_its_neighbours() -> None:
    assert between({0: 1.0, 4: 16.0}, 2) == pytest.approx(4.0)
    assert between({2: 3.0, 4: 16.0}, 0) == pytest.approx(3.0)


def test_sampled_layers_hold_the_first_and_the_last() -> None:
    assert spread_places(32, 5) == [0, 8, 16, 23, 31]
    assert spread_places(4, 8) == [0, 1, 2, 3]
    assert spread_places(6, 1) == [3]
