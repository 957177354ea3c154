"""Reasoning with plans and rules: by trying every order, month, rule for each case, cause or set of true sentences."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, permutations, product
from typing import Any

from edgellm.evals.mt_bench_ja.references.facts import Answers, between, only, said, whole
from edgellm.evals.mt_bench_ja.references.reasoning import Rules

ANSWERS = Answers()
Turns = Sequence[str]
DAYS = "月火水木金土日"


def shortest_minutes(turns: Turns, changed: Mapping[str, int]) -> int:
    """By every order in which tasks can be put into the plan of two people, each at the first time where it fits."""
    said(turns[0], "二人で講演会の会場を準備します", "どの作業も一人で行い")
    tasks = re.findall(r"^(\S+?)：(\d+)分(?:（(\S+?)が終わってから）)?", turns[0], re.M)
    minutes = {**{name: int(own) for name, own, _ in tasks}, **changed}
    after = {name: before for name, _, before in tasks if before}
    return min(planned(order, minutes, after) for order in permutations(minutes) if allowed(order, after))


def allowed(order: Sequence[str], after: Mapping[str, str]) -> bool:
    return all(order.index(before) < order.index(name) for name, before in after.items())


def planned(order: Sequence[str], minutes: Mapping[str, int], after: Mapping[str, str], people: int = 2) -> int:
    busy: list[tuple[int, int]] = []
    ends: dict[str, int] = {}
    for name in order:
        earliest = ends[after[name]] if name in after else 0
        starts = sorted({earliest, *(end for _, end in busy if end > earliest)})
        start = next(at for at in starts if room(busy, at, at + minutes[name], people))
        ends[name] = start + minutes[name]
        busy.append((start, ends[name]))
    return max(ends.values())


def room(busy: Sequence[tuple[int, int]], start: int, end: int, people: int) -> bool:
    moments = [start, *(begin for begin, _ in busy if start < begin < end)]
    return all(sum(begin <= moment < stop for begin, stop in busy) < people for moment in moments)


@ANSWERS.to(1046, 1)
def preparation_minutes(turns: Turns) -> int:
    return shortest_minutes(turns, {})


@ANSWERS.to(1046, 2)
def preparation_saved(turns: Turns) -> int:
    return shortest_minutes(turns, {}) - shortest_minutes(
        turns, {"資料の袋詰め": whole(turns[1], "その作業だけが{}分")}
    )


def weekday_of_first(turns: Turns) -> int:
    """By every month of a century that is as the text says."""
    said(turns[0], "31日まである月", "金曜日、土曜日、日曜日がどれも5回")
    months = (monthrange(year, month) for year in range(2000, 2100) for month in range(1, 13))
    return only(
        first
        for first, days in months
        if days == 31 and all(counted(first, days, DAYS.index(day)) == 5 for day in "金土日")
    )


def counted(first: int, days: int, weekday: int) -> int:
    return sum((first + day) % 7 == weekday for day in range(days))


@ANSWERS.to(1047, 1)
def weekday_of_the_25th(turns: Turns) -> str:
    said(turns[0], "この月の25日は何曜日")
    return DAYS[(weekday_of_first(turns) + 24) % 7] + "曜日"


@ANSWERS.to(1047, 2)
def days_between_collections(turns: Turns) -> int:
    said(
        turns[1],
        "翌月は30日まで",
        "第1と第3の水曜日",
        "第2と第4の月曜日",
        "2回目の資源ごみの日から、2回目の不燃ごみの日まで",
    )
    first = (weekday_of_first(turns) + 31) % 7
    wednesdays, mondays = ([day for day in range(1, 31) if (first + day - 1) % 7 == DAYS.index(own)] for own in "水月")
    return mondays[3] - wednesdays[2]


def households(text: str) -> dict[int, str]:
    return {int(own): words for own, words in re.findall(r"^(\d)番：(.*)$", text, re.M)}


def entitled(words: str, *, before_school: bool, landlord: bool) -> bool:
    """`before_school`: whether children up to six count, as in the second turn. `landlord`: agrees where none did."""
    ages = [int(age) for age in re.findall(r"(\d+)(?:歳|代)", words)]
    old = min(ages) >= 65
    young = any(age < 6 or (before_school and age == 6) for age in ages)
    rented_badly = "借家" in words and "承諾はない" in words and not landlord
    paid_already = "前に助成を受け" in words and "引っ越した" not in words
    return (old or young) and not rented_badly and not paid_already


@ANSWERS.to(1048, 1)
def who_is_entitled(turns: Turns) -> str:
    said(
        turns[0],
        "全員が65歳以上の世帯",
        "6歳未満の子がいる世帯",
        "家主の承諾がなければ",
        "町内で引っ越した世帯は、この限りでない",
    )
    found = households(between(turns[0], "五世帯が申し込み"))
    return "、".join(f"{n}番" for n, words in found.items() if entitled(words, before_school=False, landlord=False))


@ANSWERS.to(1048, 2)
def paid_in_all(turns: Turns) -> int:
    said(
        turns[1],
        "小学校に入る前の子",
        "3分の2（100円未満は切り捨て）とし、2万円を上限",
        "上限を3万円",
        "2番の子は小学校に入る前",
        "5番は家主の承諾を得ました",
    )
    total = 0
    for n, words in households(between(turns[0], "五世帯が申し込み")).items():
        if entitled(words, before_school=n == 2, landlord=n == 5):
            old = min(int(age) for age in re.findall(r"(\d+)(?:歳|代)", words)) >= 65
            total += min(whole(turns[1], f"{n}番が{{}}円") * 2 // 3 // 100 * 100, 30000 if old else 20000)
    return total


KINDS = ["機械", "材料", "金型", "班"]
Trial = tuple[tuple[str, ...], bool]  # what was used, in the order of KINDS, and whether it came out bad


def trials(text: str) -> list[Trial]:
    found = re.findall(r"機械は(.)、材料は(.)、金型は(.)、班は(.) → (不良|良品)", text)
    return [(tuple(own[:4]), own[4] == "不良") for own in found]


def causes(seen: Sequence[Trial], together: int) -> list[str]:
    """Every choice of so many conditions of different kinds that explains each trial."""
    names = [sorted({used[kind] for used, _ in seen}) for kind in range(len(KINDS))]
    return [
        "と".join(f"{KINDS[kind]}の{value}" for kind, value in zip(kinds, values, strict=True))
        for kinds in combinations(range(len(KINDS)), together)
        for values in product(*(names[kind] for kind in kinds))
        if all(bad == all(used[k] == v for k, v in zip(kinds, values, strict=True)) for used, bad in seen)
    ]


@ANSWERS.to(1049, 1)
def one_cause(turns: Turns) -> str:
    return only(causes(trials(turns[0]), 1))


@ANSWERS.to(1049, 2)
def two_causes(turns: Turns) -> str:
    seen = trials(turns[0]) + trials(turns[1])
    if causes(seen, 1):
        raise ValueError("one cause still explains all trials")
    return only(causes(seen, 2))


CARD_RULES: Rules = {  # a world says of each card whether it is right
    "札1：札1と札5の文は、両方とも正しいか、両方とも誤りである": lambda w: w[0] == w[4],
    "札2：五枚のうち、正しい文が書かれた札はちょうど三枚である": lambda w: sum(w) == 3,
    "札3：札2と札3の文のうち、正しいのは一つだけである": lambda w: w[1] != w[2],
    "札4：札3と札5の文のうち、正しいのは一つだけである": lambda w: w[2] != w[4],
    "札5：札4の文は正しい": lambda w: w[3],
}
CHANGED = "札3：札2の文は誤りである"


def right_cards(rules: Sequence[Callable[[Any], bool]]) -> str:
    worlds = product((False, True), repeat=len(rules))
    world = only(own for own in worlds if all(own[n] == rule(own) for n, rule in enumerate(rules)))
    return "、".join(str(n) for n, right in enumerate(world, 1) if right)


@ANSWERS.to(1050, 1)
def cards(turns: Turns) -> str:
    said(turns[0], *CARD_RULES)
    return right_cards(list(CARD_RULES.values()))


@ANSWERS.to(1050, 2)
def cards_with_one_changed(turns: Turns) -> str:
    said(turns[1], CHANGED)
    rules = list(CARD_RULES.values())
    rules[2] = lambda w: not w[1]
    return right_cards(rules)
