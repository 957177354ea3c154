"""Numbers in Japanese text: 1,234.5、１２万３千、三分の二、25%、1.2×10^3、十二 … with the unit that follows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

LONGEST = 60  # characters of a number; what repeats without end is none
_DIGITS = {"〇": 0, "零": 0, "一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_SMALL = {"十": 10, "百": 100, "千": 1000}
_LARGE = {"万": 10**4, "億": 10**8, "兆": 10**12}
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_POWER = (
    r"(?:\s*[×x*]\s*10\s*\^\s*\{?\s*(?P<power>[-+]?\d+)\s*\}?|[eE](?P<exponent>[-+]?\d+)"
    r"|\^\{?(?P<raised>\d{1,3})\}?)"
)
_ARABIC = re.compile(
    rf"(?P<sign>(?<![\d\w)])[-+▲△]\s*|マイナス\s*)?"
    rf"(?:(?P<under>{_PLAIN})\s*分の\s*(?P<over>{_PLAIN})"
    rf"|(?P<number>(?:{_PLAIN}\s*[千百]?[兆億万]\s*|\d+[千百])*(?:{_PLAIN})?)"
    rf"(?:{_POWER})?(?:\s*/\s*(?P<below>{_PLAIN}))?)"
)
_KANJI = re.compile(r"[〇零一二三四五六七八九十百千万億兆]+(?:\.[〇零一二三四五六七八九]+)?")
_KANJI_FRACTION = re.compile(r"([一二三四五六七八九十百]{1,8})分の([一二三四五六七八九十百]{1,8})")
_PART = re.compile(rf"({_PLAIN})?\s*([千百]?)([兆億万千])?")
_DATES = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}:\d{2}(?!\d)|\d+(?:-\d+){2,}")
# x2, B5: part of a name; but the 50 of 2m50cm is none.
_IN_NAME = re.compile(r"(?<![\dA-Za-z])[A-Za-z_]+$|(?<=\d)(?!(?:k|c|m)?[mgl]$|h$)[A-Za-z_]+$")
# Words that begin like numbers, and are none.
_WORDS = re.compile(
    r"一番|一般|一方|一部|一緒|一応|一度|一旦|一致|一定|一切|十分|万一|万が一|千葉|三重|三角|四角|二次|一次|一覧|一律|唯一|統一|均一|"
    r"同一|第一|一気|一層|一見|一種|一連|百貨|八百屋|四捨五入|四則|一様|一辺|千切|二重|一般|四国|九州|五輪"
)
_FAMILIES: Sequence[dict[str, Fraction]] = [
    {"秒": Fraction(1), "分": Fraction(60), "時間": Fraction(3600), "分間": Fraction(60), "秒間": Fraction(1)},
    {"mm": Fraction(1), "ミリ": Fraction(1), "cm": Fraction(10), "センチ": Fraction(10), "m": Fraction(1000),
     "メートル": Fraction(1000), "km": Fraction(10**6), "キロメートル": Fraction(10**6),
     "センチメートル": Fraction(10), "ミリメートル": Fraction(1)},
    {"mg": Fraction(1, 1000), "g": Fraction(1), "グラム": Fraction(1), "kg": Fraction(1000),
     "キログラム": Fraction(1000), "t": Fraction(10**6), "トン": Fraction(10**6), "キロ": Fraction(1000)},
    {"ml": Fraction(1), "mL": Fraction(1), "ミリリットル": Fraction(1), "dl": Fraction(100), "dL": Fraction(100),
     "l": Fraction(1000), "L": Fraction(1000), "リットル": Fraction(1000)},
    {"%": Fraction(1, 100), "パーセント": Fraction(1, 100), "割": Fraction(1, 10)},
]  # fmt: skip
_SPELLINGS = {
    "円": ("円", "¥", "yen", "JPY"), "%": ("%", "パーセント"), "時間": ("時間", "h"), "分": ("分", "分間", "min"),
    "m2": ("m2", "平方メートル"), "cm2": ("cm2", "平方センチメートル"), "m3": ("m3", "立方メートル"),
    "cm3": ("cm3", "立方センチメートル"),
}  # fmt: skip
_KNOWN = sorted({name for family in _FAMILIES for name in family}, key=len, reverse=True)
_OTHER = re.compile(
    r"[kcm]?m[23](?![0-9])|平方|立方|円|人|個|本|枚|台|冊|匹|頭|羽|回|件|名|歳|才|日|週間|か月|ヶ月|カ月|年|月|時|点|桁|行|列|文字|号|丁目|℃|度|杯|階|位|番|つ|箱|袋|組|種類|通り|ポイント"
)


@dataclass(frozen=True)
class Amount:
    value: Fraction
    start: int
    end: int
    after: str  # the text that follows, to find the unit in
    before: str
    of_range: bool = False  # an end of 300~400, which states no number

    def unit(self) -> str:
        """The unit that follows, as far as it is known here; empty for none."""
        text = self.after.lstrip()
        if self.before.rstrip().endswith("¥"):
            return "円"
        for name in _KNOWN:
            if _starts(text, name):
                return name
        return found[0] if (found := _OTHER.match(text)) else ""

    def has(self, unit: str) -> bool:
        text = self.after.lstrip(" (")
        names = _SPELLINGS.get(unit, (unit,))
        return (
            any(_starts(text, name) for name in names)
            or (unit == "円" and self.before.rstrip().endswith("¥"))
            or (unit == "$" and self.before.rstrip().endswith("$"))
        )


def _starts(text: str, unit: str) -> bool:
    """Whether the unit stands there as a whole: m is no beginning of ml, 分 none of 分の."""
    if not text.lower().startswith(unit.lower()):
        return False
    rest = text[len(unit) :]
    return not (unit.isascii() and unit.isalpha() and re.match(r"[A-Za-z]|[23](?!\d)", rest)) and not (
        unit == "分" and rest.startswith("の")
    )


def of_family(unit: str) -> dict[str, Fraction]:
    return next((family for family in _FAMILIES if unit in family), {})


def amounts(text: str, unit: str = "") -> list[Amount]:
    """Every number of a text whose full-width signs were made narrow, in order.

    Kanji numerals count where they can be nothing else: several of them together, or one before `unit`.
    """
    found: list[Amount] = []
    taken = 0
    for match in _candidates(text, unit):
        value, start, end = match
        if start >= taken:
            found.append(Amount(value, start, end, text[end : end + 12], text[max(0, start - 4) : start]))
            taken = end
    return _with_ranges(_compound(found, text), text)


def _candidates(text: str, unit: str) -> list[tuple[Fraction, int, int]]:
    found = []
    dated = {place for date in _DATES.finditer(text) for place in range(*date.span())}
    for match in _ARABIC.finditer(text):
        if match.start() in dated:
            continue
        if not re.search(r"\d", match[0]) or len(match[0]) > LONGEST:
            continue
        if _IN_NAME.search(text[max(0, match.start() - LONGEST) : match.start()]):
            continue
        if (value := _arabic(match)) is not None:
            end = match.start() + len(match[0].rstrip())
            found.append((value, match.start(), end))
    for match in _KANJI_FRACTION.finditer(text):
        found.append((Fraction(_kanji(match[2]), _kanji(match[1])), match.start(), match.end()))
    words = {place for word in _WORDS.finditer(text) for place in range(*word.span())}
    for match in _KANJI.finditer(text):
        if len(match[0]) > LONGEST or match.start() in words:
            continue
        if match.start() and text[match.start() - 1].isdigit():
            continue
        followed = bool(unit) and text[match.end() :].startswith(unit)
        sure = len(match[0]) > 1 and not set(match[0]) <= set(_LARGE)
        if followed or sure or match[0] == text.strip(" 。です"):
            found.append((_kanji(match[0]), match.start(), match.end()))
    return sorted(found, key=lambda one: (one[1], -one[2]))


def _arabic(match: re.Match[str]) -> Fraction | None:
    if match["under"]:
        under = _number(match["under"])
        value = _number(match["over"]) / under if under else None
    else:
        value = _mixed(match["number"])
        if value is not None and (power := match["power"] or match["exponent"]):
            value = value * Fraction(10) ** int(power) if len(power) < 4 else None
        if value is not None and match["raised"]:
            value = value ** int(match["raised"])
        if value is not None and match["below"]:
            below = _number(match["below"])
            value = value / below if below else None
    negative = (match["sign"] or "").strip() in ("-", "▲", "△", "マイナス")
    return None if value is None else -value if negative else value


def _number(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def _mixed(text: str) -> Fraction | None:
    """12万3,456, 1.5億, 3千万: digits with characters for powers of ten."""
    total = Fraction(0)
    for digits, small, large in _PART.findall(text):
        if not digits:
            if small or large:
                return None
            continue
        total += _number(digits) * ({"": 1} | _SMALL)[small] * ({"": 1} | _LARGE | _SMALL)[large]
    return total if re.search(r"\d", text) else None


def _kanji(text: str) -> Fraction:
    whole, _, part = text.partition(".")
    value = _kanji_whole(whole)
    return value + Fraction(int("".join(str(_DIGITS[one]) for one in part)), 10 ** len(part)) if part else value


def _kanji_whole(text: str) -> Fraction:
    if all(one in _DIGITS for one in text):
        return Fraction(int("".join(str(_DIGITS[one]) for one in text)))
    total = section = digit = 0
    for one in text:
        if one in _DIGITS:
            digit = digit * 10 + _DIGITS[one]
        elif one in _SMALL:
            section += (digit or 1) * _SMALL[one]
            digit = 0
        else:
            total += (section + digit or 1) * _LARGE[one]
            section = digit = 0
    return Fraction(total + section + digit)


def _compound(found: list[Amount], text: str) -> list[Amount]:
    """1時間30分, 2m50cm: several numbers of falling units that are one amount, counted in the last unit."""
    joined: list[Amount] = []
    for one in found:
        last = joined[-1] if joined else None
        if last is not None:
            unit, mine = last.unit(), one.unit()
            family = of_family(unit)
            between = text[last.end : one.start].strip()
            if mine in family and between == unit and family[unit] > family[mine]:
                value = last.value * family[unit] / family[mine] + one.value
                joined[-1] = Amount(value, last.start, one.end, one.after, last.before)
                continue
        joined.append(one)
    return joined


def _with_ranges(found: list[Amount], text: str) -> list[Amount]:
    marked = set()
    for first, second in pairwise(found):
        between = text[first.end : second.start].strip()
        if re.fullmatch(rf"(?:{re.escape(first.unit())})?\s*(?:~|から|ないし)\s*(?:約|¥)?", between):
            marked |= {first.start, second.start}
    return [
        Amount(one.value, one.start, one.end, one.after, one.before, one.start in marked) for one in found
    ]  # fmt: skip
