"""An external meter's record: a CSV file that the meter's own program writes.

Two columns, the time and the value; more columns are left alone. Without a first line of names the value is power in
watts. With one, the column `watts` (or `power_w`) is power, `joules` (or `energy_j`) energy since some start, and the
time is in `timestamp` (or `time`), else in the first column. Times are ISO 8601 (`2026-01-31T12:00:00+09:00`; without
an offset: local time) or seconds since 1970, and ascend. The meter's clock and this machine's must agree.
"""

from __future__ import annotations

import csv
import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from math import isfinite
from pathlib import Path

from edgellm.errors import BadInput

POWER, ENERGY, TIME = ("watts", "power_w"), ("joules", "energy_j"), ("timestamp", "time")
MAX_GAP_S = 10.0  # between two rows; what happened in a longer one is not known
WAIT_S = 15.0  # for the row that ends a run
LOOK_EVERY_S = 0.2

Row = tuple[float, float]


class Meter:
    """What a growing file says was used between two times."""

    def __init__(self, path: Path, wait_s: float = WAIT_S, pause: Callable[[float], object] = time.sleep) -> None:
        self.name = f"meter:{path.name}"
        self._path, self._wait_s, self._pause = path, wait_s, pause
        self._began = time.time()
        read_rows(path)  # what is wrong with it is told before the run

    def joules(self) -> float:
        """Since it was made."""
        return self.between(self._began, time.time())

    def between(self, start_s: float, end_s: float) -> float:
        """Joules between two times in seconds since 1970; waits a little for the row that ends the span.

        Raises BadInput if the rows do not cover the span, or leave a gap in it.
        """
        waited = 0.0
        while True:
            rows, is_energy = read_rows(self._path)
            if (rows and rows[-1][0] >= end_s) or waited >= self._wait_s:
                break
            self._pause(LOOK_EVERY_S)
            waited += LOOK_EVERY_S
        self._check(rows, start_s, end_s)
        if is_energy:
            return value_at(rows, end_s) - value_at(rows, start_s)
        return integral(rows, start_s, end_s)

    def close(self) -> None:
        pass

    def _check(self, rows: list[Row], start_s: float, end_s: float) -> None:
        if not rows or rows[0][0] > start_s or rows[-1][0] < end_s:
            covers = f"goes from {clock(rows[0][0])} to {clock(rows[-1][0])}" if rows else "has no rows"
            raise BadInput(
                f"the meter's file {self._path} {covers} and the run from {clock(start_s)} to {clock(end_s)}; "
                "let it record from before the run to after it, and check that both clocks agree"
            )
        for (one, _), (other, _) in pairwise(rows):
            if other - one > MAX_GAP_S and other > start_s and one < end_s:
                raise BadInput(
                    f"the meter's file {self._path} has no row between {clock(one)} and {clock(other)}, "
                    f"which is longer than {MAX_GAP_S:.0f} s; let it record more often"
                )


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def read_rows(path: Path) -> tuple[list[Row], bool]:
    """(rows of time and value, whether the values are joules since some start).

    A last line without its end is still being written and is left for the next time. Raises BadInput for a file that
    is not there or has another form.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the meter's file {path} cannot be read ({reason(error)}); give a CSV file of text") from None
    lines = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
    time_column, value_column, is_energy, first = 0, 1, False, 0
    if lines and not is_time(lines[0][0] if lines[0] else ""):
        time_column, value_column, is_energy = columns(path, lines[0])
        first = 1
    rows: list[Row] = []
    for number, line in enumerate(lines[first:], first + 1):
        if not line:
            continue
        try:
            row = (seconds_of(line[time_column]), finite(line[value_column]))
        except (ValueError, IndexError):
            raise BadInput(
                f"line {number} of the meter's file {path} is {','.join(line)!r}, not a time and a number; "
                "write timestamp,watts, as 2026-01-31T12:00:00+09:00,35.2 or 1769828400.0,35.2"
            ) from None
        if rows and (row[0] < rows[-1][0] or (is_energy and row[1] < rows[-1][1])):
            raise BadInput(f"line {number} of the meter's file {path} goes back; times and joules must ascend")
        rows.append(row)
    return rows, is_energy


def reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"


def columns(path: Path, names: list[str]) -> tuple[int, int, bool]:
    """(column of the time, column of the value, whether that is energy) by the first line's names."""
    lower = [name.strip().lower() for name in names]
    time_column = next((lower.index(name) for name in TIME if name in lower), 0)
    for known, is_energy in ((POWER, False), (ENERGY, True)):
        for name in known:
            if name in lower:
                return time_column, lower.index(name), is_energy
    raise BadInput(
        f"the meter's file {path} has the columns {', '.join(names)} and none of {', '.join((*POWER, *ENERGY))}; "
        "name the column of the power watts"
    )


def is_time(text: str) -> bool:
    try:
        seconds_of(text)
    except ValueError:
        return False
    return True


def seconds_of(text: str) -> float:
    """Seconds since 1970 of either form."""
    try:
        return finite(text)
    except ValueError:
        return datetime.fromisoformat(text.strip()).timestamp()  # for `nan` a ValueError again


def finite(text: str) -> float:
    """Raises ValueError for what is no number, `nan` and `inf` among it."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)
    return value


def value_at(rows: list[Row], at_s: float) -> float:
    """On the line between the two rows around `at_s`, which must lie within the rows."""
    right = bisect_right(rows, at_s, key=lambda row: row[0])
    if right == len(rows):
        return rows[-1][1]
    (one, low), (other, high) = rows[right - 1], rows[right]
    return low + (high - low) * (at_s - one) / (other - one)


def integral(rows: list[Row], start_s: float, end_s: float) -> float:
    """Watts over time by the trapezium rule."""
    inner = [row for row in rows if start_s < row[0] < end_s]
    points = [(start_s, value_at(rows, start_s)), *inner, (end_s, value_at(rows, end_s))]
    return sum((a[1] + b[1]) / 2 * (b[0] - a[0]) for a, b in pairwise(points))
