"""Rules of ours about how things are written: widths, digits, kanji, punctuation, dates and times."""

from __future__ import annotations

import re
import string

from edgellm.evals.ifeval_ja.rules.rule import Rule, one_of, positive, whole_number

HALF_WIDTH_MARKS = re.compile(f"[{re.escape(string.punctuation)}｡｢｣､･]")
KANJI = re.compile("[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff]")  # 々 〆 〇 too
DIGITS = {
    "半角": re.compile("[0-9]"),
    "全角": re.compile("[０-９]"),
    "漢数字": re.compile("[〇一二三四五六七八九十百千万]"),
}
ERA_DATE = re.compile(r"(?:令和|平成|昭和)(?:元|\d{1,2}|[〇一二三四五六七八九十]{1,3})年")
WESTERN_YEAR = re.compile(r"(?:19|20|１９|２０)\d\d\s*年|西暦")
DAY = re.compile(r"\d{1,2}月\d{1,2}日(（[月火水木金土日]）)?")
TIME = re.compile(r"(?<![\d:])(?:[01]\d|2[0-3]):[0-5]\d(?![\d:])")
TWELVE_HOURS = re.compile(r"午前|午後|(?<![A-Za-z])[AaPp]\.?[Mm]\b|\d時(?!間)")
# 学年別漢字配当表 (文部科学省, 小学校学習指導要領, in force since 2020): what the first two years of school teach.
TAUGHT = {
    1: "一右雨円王音下火花貝学気九休玉金空月犬見五口校左三山子四糸字耳七車手十出女小上森人水正生青夕石赤千川先早草足"
    "村大男竹中虫町天田土二日入年白八百文木本名目立力林六",
    2: "引羽雲園遠何科夏家歌画回会海絵外角楽活間丸岩顔汽記帰弓牛魚京強教近兄形計元言原戸古午後語工公広交光考行高黄合"
    "谷国黒今才細作算止市矢姉思紙寺自時室社弱首秋週春書少場色食心新親図数西声星晴切雪船線前組走多太体台地池知茶昼長"
    "鳥朝直通弟店点電刀冬当東答頭同道読内南肉馬売買麦半番父風分聞米歩母方北毎妹万明鳴毛門夜野友用曜来里理話",
}


def full_width_marks(text: str) -> bool:
    """No punctuation of ASCII and none of the half-width marks ｡｢｣､･."""
    return HALF_WIDTH_MARKS.search(text) is None


def digit_width(text: str, width: str) -> bool:
    """Numbers occur, and in this way of writing alone."""
    others = [DIGITS[name] for name in ("半角", "全角") if name != width]  # 一 is in many words that are no number
    return DIGITS[width].search(text) is not None and not any(digits.search(text) for digits in others)


def vertical(text: str) -> bool:
    """Safe for vertical setting: nothing that would lie on its side there, so numbers in kanji alone, and no Latin
    letters or marks of half width."""
    return re.search(r"[\x21-\x7e｡-ﾟ０-９Ａ-Ｚａ-ｚ]", text) is None


def kanji_share(text: str, percent: int, bound: str) -> bool:
    """Share of kanji among characters that are no white space."""
    visible = len("".join(text.split()))
    found = 100 * len(KANJI.findall(text))
    return found <= percent * visible if bound == "以下" else found >= percent * visible


def kanji_grade(text: str, grade: int) -> bool:
    """Kanji occur, and only those that school has taught by the end of this year (1 or 2)."""
    taught = set("".join(TAUGHT[year] for year in TAUGHT if year <= grade))
    used = set(KANJI.findall(text))
    return bool(used) and used <= taught


def era_dates(text: str, count: int) -> bool:
    """At least so many years of an era, and none of the Western calendar."""
    return len(ERA_DATE.findall(text)) >= count and WESTERN_YEAR.search(text) is None


def weekdays(text: str, count: int) -> bool:
    """At least so many dates 4月1日（水）, and none without its day of the week."""
    marks = DAY.findall(text)
    return len(marks) >= count and all(marks)


def clock(text: str, count: int) -> bool:
    """At least so many times as 09:30, and none with 午前, 午後 or 9時."""
    return len(TIME.findall(text)) >= count and TWELVE_HOURS.search(text) is None


def school_year(value: object) -> int:
    if value not in TAUGHT:
        raise ValueError("must be 1 or 2")
    return positive(value)


RULES = (
    Rule("edgellm:punctuation:full_width", full_width_marks),
    Rule("edgellm:letters:digit_width", digit_width, {"width": one_of(*DIGITS)}),
    Rule("edgellm:letters:vertical", vertical),
    Rule("edgellm:letters:kanji_share", kanji_share, {"percent": whole_number, "bound": one_of("以下", "以上")}),
    Rule("edgellm:letters:kanji_grade", kanji_grade, {"grade": school_year}),
    Rule("edgellm:notation:era_dates", era_dates, {"count": whole_number}),
    Rule("edgellm:notation:weekdays", weekdays, {"count": whole_number}),
    Rule("edgellm:notation:clock", clock, {"count": whole_number}),
)
