"""Mathematics: each answer by exact arithmetic, or by trying every case, from the numbers in the question's text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations, count, product
from math import ceil, comb, floor

from edgellm.evals.mt_bench_ja.references.facts import Answers, Unclear, fact, number, only, said, whole

ANSWERS = Answers()
Turns = Sequence[str]
DAYS = "月火水木金土日"
MINUTES_A_DAY = 24 * 60


def water_boxes(turns: Turns, people: Fraction, days: Fraction) -> int:
    litres = fact(turns[0], "一日{}リットルを") * people * days
    return ceil(litres / (fact(turns[0], "、{}リットル入り") * fact(turns[0], "ペットボトルが{}本")))


@ANSWERS.to(1031, 1)
def boxes(turns: Turns) -> int:
    return water_boxes(turns, fact(turns[0], "、{}人家族"), fact(turns[0], "を{}日分"))


@ANSWERS.to(1031, 2)
def price_of_more_boxes(turns: Turns) -> int:
    said(turns[1], "一人一日の量と箱の中身は変わりません", "先ほど求めた数の箱はすでに買ってあります")
    all_boxes = water_boxes(turns, fact(turns[1], "なって{}人家族"), fact(turns[1], "蓄えも{}日分"))
    return (all_boxes - boxes(turns)) * whole(turns[1], "1箱{}円")


def pieces_in(turns: Turns, second: Fraction) -> int:
    """The least number that leaves enough good ones, found by going up from none too many."""
    share = fact(turns[0], "第一工程が{}％") / 100 * second / 100 * fact(turns[0], "第三工程が{}％") / 100
    wanted = fact(turns[0], "良品を{}個以上")
    return next(pieces for pieces in count(floor(wanted)) if pieces * share >= wanted)


@ANSWERS.to(1032, 1)
def pieces(turns: Turns) -> int:
    return pieces_in(turns, fact(turns[0], "第二工程が{}％"))


@ANSWERS.to(1032, 2)
def material_saved(turns: Turns) -> int:
    fewer = pieces(turns) - pieces_in(turns, fact(turns[1], "だけが{}％"))
    return fewer * whole(turns[1], "材料費が{}円")


@ANSWERS.to(1033, 1)
def takt_seconds(turns: Turns) -> Fraction:
    begin, end = (
        whole(turns[0], f"{{}}時{minutes}分{word}") * 60 + minutes for word, minutes in (("に始業", 30), ("に終業", 30))
    )
    breaks = fact(turns[0], "昼休みが{}分") + fact(turns[0], "、{}分の休憩") * fact(turns[0], "休憩が{}回")
    return (end - begin - breaks) * 60 / fact(turns[0], "1日に{}台")


@ANSWERS.to(1033, 2)
def balance_percent(turns: Turns) -> Fraction:
    work = fact(turns[1], "合わせて{}分12秒") * 60 + 12
    takt = takt_seconds(turns)
    return rounded(100 * work / (ceil(work / takt) * takt), 1)


def rounded(value: Fraction, places: int) -> Fraction:
    """Half up, as 四捨五入."""
    return Fraction(floor(value * 10**places + Fraction(1, 2)), 10**places)


def bill(turns: Turns, cubic_metres: int) -> int:
    text = turns[0]
    said(text, "1〜20 m³", "21〜40 m³", "41 m³以上", "10％を加え、1円未満を切り捨て")
    rates = [number(rate) for rate in re.findall(r"1 m³につき([0-9]+)円", text)]
    used = [min(cubic_metres, 20), min(max(cubic_metres - 20, 0), 20), max(cubic_metres - 40, 0)]
    before_tax = fact(text, "基本料金：{}円") + sum(rate * own for rate, own in zip(rates, used, strict=True))
    return floor(before_tax * Fraction(11, 10))


@ANSWERS.to(1034, 1)
def bill_of_use(turns: Turns) -> int:
    return bill(turns, whole(turns[0], "使用量が{} m³"))


@ANSWERS.to(1034, 2)
def bill_less(turns: Turns) -> int:
    billed = whole(turns[1], "請求額は、{}円")
    said(turns[1], "3分の2に減らす")
    used = only(own for own in range(1000) if bill(turns, own) == billed)
    if used * 2 % 3:
        raise Unclear(f"two thirds of {used} m³ are no whole number")
    return billed - bill(turns, used * 2 // 3)


def current_ma(turns: Turns, minutes: int) -> Fraction:
    text = turns[0]
    busy = fact(text, "1回に{}秒")
    sleeping = fact(text, "時間は{} mA")
    return (fact(text, "5秒間は{} mA") * busy + sleeping * (60 * minutes - busy)) / (60 * minutes)


@ANSWERS.to(1035, 1)
def battery_days(turns: Turns) -> int:
    return floor(fact(turns[0], "電気量は{} mAh") / current_ma(turns, whole(turns[0], "送信は{}分ごと")) / 24)


@ANSWERS.to(1035, 2)
def interval_minutes(turns: Turns) -> int:
    hours = fact(turns[1], "替えずに{}日以上") * 24
    charge = fact(turns[0], "電気量は{} mAh")
    return next(minutes for minutes in count(1) if charge / current_ma(turns, minutes) >= hours)


def arriving_and_served(turns: Turns) -> tuple[Fraction, Fraction]:
    """People a minute who come, and whom one counter serves, from two equations: served × counters - arriving."""
    text = turns[0]
    waiting = fact(text, "すでに{}人")
    few, many = fact(text, "窓口を{}つ開くと60分"), fact(text, "、{}つ開くと20分")
    served = (waiting / 20 - waiting / 60) / (many - few)
    return served * few - waiting / 60, served


@ANSWERS.to(1036, 1)
def queue_minutes(turns: Turns) -> Fraction:
    said(turns[0], "窓口を4つ開くと、開いてから何分")
    arriving, served = arriving_and_served(turns)
    return fact(turns[0], "すでに{}人") / (4 * served - arriving)


@ANSWERS.to(1036, 2)
def queue_with_a_broken_terminal(turns: Turns) -> Fraction:
    said(turns[1], "先ほどと同じでした。この日は3つの窓口", "1つを閉じ", "合わせて6つ")
    arriving, served = arriving_and_served(turns)
    waiting, minutes = fact(turns[0], "すでに{}人"), Fraction(0)
    for counters, during in ((3, fact(turns[1], "、{}分後に端末")), (2, fact(turns[1], "さらにその{}分後"))):
        waiting -= (counters * served - arriving) * during
        minutes += during
        if waiting <= 0:
            raise Unclear("the queue is gone before the last change")
    return minutes + waiting / (6 * served - arriving)


@ANSWERS.to(1037, 1)
def found_with_four(turns: Turns) -> Fraction:
    """By looking at every way to take some of the box."""
    pieces_, bad = whole(turns[0], "部品が{}個"), whole(turns[0], "不良品が{}個")
    ways = list(combinations(range(pieces_), whole(turns[0], "無作為に{}個")))
    return Fraction(sum(min(way) < bad for way in ways), len(ways))


@ANSWERS.to(1037, 2)
def fewest_to_take(turns: Turns) -> int:
    pieces_, bad = whole(turns[0], "部品が{}個"), whole(turns[0], "不良品が{}個")
    wanted = fact(turns[1], "確率を{}％以上") / 100
    return next(n for n in count(1) if 1 - Fraction(comb(pieces_ - bad, n), comb(pieces_, n)) >= wanted)


def intervals(turns: Turns) -> list[int]:
    return [whole(turns[0], f"{name}{{}}日ごと") for name in ("ポンプを", "弁を", "ろ過器を")]


def days_until_all(turns: Turns) -> int:
    return next(day for day in count(1) if not any(day % interval for interval in intervals(turns)))


@ANSWERS.to(1038, 1)
def weekday_of_all(turns: Turns) -> str:
    said(turns[0], "ある月曜日に、三つの点検がすべて重なりました")
    return DAYS[days_until_all(turns) % 7] + "曜日"


@ANSWERS.to(1038, 2)
def days_with_any(turns: Turns) -> int:
    last = days_until_all(turns)
    return sum(any(day % interval == 0 for interval in intervals(turns)) for day in range(1, last + 1))


@ANSWERS.to(1039, 1)
def concentrate(turns: Turns) -> Fraction:
    return fact(turns[0], "濃度{}％") / 100 * fact(turns[0], "切削液を{}リットル")


@ANSWERS.to(1039, 2)
def water_to_add(turns: Turns) -> Fraction:
    volume = fact(turns[1], "全体を{}リットル")
    oil = concentrate(turns) * fact(turns[1], "量の{}倍")
    left = volume - fact(turns[1], "この液を{}リットル")
    oil *= left / volume
    left -= fact(turns[1], "水だけが{}リットル")
    return oil / (fact(turns[0], "濃度{}％") / 100) - left


def cheapest(turns: Turns, people: int, most: int, price: Callable[[int, int, int], int]) -> int:
    """Over every number of large, middle and small buses up to what carries all people in one size alone."""
    seats = [whole(turns[0], f"{{}}人乗りの{size}") for size in ("大型", "中型", "小型")]
    numbers = product(*(range(ceil(Fraction(people, own)) + 1) for own in seats))
    return min(
        price(*buses)
        for buses in numbers
        if sum(buses) <= most and sum(n * own for n, own in zip(buses, seats, strict=True)) >= people
    )


@ANSWERS.to(1040, 1)
def buses_price(turns: Turns) -> int:
    large, middle, small = (whole(turns[0], f"{size}が1台{{}}円") for size in ("大型", "中型", "小型"))
    people = whole(turns[0], "旅行に{}人")
    return cheapest(turns, people, people, lambda a, b, c: large * a + middle * b + small * c)


@ANSWERS.to(1040, 2)
def buses_price_with_few_drivers(turns: Turns) -> int:
    large, middle, small = (whole(turns[0], f"{size}が1台{{}}円") for size in ("大型", "中型", "小型"))
    reduced, many = whole(turns[1], "すべてが1台{}円"), whole(turns[1], "中型は{}台以上")
    return cheapest(
        turns, whole(turns[1], "参加者は{}人"), whole(turns[1], "全部で{}台まで"),
        lambda a, b, c: large * a + (reduced if b >= many else middle) * b + small * c,
    )  # fmt: skip
