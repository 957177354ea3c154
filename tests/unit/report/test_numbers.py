"""Rounded text, exact value."""

from __future__ import annotations

import pytest

from edgellm.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.3124, "0.312"), (0.01, "0.0100"), (0.00012345, "0.000123"),
        (0.0000012345, "1.23×10⁻⁶"), (12.34, "12.3"), (123.4, "123"), (9.9995e-5, "0.000100"),
        (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_significant_digits(value: float, text: str) -> None:
    assert numbers.significant_text(value) == text


def test_the_exact_value_travels_with_the_rounded_one() -> None:
    assert numbers.fixed(0.1 + 0.2, 2) == '<data value="0.30000000000000004">0.30</data>'
    assert numbers.megabytes(4_806_432) == '<data value="4806432">4.81</data>'


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (True, "true"), (8.0, '<data value="8.0">8</data>'),
     (0.05, '<data value="0.05">0.05</data>'), (["avx2", "<b>"], "avx2, &lt;b&gt;"),
     ([], "—"), ("a & b", "a &amp; b")],
)  # fmt: skip
def test_values_of_any_kind(value: object, text: str) -> None:
    assert numbers.any_value(value) == text
