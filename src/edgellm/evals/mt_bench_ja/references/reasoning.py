"""Reasoning: every possible world is made, and those are kept that fit what the question's text says.

Each condition is written beside the sentence of the text that it stands for. An answer counts only where all worlds
that are left give the same one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise, permutations, product
from typing import Any, TypeVar

from edgellm.evals.mt_bench_ja.references.facts import Answers, between, only, said

ANSWERS = Answers()
Turns = Sequence[str]
World = TypeVar("World")
Rules = Mapping[str, Callable[[Any], bool]]  # the sentence in the text → whether it holds in a world


def fitting(text: str, worlds: Iterable[World], rules: Rules) -> list[World]:
    said(text, *rules)
    return [world for world in worlds if all(holds(world) for holds in rules.values())]


QUEUE = ["青木", "井上", "上田", "江川", "大西"]
NOT_LAST = "上田さんは、いちばん後ろではない"
QUEUE_RULES: Rules = {
    "井上さんは、青木さんのすぐ後ろにいる": lambda row: row.index("井上") == row.index("青木") + 1,
    "上田さんは、江川さんより後ろにいる": lambda row: row.index("上田") > row.index("江川"),
    "大西さんは、江川さんより前にいる": lambda row: row.index("大西") < row.index("江川"),
    NOT_LAST: lambda row: row[-1] != "上田",
    "青木さんは、先頭ではない": lambda row: row[0] != "青木",
}


@ANSWERS.to(1041, 1)
def third_in_the_queue(turns: Turns) -> str:
    said(turns[0], "前から三番目")
    return only(row[2] for row in fitting(turns[0], permutations(QUEUE), QUEUE_RULES))


@ANSWERS.to(1041, 2)
def queues_without_one_rule(turns: Turns) -> int:
    said(turns[1], f"四つ目の「{NOT_LAST}」だけは", "残りの四つの条件")
    rules = {sentence: rule for sentence, rule in QUEUE_RULES.items() if sentence != NOT_LAST}
    return len(fitting(turns[0], permutations(QUEUE), rules))


def who_left_it_open(turns: Turns, right: int) -> str:
    """By what each of the five says, read from the text."""
    spoken = re.findall(r"^(..)「(.*?)。」$", turns[0], re.M)

    def true(statement: str, culprit: str) -> bool:
        named = re.findall(r"(..)さん", statement)
        return (culprit not in named) if statement.endswith("ではありません") else (culprit in named)

    people: list[str] = [name for name, _ in spoken]
    return only(own for own in people if sum(true(words, own) for _, words in spoken) == right)


@ANSWERS.to(1042, 1)
def one_is_wrong(turns: Turns) -> str:
    said(turns[0], "四人の話は正しく、一人の話だけが間違っています")
    return who_left_it_open(turns, right=4)


@ANSWERS.to(1042, 2)
def one_is_right(turns: Turns) -> str:
    said(turns[1], "一人の話だけが正しく、残りの四人の話がすべて間違っていた")
    return who_left_it_open(turns, right=1)


WORKERS = ["相田", "馬場", "千葉", "土井", "遠藤", "藤井"]
DAY, EARLY, LATE = 0, 0, 1  # a place is (day, early or late)
SHIFT_RULES: Rules = {
    "相田さんと馬場さんは同じ日で、馬場さんが遅番": lambda w: w["相田"][DAY] == w["馬場"][DAY] and w["馬場"][1] == LATE,
    "土井さんは早番で、相田さんより後の日": lambda w: w["土井"][1] == EARLY and w["土井"][DAY] > w["相田"][DAY],
    "千葉さんは早番で、藤井さんより前の日": lambda w: w["千葉"][1] == EARLY and w["千葉"][DAY] < w["藤井"][DAY],
}
TUESDAY = 1


def on_shift(text: str, place: tuple[int, int], endo: Rules, where: str) -> str:
    worlds = [dict(zip(WORKERS, own, strict=True)) for own in permutations(product(range(3), (EARLY, LATE)))]
    said(where, *endo)
    left = [world for world in fitting(text, worlds, SHIFT_RULES) if all(rule(world) for rule in endo.values())]
    return only(name for world in left for name in WORKERS if world[name] == place)


@ANSWERS.to(1043, 1)
def late_on_tuesday(turns: Turns) -> str:
    said(turns[0], "火曜の遅番は誰ですか")
    endo: Rules = {"遠藤さんは遅番で、火曜ではない": lambda w: w["遠藤"][1] == LATE and w["遠藤"][DAY] != TUESDAY}
    return on_shift(turns[0], (TUESDAY, LATE), endo, turns[0])


@ANSWERS.to(1043, 2)
def early_on_tuesday(turns: Turns) -> str:
    said(turns[1], "火曜の早番は誰")
    endo: Rules = {"遠藤さんは火曜の遅番": lambda w: w["遠藤"] == (TUESDAY, LATE)}
    return on_shift(turns[0], (TUESDAY, EARLY), endo, turns[1])


def known_to(side: int, places: Iterable[str]) -> set[str]:
    """The places that somebody recognises who was told the column (0) or the row (1) alone."""
    all_places = list(places)
    return {own for own in all_places if sum(other[side] == own[side] for other in all_places) == 1}


COLUMN, ROW = 0, 1


def shelves(turns: Turns) -> set[str]:
    said(turns[0], "列だけを中村さんに、段だけを小林さんに")
    return set(re.findall(r"[A-D][1-5]", between(turns[0], "どこかにあります。", "店長は")))


@ANSWERS.to(1044, 1)
def shelf(turns: Turns) -> str:
    places = shelves(turns)
    said(turns[0], "小林さんにもわからないことだけは確かです", "もうわかりました", "それなら、私にもわかりました")
    by_row, by_column = known_to(ROW, places), known_to(COLUMN, places)
    columns_without = {own[COLUMN] for own in places} - {own[COLUMN] for own in by_row}
    heard = {own for own in places - by_column if own[COLUMN] in columns_without}
    then = known_to(ROW, heard) - by_row
    return only(known_to(COLUMN, then))


@ANSWERS.to(1044, 2)
def other_shelf(turns: Turns) -> str:
    said(turns[1], "小林「私には場所がわかりません", "私にもわかりません", "それなら、私にはわかりました")
    heard = shelves(turns)
    heard -= known_to(ROW, heard)
    heard -= known_to(COLUMN, heard)
    return only(known_to(ROW, heard))


HOUSES = ["阿部", "石川", "宇野", "榎本", "小田", "加藤"]
NORTH, WEST = 0, 0  # a place is (side of the street, from the west)


def beside(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) == 1


def opposite(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] != other[0] and one[1] == other[1]


HOUSE_RULES: Rules = {
    "阿部家は、北側の西の端にある": lambda w: w["阿部"] == (NORTH, WEST),
    "石川家と宇野家は、向かい合っている": lambda w: opposite(w["石川"], w["宇野"]),
    "榎本家は、阿部家と同じ側のすぐ隣にある": lambda w: beside(w["榎本"], w["阿部"]),
    "小田家は、石川家と同じ側のすぐ隣にある": lambda w: beside(w["小田"], w["石川"]),
}


def street(turns: Turns) -> dict[str, tuple[int, int]]:
    worlds = (dict(zip(HOUSES, own, strict=True)) for own in permutations(product(range(2), range(3))))
    return only(fitting(turns[0], worlds, HOUSE_RULES))


@ANSWERS.to(1045, 1)
def opposite_house(turns: Turns) -> str:
    said(turns[0], "小田家の向かい")
    places = street(turns)
    return only(name for name in HOUSES if opposite(places[name], places["小田"]))


@ANSWERS.to(1045, 2)
def fifth_house(turns: Turns) -> str:
    said(turns[1], "阿部家から始め", "最後に受け取るのが石川家", "五番目に受け取る")
    places = street(turns)
    routes = [
        own for own in permutations(HOUSES)
        if own[0] == "阿部" and own[-1] == "石川"
        and all(beside(places[a], places[b]) or opposite(places[a], places[b]) for a, b in pairwise(own))
    ]  # fmt: skip
    return only(own[4] for own in routes)
