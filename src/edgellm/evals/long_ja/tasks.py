"""What is hidden in a long text, and what is asked about it. Every answer is a number, so that it is scored exactly.

| task | hidden | asked |
|---|---|---|
| `single` | one sentence unlike all others | the number in it |
| `similar` | many sentences that differ in the place and the number | the number of one place |
| `combined` | a sentence that leads to another, far away | the number in the second |
| `count` | records of an inspection, with two kinds of finding | how many have the one kind |
| `sum` | donations, spread out | what they come to |
| `latest` | stocktakings of one store, not in the order of time | the number in the latest |
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgellm.evals.long_ja import words
from edgellm.evals.long_ja.words import listed

VERSION = 1  # raised when a sentence, a question or a drawing of numbers changes
DEPTHS = (0, 25, 50, 75, 100)  # percent of the text that stands before the needle
MOST_SIMILAR = 24
MOST_RECORDS = 12
# Words that the generated passages never use, so that nothing but a needle speaks of these things.
STORES = listed("第一書庫 第二書庫 第三書庫 地下書庫 西棟の金庫室 東棟の薬品庫 別館の資料室 屋上の観測室")
PROJECTS = listed(
    "すずかけ計画 みおつくし計画 あかつき計画 はるかぜ計画 つむぎ計画 しおさい計画 こもれび計画 いちばん星計画"
)
DONORS = listed(
    "渚書房 若竹薬局 桃山製菓 さくら湯 山彦時計店 青空写真館 千石豆腐店 三日月堂 竹馬洋品店 雪割酒造 "
    "入江鮮魚店 小町呉服店"
)
DEVICES = listed("消火栓 防火扉 救命胴衣 避難はしご 誘導標識 緊急通報器 担架 防潮扉 散水栓 救助袋 警報盤 投光器")


@dataclass(frozen=True)
class Needle:
    """A sentence, and where it stands: 0 at the beginning of the text, 1 at its end."""

    text: str
    depth: float


@dataclass(frozen=True)
class Puzzle:
    """What is hidden, what is asked, and the number that is right, with its unit."""

    needles: Sequence[Needle]
    question: str
    value: int
    unit: str = ""


def code(draw: random.Random) -> int:
    """Six digits; never the same number of a sentence of the passages, whose numbers have three at most."""
    return draw.randrange(100_000, 1_000_000)


def spread(count: int) -> list[float]:
    """Depths of `count` needles, evenly over the text."""
    return [(i + 0.5) / count for i in range(count)]


def single(draw: random.Random, depth: int, room: int) -> Puzzle:
    store, value = draw.choice(STORES), code(draw)
    return Puzzle(
        [Needle(f"なお、{store}を開けるための暗証番号は{value}である。", depth / 100)],
        f"{store}を開けるための暗証番号は何番ですか。",
        value,
    )


def similar(draw: random.Random, depth: int, room: int) -> Puzzle:
    """As many sentences of one kind as there is room for; the one that is asked about stands at `depth`."""
    count = min(MOST_SIMILAR, room)
    places = draw.sample(words.places(), count)
    values = draw.sample(range(100_000, 1_000_000), count)
    found = [Needle(f"{place}の書庫を開けるための暗証番号は{value}である。", at)
             for place, value, at in zip(places[1:], values[1:], spread(count - 1), strict=True)]  # fmt: skip
    found.append(Needle(f"{places[0]}の書庫を開けるための暗証番号は{values[0]}である。", depth / 100))
    return Puzzle(found, f"{places[0]}の書庫を開けるための暗証番号は何番ですか。", values[0])


def combined(draw: random.Random, depth: int, room: int) -> Puzzle:
    """The sentence that begins the chain stands at `depth`, the one that ends it half a text away. A second project
    with another person and number shows whether the two were really put together."""
    projects = draw.sample(PROJECTS, 2)
    people = draw.sample([f"{section}の{name}さん" for section in words.SECTIONS for name in words.SURNAMES], 2)
    values = draw.sample(range(100_000, 1_000_000), 2)
    begin, end = depth / 100, (depth / 100 + 0.5) % 1.0
    needles = [
        Needle(f"「{projects[0]}」の責任者に選ばれたのは、{people[0]}である。", begin),
        Needle(f"{people[0]}に渡された通行証の番号は{values[0]}である。", end),
        Needle(f"「{projects[1]}」の責任者に選ばれたのは、{people[1]}である。", 0.35),
        Needle(f"{people[1]}に渡された通行証の番号は{values[1]}である。", 0.65),
    ]
    return Puzzle(needles, f"「{projects[0]}」の責任者に渡された通行証の番号は何番ですか。", values[0])


def count(draw: random.Random, depth: int, room: int) -> Puzzle:
    total = min(MOST_RECORDS, room)
    bad = draw.randrange(2, total)
    findings = ["交換が必要"] * bad + ["異常なし"] * (total - bad)
    draw.shuffle(findings)
    devices = draw.sample(DEVICES, total)
    needles = [
        Needle(f"巡回点検の記録：{device}の判定は「{finding}」である。", at)
        for device, finding, at in zip(devices, findings, spread(total), strict=True)
    ]
    return Puzzle(needles, "巡回点検の記録で「交換が必要」と判定されたものは、全部でいくつありますか。", bad)


def total(draw: random.Random, depth: int, room: int) -> Puzzle:
    number = min(6, room)
    donors = draw.sample(DONORS, number)
    amounts = [1000 * draw.randrange(2, 50) for _ in donors]
    needles = [
        Needle(f"{donor}は、記念館の建設のために{amount:,}円を寄付した。", at)
        for donor, amount, at in zip(donors, amounts, spread(number), strict=True)
    ]
    return Puzzle(needles, "記念館の建設のための寄付は、合わせて何円ですか。", sum(amounts), "円")


def latest(draw: random.Random, depth: int, room: int) -> Puzzle:
    number = min(6, room)
    months = draw.sample(range(1, 13), number)
    values = draw.sample(range(1000, 10_000), number)
    needles = [
        Needle(f"記念館の棚卸し：令和八年{month}月末に残っていた絵はがきは{value}枚である。", at)
        for month, value, at in zip(months, values, spread(number), strict=True)
    ]
    newest = values[months.index(max(months))]
    return Puzzle(
        needles, "記念館の棚卸しのうち、日付が最も新しいものでは、残っていた絵はがきは何枚ですか。", newest, "枚"
    )


Maker = Callable[[random.Random, int, int], Puzzle]
AT_DEPTHS: Mapping[str, Maker] = {"single": single, "similar": similar, "combined": combined}
WHOLE_TEXT: Mapping[str, Maker] = {"count": count, "sum": total, "latest": latest}
