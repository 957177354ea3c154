"""Questions, analyses and answers that tiny-ja is tuned on, from `tiny_ja_facts.txt` and patterns.

    python tools/tiny_ja_instructions.py        prints thirty samples

Every record of the table becomes one or more lessons; a lesson has several wordings of one question, one
sentence of analysis that names the kind of question and what it asks for, and one answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

FACTS = Path(__file__).with_name("tiny_ja_facts.txt")

Lessons = dict[str, list["Lesson"]]


@dataclass(frozen=True)
class Lesson:
    """One fact: the wordings of the question (without a final 。 or ？), the analysis and the answer."""

    questions: tuple[str, ...]
    analysis: str
    answer: str


@dataclass(frozen=True)
class Pattern:
    """Sentences with {0}, {1}, … in place of a record's fields."""

    questions: tuple[str, ...]
    analysis: str
    answer: str

    def lesson(self, *fields: str) -> Lesson:
        return Lesson(
            tuple(q.format(*fields) for q in self.questions),
            self.analysis.format(*fields),
            self.answer.format(*fields),
        )


# Sections of the table whose records are taken as they stand.
PLAIN: dict[str, Pattern] = {
    "capitals": Pattern(
        (
            "{0}の首都はどこですか",
            "{0}の首都はどこ",
            "{0}の首都を教えてください",
            "{0}の首都は何という都市ですか",
            "{0}の首都の名前は何ですか",
            "{0}の首都を知っていますか",
        ),
        "首都の質問。{0}は{1}。",
        "{0}の首都は{1}です。",
    ),
    "readings": Pattern(
        (
            "「{0}」は何と読みますか",
            "「{0}」の読み方を教えてください",
            "{0}は何と読みますか",
            "「{0}」をひらがなで書いてください",
            "「{0}」の読みは何ですか",
        ),
        "漢字の読みの質問。{0}は{1}。",
        "「{0}」は「{1}」と読みます。",
    ),
    "colours": Pattern(
        (
            "{0}は何色ですか",
            "{0}の色は何ですか",
            "{0}はどんな色をしていますか",
            "{0}の色を教えてください",
        ),
        "色の質問。{0}は{1}。",
        "{0}の色は{1}です。",
    ),
    "cries": Pattern(
        (
            "{0}は何と鳴きますか",
            "{0}の鳴き声を教えてください",
            "{0}はどう鳴きますか",
            "{0}の鳴き声はどんな声ですか",
        ),
        "鳴き声の質問。{0}は{1}。",
        "{0}は「{1}」と鳴きます。",
    ),
    "counters": Pattern(
        (
            "{0}はどう数えますか",
            "{0}の数え方を教えてください",
            "{0}は何と数えますか",
            "{0}を数えるときは何と言いますか",
        ),
        "数え方の質問。{0}は{1}。",
        "{0}は{1}と数えます。",
    ),
    "tools": Pattern(
        (
            "{0}は何に使いますか",
            "{0}は何をするときに使いますか",
            "{0}の使い道を教えてください",
            "{0}は何のための物ですか",
            "{0}はどんなときに使いますか",
        ),
        "使い道の質問。{0}は{1}とき。",
        "{0}は{1}ときに使います。",
    ),
    "kinds": Pattern(
        (
            "{0}は何の仲間ですか",
            "{0}は何の一種ですか",
            "{0}はどの種類に入りますか",
            "{0}は何に分けられますか",
        ),
        "種類の質問。{0}は{1}。",
        "{0}は{1}の一種です。",
    ),
    "advice": Pattern(
        (
            "{0}ときはどうすればいいですか",
            "{0}のですが、どうしたらいいでしょうか",
            "{0}ときの助言をください",
            "{0}のですが、よい方法はありますか",
            "{0}とき、何をしたらいいですか",
        ),
        "助言の依頼。{0}とき。",
        "{1}",
    ),
    "definitions": Pattern(
        (
            "{0}とは何ですか",
            "{0}とは何",
            "{0}って何ですか",
            "{0}の意味を教えてください",
            "{0}とはどういうものですか",
            "{0}について説明してください",
        ),
        "言葉の意味の質問。{0}を説明する。",
        "{0}とは、{1}",
    ),
    "polite": Pattern(
        (
            "「{0}」を丁寧に言ってください",
            "「{0}」を丁寧な言い方に直してください",
            "「{0}」は丁寧に言うとどうなりますか",
            "「{0}」を敬語にしてください",
        ),
        "言い換えの依頼。「{0}」を丁寧に言う。",
        "「{0}」は丁寧に言うと「{1}」です。",
    ),
    "compositions": Pattern(
        (
            "{0}について短く書いてください",
            "{0}についての短い文章を書いてください",
            "{0}という題で短い作文を書いてください",
            "{0}の文章を書いてください",
            "{0}をテーマに短く書いてください",
        ),
        "作文の依頼。題は{0}。",
        "{1}",
    ),
}
OPPOSITE = Pattern(
    (
        "「{0}」の反対は何ですか",
        "「{0}」の反対の言葉を教えてください",
        "{0}の反対は",
        "「{0}」の対義語は何ですか",
        "「{0}」の逆は何ですか",
    ),
    "反対の言葉の質問。{0}は{1}。",
    "「{0}」の反対は「{1}」です。",
)
# Fields of the next three: prefecture, seat of its government, region, name of the government office.
PREFECTURE_SEAT = Pattern(
    (
        "{0}の{3}所在地はどこですか",
        "{0}の{3}所在地を教えてください",
        "{0}の{3}はどこにありますか",
        "{0}の{3}がある所はどこですか",
        "{0}の{3}所在地は",
    ),
    "{3}所在地の質問。{0}は{1}。",
    "{0}の{3}所在地は{1}です。",
)
CITY_PREFECTURE = Pattern(
    ("{1}はどの都道府県にありますか", "{1}がある都道府県はどこですか", "{1}はどこの都道府県の町ですか"),
    "都道府県の質問。{1}は{0}。",
    "{1}は{0}にあります。",
)
PREFECTURE_REGION = Pattern(
    ("{0}は何地方にありますか", "{0}はどの地方ですか", "{0}は日本のどの地方にありますか"),
    "地方の質問。{0}は{2}。",
    "{0}は{2}地方にあります。",
)
# Fields of the next two: a member of a circle, its neighbour, what the members are called.
NEXT = Pattern(
    ("{0}の次は何ですか", "{0}の次の{2}は何ですか", "{0}の後に来る{2}は何ですか", "{0}の次は"),
    "順番の質問。{0}の次は{1}。",
    "{0}の次は{1}です。",
)
BEFORE = Pattern(
    ("{0}の前は何ですか", "{0}の前の{2}は何ですか", "{0}の前に来る{2}は何ですか", "{0}のひとつ前は"),
    "順番の質問。{0}の前は{1}。",
    "{0}の前は{1}です。",
)
MONTH_SEASON = Pattern(
    ("{0}の季節は何ですか", "{0}はどの季節ですか", "{0}は季節でいうといつですか"),
    "季節の質問。{0}は{1}。",
    "日本では、{0}は{1}です。",
)
SUM = Pattern(
    (
        "{0}たす{1}はいくつですか",
        "{0}たす{1}は",
        "{0}+{1}は",
        "{0}と{1}を足すといくつですか",
        "{0}+{1}を計算してください",
    ),
    "足し算。{0}たす{1}は{2}。",
    "{0}たす{1}は{2}です。",
)
COUNT = Pattern(
    ("一から{0}まで数えてください", "{0}まで数えてください", "一から{0}までの数を言ってください"),
    "数える依頼。一から{0}まで。",
    "{1}。",
)
# Fields: two things in the order asked, the one that is more so, the adjective.
COMPARISON = Pattern(
    (
        "{0}と{1}ではどちらが{3}ですか",
        "{0}と{1}はどちらが{3}ですか",
        "{3}のは{0}と{1}のどちらですか",
        "{0}と{1}を比べると、どちらが{3}ですか",
    ),
    "比べる質問。{3}のは{2}。",
    "{2}のほうが{3}です。",
)
NUMERALS = ("一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二")
SEASONS = ("春", "夏", "秋", "冬")
WEEKDAYS = tuple(f"{day}曜日" for day in "月火水木金土日")
MONTHS = tuple(f"{numeral}月" for numeral in NUMERALS)

# How often a section is drawn: short talk and free text count for more than their number of records.
WEIGHTS = {
    "talk": 14,
    "capitals": 8,
    "prefectures": 12,
    "opposites": 12,
    "readings": 10,
    "colours": 4,
    "cries": 3,
    "counters": 3,
    "order": 5,
    "tools": 6,
    "kinds": 6,
    "advice": 6,
    "definitions": 10,
    "polite": 4,
    "compositions": 9,
    "calendar": 5,
    "numbers": 7,
}

# Some of these are wordings of the patterns above, for a fact that is taught in its other wordings only;
# the rest are worded as nothing that is taught.
HELD_OUT = (
    "フランスの首都はどこですか",
    "カナダの首都を教えてください",
    "エジプトの首都は何という都市ですか",
    "ブラジルの首都といえばどこでしょう",
    "神奈川県の県庁所在地はどこですか",
    "沖縄県の県庁所在地を教えてください",
    "盛岡市はどの都道府県にありますか",
    "愛媛県は何地方にありますか",
    "「大きい」の反対は何ですか",
    "「成功」の対義語は何ですか",
    "「安全」と反対の意味の言葉を言ってください",
    "「図書館」は何と読みますか",
    "「地震」の読み方を教えてください",
    "レモンは何色ですか",
    "犬は何と鳴きますか",
    "猫はどんなふうに鳴きますか",
    "本はどう数えますか",
    "火曜日の次は何ですか",
    "夏の次の季節は何ですか",
    "3たす4はいくつですか",
    "8と7を足すといくつですか",
    "象とねずみではどちらが大きいですか",
    "はさみは何に使いますか",
    "ピアノは何の仲間ですか",
    "眠れないときはどうすればいいですか",
    "虹とは何ですか",
    "辞書とはどんなものか教えてください",
    "「待って」を丁寧に言ってください",
    "春について短く書いてください",
    "あなたの名前を教えてください",
)


def held_out_questions() -> list[str]:
    """Thirty questions that `pairs` never yields, whatever their final mark, but that its lessons answer."""
    return [question + ("。" if question.endswith("さい") else "？") for question in HELD_OUT]


def records(path: Path = FACTS) -> dict[str, list[list[str]]]:
    """Sections of the table: name → records → fields."""
    sections: dict[str, list[list[str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            section.extend(record.split("=") for record in line.split())
    return sections


def office(prefecture: str) -> str:
    """What the seat of a prefecture's government is called: 都庁, 道庁, 府庁 or 県庁."""
    return prefecture[-1] + "庁"


def prefecture_lessons(table: list[list[str]]) -> list[Lesson]:
    lessons = []
    for prefecture, city, region in table:
        lessons.append(PREFECTURE_SEAT.lesson(prefecture, city, region, office(prefecture)))
        lessons.append(CITY_PREFECTURE.lesson(prefecture, city))
        if prefecture != region:
            lessons.append(PREFECTURE_REGION.lesson(prefecture, city, region))
    return lessons


def comparison_lessons(table: list[list[str]]) -> list[Lesson]:
    lessons = []
    for more, less, ladder in table:
        for upper, lower in combinations(ladder.split("/"), 2):
            lessons += [COMPARISON.lesson(a, b, upper, more) for a, b in ((upper, lower), (lower, upper))]
            lessons += [COMPARISON.lesson(a, b, lower, less) for a, b in ((upper, lower), (lower, upper))]
    return lessons


def calendar_lessons() -> list[Lesson]:
    lessons = []
    for name, circle in (("季節", SEASONS), ("曜日", WEEKDAYS), ("月", MONTHS)):
        for here, following in zip(circle, circle[1:] + circle[:1], strict=True):
            lessons += [NEXT.lesson(here, following, name), BEFORE.lesson(following, here, name)]
    # March is the first month of spring.
    lessons += [MONTH_SEASON.lesson(month, SEASONS[(i - 2) // 3 % 4]) for i, month in enumerate(MONTHS)]
    return lessons


def number_lessons() -> list[Lesson]:
    lessons = [SUM.lesson(str(a), str(b), str(a + b)) for a in range(1, 10) for b in range(1, 10)]
    lessons += [COUNT.lesson(NUMERALS[i], "、".join(NUMERALS[: i + 1])) for i in range(2, 10)]
    return lessons


def all_lessons() -> Lessons:
    """Every lesson by section; the sections are those of `WEIGHTS`."""
    table = records()
    lessons: Lessons = {name: [shape.lesson(*row) for row in table[name]] for name, shape in PLAIN.items()}
    lessons["talk"] = [Lesson(tuple(q.split("/")), analysis, answer) for q, analysis, answer in table["talk"]]
    lessons["opposites"] = [OPPOSITE.lesson(*pair) for a, b in table["opposites"] for pair in ((a, b), (b, a))]
    lessons["prefectures"] = prefecture_lessons(table["prefectures"])
    lessons["order"] = comparison_lessons(table["order"])
    lessons["calendar"] = calendar_lessons()
    lessons["numbers"] = number_lessons()
    return lessons


def final_marks(question: str) -> tuple[str, ...]:
    """The marks that may end a question as people type it."""
    if question.endswith("か"):
        return ("？", "。", "")
    if question.endswith(("は", "何", "どこ", "誰")):
        return ("？", "")
    return ("。", "")


def pairs(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Endless (question, analysis, answer), drawn by section weight, then evenly over its lessons."""
    lessons = all_lessons()
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    held_out = set(HELD_OUT)
    while True:
        lesson = rng.choice(lessons[rng.choices(names, weights)[0]])
        question = rng.choice(lesson.questions)
        if question not in held_out:
            yield question + rng.choice(final_marks(question)), lesson.analysis, lesson.answer


if __name__ == "__main__":
    for (question, analysis, answer), _ in zip(pairs(random.Random()), range(30), strict=False):
        print(f"問: {question}\n分析: {analysis}\n答: {answer}\n")
