"""Numbers for reading: rounded text that carries the exact value beside it.

Every number becomes `<data value="EXACT">TEXT</data>`. The value is what the result file holds, digit for
digit, so a program can check a report against its JSON, and rounding stays a matter of the text alone.
"""

from __future__ import annotations

import math
from typing import SupportsFloat

from markupsafe import Markup

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def exact(value: float, text: str) -> Markup:
    """`text`, with `value` as JSON would write it beside it."""
    return Markup('<data value="{}">{}</data>').format(repr(value), text)


def count(value: int | float) -> Markup:
    """A whole number with thousands separated."""
    return exact(value, f"{value:,.0f}")


def fixed(value: float, places: int) -> Markup:
    return exact(value, f"{value:,.{places}f}")


def signed(value: float, places: int) -> Markup:
    return exact(value, f"{value:+,.{places}f}")


def significant(value: float, digits: int = 3) -> Markup:
    """`digits` significant digits; from 0.0001 downward as a power of ten."""
    return exact(value, significant_text(value, digits))


def significant_text(value: float, digits: int = 3) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, sign, exponent = f"{value:#.{digits}g}".partition("e")
    mantissa = mantissa.rstrip(".")
    return f"{mantissa}×10{str(int(exponent)).translate(SUPERSCRIPTS)}" if sign else mantissa


def rate(value: float) -> Markup:
    """A speed: whole from 100 on, with one decimal below."""
    return exact(value, f"{value:,.0f}" if value >= 100 else f"{value:.1f}")


def megabytes(size_bytes: int) -> Markup:
    """10⁶ bytes; the exact value is in bytes."""
    return exact(size_bytes, f"{size_bytes / 1e6:,.2f}")


def gibibytes(size_bytes: int) -> Markup:
    """2³⁰ bytes; the exact value is in bytes."""
    return exact(size_bytes, f"{size_bytes / 2**30:,.1f}")


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
        return exact(number, rounded if "×" in rounded else rounded.rstrip("0"))
    if isinstance(value, list | tuple):
        return Markup(", ").join(any_value(v) for v in value) if value else Markup("—")
    return Markup("{}").format(value)
