"""Coding: a second program for each function that the questions ask for, written another way, and arguments to try.

The reference answers' own code is run against the tests in the checks, and then against these on random arguments:
two programs that were written apart from each other and never differ are hardly wrong in the same way.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from random import Random
from typing import Any

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Twin:
    function: str
    draw: Callable[[Random], Arguments]
    answer: Callable[..., Any]  # raises ValueError where the function must


def some(random: Random, signs: str, most: int) -> str:
    return "".join(random.choice(signs) for _ in range(random.randint(0, most)))


WIDE = "０１２３４５６７８９"


def phone(text: str) -> str:
    narrow = {wide: str(value) for value, wide in enumerate(WIDE)} | {str(value): str(value) for value in range(10)}
    return "".join(narrow.get(sign, "") for sign in text)


def valid_phone(text: str) -> str:
    if not re.fullmatch("0[0-9]{9,10}", phone(text)):
        raise ValueError
    return phone(text)


def written_number(random: Random, most: int) -> Arguments:
    return (random.choice(("", "0", "０")) + some(random, "0123456789" + WIDE + "-－ （）()　", most),)


ERAS = (("明治", "M", 1868, 1912), ("大正", "T", 1912, 1926), ("昭和", "S", 1926, 1989), ("平成", "H", 1989, 2019))
ALL_ERAS = (*ERAS, ("令和", "R", 2019, 2300))
WESTERN = {  # every name of a year that there is
    spelling: year
    for name, letter, first, last in ALL_ERAS
    for year in range(first, last + 1)
    for spelling in (f"{name}{year - first + 1}年", f"{letter}{year - first + 1}", *([f"{name}元年"] * (year == first)))
}


def western_year(text: str) -> int:
    narrow = text.translate({ord(wide): str(value) for value, wide in enumerate(WIDE)})
    narrow = "".join(chr(ord(sign) - 0xFEE0) if "Ａ" <= sign <= "Ｚ" else sign for sign in narrow)
    if narrow not in WESTERN:
        raise ValueError
    return WESTERN[narrow]


def era_year(random: Random, short: bool) -> Arguments:
    name, letter, first, last = random.choice(ALL_ERAS)
    year = str(random.randint(0 if short else 1, min(last - first + (4 if short else 1), 80)))
    year = year.translate({ord(str(value)): wide for value, wide in enumerate(WIDE)}) if random.random() < 0.4 else year
    if short and random.random() < 0.5:
        return (random.choice((letter, chr(ord(letter) + 0xFEE0))) + year,)
    return (f"{name}{'元' if year in ('1', '１') and random.random() < 0.5 else year}年",)


def business_days(holidays: set[str], *, new_year: bool) -> list[date]:
    days = (date(2029, 1, 1) + timedelta(days=n) for n in range(1500))
    off = ("12-29", "12-30", "12-31", "01-01", "01-02", "01-03") if new_year else ()
    return [day for day in days if day.isoweekday() < 6 and f"{day}" not in holidays and f"{day}"[5:] not in off]


def later_day(start: str, days: int, holidays: set[str]) -> str:
    open_days = business_days(holidays, new_year=False)
    return str(open_days[bisect_right(open_days, date.fromisoformat(start)) + days - 1])


def moved_day(start: str, days: int, holidays: set[str]) -> str:
    open_days, day = business_days(holidays, new_year=True), date.fromisoformat(start)
    if days > 0:
        return str(open_days[bisect_right(open_days, day) + days - 1])
    return str(open_days[bisect_left(open_days, day) + days])


def some_day(random: Random, low: int, high: int) -> Arguments:
    start = date(2030, 11, 20) + timedelta(days=random.randrange(100))
    near = [str(start + timedelta(days=random.randint(-9, 9))) for _ in range(random.randrange(5))]
    return str(start), random.randint(low, high), set(near)


def first_out(lots: Sequence[tuple[str, int]], quantity: int, on: str = "") -> list[tuple[str, int]]:
    pieces = sorted(expiry for expiry, stock in lots for _ in range(stock) if expiry >= on)
    if len(pieces) < quantity:
        raise ValueError
    return sorted(Counter(pieces[:quantity]).items())


def some_lots(random: Random, *, twice: bool) -> Arguments:
    days = [f"2031-0{random.randint(1, 9)}-{random.randint(10, 14)}" for _ in range(random.randrange(6))]
    lots = [(day, random.randrange(6)) for day in (days if twice else sorted(set(days), key=days.index))]
    lots += [(day, random.randrange(4)) for day in days[:2]] if twice else []
    return (lots, random.randint(1, 12), *(["2031-05-12"] if twice else []))


def alarms(values: Sequence[float | None], on: float, off: float, minimum: int = 1) -> list[tuple[int, int]]:
    states = [False]
    for value in values:
        states.append(states[-1] if value is None else value >= off if states[-1] else value >= on)
    places = (list(own) for state, own in groupby(range(len(values)), key=lambda n: states[n + 1]) if state)
    return [(own[0], own[-1]) for own in places if len(own) >= minimum]


def some_values(random: Random, *, gaps: bool) -> Arguments:
    signs: list[float | None] = [6.0, 7.5, 8.0, 9.0, 9.9, 10.0, 12.0, *([None, None] if gaps else [])]
    values = [random.choice(signs) for _ in range(random.randrange(15))]
    return (values, 10.0, 8.0, *([random.randint(1, 4)] if gaps else []))


def clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def minute_of(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


def free(bookings: Sequence[tuple[str, str]], opens: str, closes: str, minutes: int, buffer: int = 0) -> list[Any]:
    day = range(minute_of(opens), minute_of(closes))
    used: set[int] = set()
    for start, end in bookings:
        first, last = minute_of(start), minute_of(end)
        if set(range(first, last)) & set(day):
            used |= set(range(first - buffer, last + buffer))
    runs = [list(own) for is_used, own in groupby(day, key=lambda minute: minute in used) if not is_used]
    return [(clock(own[0]), clock(own[-1] + 1)) for own in runs if len(own) >= minutes]


def some_bookings(random: Random, *, buffer: bool) -> Arguments:
    starts = [random.randrange(0, 1200, 5) for _ in range(random.randrange(6))]
    bookings = [(clock(start), clock(start + random.choice((15, 30, 60, 120)))) for start in starts]
    opens = random.randrange(0, 600, 15)
    closes = clock(opens + random.choice((120, 480, 660)))
    return (
        bookings,
        clock(opens),
        closes,
        random.choice((1, 10, 45)),
        *([random.choice((0, 10, 20))] if buffer else []),
    )


NINE = "一二三四五六七八九"


def kanji(value: int) -> str:
    def below(part: int) -> str:
        digits = [(int(digit), unit) for digit, unit in zip(f"{part:04d}", ("千", "百", "十", ""), strict=True)]
        return "".join(("" if digit == 1 and unit else NINE[digit - 1]) + unit for digit, unit in digits if digit)

    upper, lower = divmod(value, 10000)
    return (below(upper) + "万" if upper else "") + below(lower)


KANJI = re.compile("(?:(.+)万)?(?:(.)?(千))?(?:(.)?(百))?(?:(.)?(十))?(.)?")


def from_kanji(text: str) -> int:
    found = KANJI.fullmatch(text)
    if found is None:
        raise ValueError
    units = [((found[n], found[n + 1]), value) for n, value in ((2, 1000), (4, 100), (6, 10))]
    ones = NINE.index(found[8]) + 1 if found[8] else 0
    below = sum((NINE.index(digit) + 1 if digit else 1) * value for (digit, unit), value in units if unit) + ones
    return below + (from_kanji(found[1]) * 10000 if found[1] else 0)


def address(text: str) -> str:
    """Walks from 丁目 both ways."""
    for middle in (match.start() for match in re.finditer("丁目", text)):
        begin = middle
        while begin and text[begin - 1] in NINE + "十百千万":
            begin -= 1
        block, lot, rest = text[middle + 2 :].partition("番")
        house, number, rest = rest.partition("号")
        parts = text[begin:middle], block, house
        if lot and number and all(part and set(part) <= set(NINE + "十百千万") for part in parts):
            return text[:begin] + "-".join(str(from_kanji(part)) for part in parts) + rest
    return text


def some_address(random: Random) -> Arguments:
    town = random.choice(("八重町", "青波市三崎町", "千代田町", "百草"))
    part = "{}丁目{}番{}号".format(*(kanji(random.randint(1, 120)) for _ in range(3)))
    part = random.choice((part, part, part, "三番地", part.replace("号", "")))
    return (town + part + random.choice(("", " 二葉荘十二号室", "　万代ビル三階")),)


def check_digit(number: str) -> str:
    weighted = sum(int(digit) * weight for digit, weight in zip(number, (3, 2, 7, 6, 5, 4, 3, 2), strict=True))
    return number + next((str(digit) for digit in range(10) if (weighted + digit) % 11 == 0), "0")


def repaired(code: str) -> list[str]:
    swapped = {code[:n] + code[n : n + 2][::-1] + code[n + 2 :] for n in range(8)} - {code}
    return sorted(own for own in swapped if own == check_digit(own[:-1]))


def nearly_right(random: Random) -> Arguments:
    code = list(check_digit(f"{random.randrange(10**8):08d}"))
    place = random.randrange(8)
    code[place : place + 2] = code[place : place + 2][::-1]
    return ("".join(code),)


def loads(jobs: Sequence[tuple[int, int, int]]) -> list[int]:
    return [sum(watts for start, end, watts in jobs if start <= minute < end) for minute in range(61)]


def peak(jobs: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    found = loads(jobs)
    return max(found), found.index(max(found))


def over(jobs: Sequence[tuple[int, int, int]], limit: int) -> list[tuple[int, int]]:
    found = loads(jobs)
    runs = [list(own) for is_over, own in groupby(range(61), key=lambda minute: found[minute] > limit) if is_over]
    return [(own[0], own[-1] + 1) for own in runs]


def some_jobs(random: Random, *, limit: bool) -> Arguments:
    starts = [random.randrange(50) for _ in range(random.randint(1, 6))]
    jobs = [(start, random.randint(start + 1, 60), random.choice((100, 200, 300))) for start in starts]
    return (jobs, *([random.choice((0, 100, 300, 500))] if limit else []))


def wrapped(text: str, width: int) -> list[str]:
    return re.findall(rf".{{{width}}}[、。」）]|.{{1,{width}}}", text)


def wrapped_with_brackets(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text] if text else []
    cut = width
    while cut and text[cut - 1] in "「（":
        cut -= 1
    if cut in (0, width):
        cut = width + (text[width] in "、。」）")
    return [text[:cut], *wrapped_with_brackets(text[cut:], width)]


def some_text(random: Random) -> Arguments:
    return some(random, "あいうえ、。「（」）", 14), random.randint(2, 5)


TWINS = {
    ("1001", 1): Twin("normalize_phone", lambda r: written_number(r, 20), phone),
    ("1001", 2): Twin("normalize_phone", lambda r: written_number(r, 18), valid_phone),
    ("1002", 1): Twin("to_western_year", lambda r: era_year(r, False), western_year),
    ("1002", 2): Twin("to_western_year", lambda r: era_year(r, True), western_year),
    ("1003", 1): Twin("add_business_days", lambda r: some_day(r, 1, 30), later_day),
    ("1003", 2): Twin("add_business_days", lambda r: some_day(r, -20, 20), moved_day),
    ("1004", 1): Twin("allocate", lambda r: some_lots(r, twice=False), first_out),
    ("1004", 2): Twin("allocate", lambda r: some_lots(r, twice=True), first_out),
    ("1005", 1): Twin("alarm_periods", lambda r: some_values(r, gaps=False), alarms),
    ("1005", 2): Twin("alarm_periods", lambda r: some_values(r, gaps=True), alarms),
    ("1006", 1): Twin("free_slots", lambda r: some_bookings(r, buffer=False), free),
    ("1006", 2): Twin("free_slots", lambda r: some_bookings(r, buffer=True), free),
    ("1007", 1): Twin("kanji_to_int", lambda r: (kanji(r.randint(1, 10 ** r.randint(1, 8) - 1)),), from_kanji),
    ("1007", 2): Twin("normalize_block", some_address, address),
    ("1008", 1): Twin("add_check_digit", lambda r: (f"{r.randrange(10**8):08d}",), check_digit),
    ("1008", 2): Twin("repair", nearly_right, repaired),
    ("1009", 1): Twin("peak_power", lambda r: some_jobs(r, limit=False), peak),
    ("1009", 2): Twin("over_limit", lambda r: some_jobs(r, limit=True), over),
    ("1010", 1): Twin("wrap", some_text, wrapped),
    ("1010", 2): Twin("wrap", some_text, wrapped_with_brackets),
}
