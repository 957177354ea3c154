"""Numbers for reading: rounded text that carries the exact value beside it.

Every number becomes `<data value="EXACT">TEXT</data>`. The value is what the result file holds, digit for
digit, so a program can check a report against its JSON, and rounding stays a matter of the text alone.
"""

from __future__ import annotations

import math
from typing import SupportsFloat

from markupsafe import Markup

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


PLAIN_BELOW = 1e15  # from here on, as a power of ten


def exact(value: float, text: str) -> Markup:
    """`text`, with `value` as JSON would write it beside it."""
    return Markup('<data value="{}">{}</data>').format(repr(value), text)


def count(value: int | float) -> Markup:
    """A whole number with thousands separated."""
    return exact(value, fixed_text(value, 0))


def fixed(value: float, places: int) -> Markup:
    return exact(value, fixed_text(value, places))


def signed(value: float, places: int) -> Markup:
    return exact(value, fixed_text(value, places, "+"))


def fixed_text(value: float, places: int, sign: str = "") -> str:
    return f"{value:{sign},.{places}f}" if abs(value) < PLAIN_BELOW else significant_text(value)


def significant(value: float, digits: int = 3) -> Markup:
    """`digits` significant digits; from 0.0001 downward as a power of ten."""
    return exact(value, significant_text(value, digits))


def significant_text(value: float, digits: int = 3) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, sign, exponent = f"{value:#.{digits}g}".partition("e")
    mantissa = mantissa.rstrip(".")
    return power_of_ten(f"{mantissa}×", int(exponent)) if sign else mantissa


def power_of_ten(before: str, exponent: int) -> str:
    return f"{before}10{str(exponent).translate(SUPERSCRIPTS)}"


def rate(value: float) -> Markup:
    """A speed: whole from 100 on, three significant digits below."""
    return exact(value, fixed_text(value, 0) if value >= 100 else significant_text(value))


def megabytes(size_bytes: int) -> Markup:
    """10⁶ bytes; the exact value is in bytes."""
    return exact(size_bytes, fixed_text(size_bytes / 1e6, 2))


def gibibytes(size_bytes: int) -> Markup:
    """2³⁰ bytes; the exact value is in bytes."""
    return exact(size_bytes, fixed_text(size_bytes / 2**30, 1))


def any_value(value: object) -> Markup:
    """Whatever a result's open dictionary holds, escaped; None becomes a dash."""
    if value is None:
        return Markup("—")
    if isinstance(value, bool):
        return Markup("true" if value else "false")
    if isinstance(value, int):
        return count(value)
    if isinstance(value, SupportsFloat):
        number = float(value)
        if number.is_integer():
            return count(number)
        rounded = significant_text(number, 4)
        return exact(number, rounded.rstrip("0").rstrip(".") if "." in rounded and "×" not in rounded else rounded)
    if isinstance(value, list | tuple):
        return Markup(", ").join(any_value(v) for v in value) if value else Markup("—")
    return Markup("{}").format(value)
