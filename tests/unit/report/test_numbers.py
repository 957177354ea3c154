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
     (0.05, '<data value="0.05">0.05</data>'), (1230.4, '<data value="1230.4">1230</data>'),
     (99.99999, '<data value="99.99999">100</data>'), (["avx2", "<b>"], "avx2, &lt;b&gt;"),
     ([], "—"), ("a & b", "a &amp; b")],
)  # fmt: skip
def test_values_of_any_kind(value: object, text: str) -> None:
    assert numbers.any_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1859.4, "1,859"), (99.95, "100"), (12.34, "12.3"), (0.0421, "0.0421"), (9.9e20, "9.90×10²⁰")],
)
def test_speeds_keep_three_digits_however_slow(value: float, text: str) -> None:
    assert numbers.rate(value) == f'<data value="{value!r}">{text}</data>'


def test_a_number_too_long_to_read_becomes_a_power_of_ten() -> None:
    assert ">1.23×10³⁰⁰<" in numbers.fixed(1.234e300, 4)
    assert ">999,999,999,999,999<" in numbers.count(10**15 - 1)
