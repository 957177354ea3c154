"""Extraction, first half: programs that read minutes, records, notices, orders and logs out of the questions' texts."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from edgellm.evals.mt_bench_ja.references.facts import (
    NUMBER,
    Answers,
    Unclear,
    between,
    fact,
    number,
    only,
    said,
    whole,
)

ANSWERS = Answers()
Turns = Sequence[str]
Rows = list[list[str]]
FIRST_YEARS = {"昭和": 1926, "平成": 1989, "令和": 2019}
WEEKDAYS = "月火水木金土日"


def clock(text: str) -> str:
    """午後三時, 午後四時二十分, 夕方の六時, 昼の一時半 on a clock of 24 hours."""
    found = re.search(rf"(朝の?|午前|昼の|午後|夕方の){NUMBER}時(?:{NUMBER}分|(半))?", text)
    if not found:
        raise Unclear(f"no time in {text}")
    hours = int(number(found[2])) + (12 if found[1] in ("昼の", "午後", "夕方の") else 0)
    return f"{hours:02d}:{30 if found[4] else int(number(found[3])) if found[3] else 0:02d}"


def plain(value: Fraction) -> str:
    """51.5, 42."""
    return f"{float(value):g}"


def memo(turns: Turns) -> str:
    return between(turns[0], "【メモ】", "【形】")


def meeting_day(turns: Turns) -> date:
    era, year, month, day = only(re.findall(rf"(令和){NUMBER}年{NUMBER}月{NUMBER}日の月曜日", memo(turns)))
    found = date(FIRST_YEARS[era] + int(number(year)) - 1, int(number(month)), int(number(day)))
    if found.weekday():
        raise Unclear(f"{found} is no Monday")
    return found


def family_names(text: str) -> list[str]:
    return re.findall(r"(?:の|^|と|、)(..)(?:課長|主任|係長|主査)", text)


@ANSWERS.to(1011, 1)
def meeting(turns: Turns) -> dict[str, Any]:
    text = memo(turns)
    return {
        "日付": meeting_day(turns).isoformat(),
        "開始": clock(between(text, "月曜日、", "に本庁舎")),
        "終了": clock(between(text, "予定より十分早い", "に終わった")),
        "出席": family_names(between(text, "出席したのは、", "である")),
        "欠席": family_names(between(text, "である。", "は別の用務で欠席")),
    }


@ANSWERS.to(1011, 2)
def homework(turns: Turns) -> Rows:
    text, day = memo(turns), meeting_day(turns)
    month, of_month = only(re.findall(rf"次回は{NUMBER}月{NUMBER}日", text))
    following = date(day.year, int(number(month)), int(number(of_month)))
    due = {
        "今月末まで": day.replace(day=monthrange(day.year, day.month)[1]),
        "会議のちょうど一週間後まで": day + timedelta(days=7),
        "次回の前日まで": following - timedelta(days=1),
    }
    tasks = re.findall(r"(..)(?:課長|主任|係長)は、([^。]*)。", text)
    rows = [[name, only(own for words, own in due.items() if words in what).isoformat()] for name, what in tasks]
    return [["担当", "期限"], *sorted(rows, key=lambda row: row[1])]


MISSING = "欠測"
PUMPS = "一二三四五"


def pump_rows(turns: Turns) -> Rows:
    text = between(turns[0], "【記録】")
    parts = {own: part for own, part in re.findall(r"([一二三四五])号機(?:は|の|が)(.*?)(?=。[二三四五]号機|$)", text)}
    rows: dict[str, list[Fraction | None]] = {}
    for own in PUMPS:
        part = parts[own]
        if "どちらも測っていない" in part:
            rows[own] = [None, None]
            continue
        first = rows.get("一", [])
        heat = first[0] if "一号機より" in part else Fraction(0)
        heat_found = re.search(rf"(?:軸受が|温度計は|一号機より){NUMBER}(?:度|℃)", part)
        shaking: Fraction | None
        if "測れなかった" in part:
            shaking = None
        elif found := re.search(rf"一号機のちょうど({'|'.join(PUMPS)})倍", part):
            shaking = (first[1] or Fraction(0)) * number(found[1])
        else:
            value, unit = only(re.findall(rf"毎秒{NUMBER}(ミリ|メートル)", part))
            shaking = number(value) * (1000 if unit == "メートル" else 1)
        if heat is None or not heat_found:
            raise Unclear(f"no temperature in {part}")
        rows[own] = [heat + number(heat_found[1]), shaking]
    return [
        [str(n), *(MISSING if value is None else plain(value) for value in rows[own])]
        for n, own in enumerate(PUMPS, 1)
    ]  # fmt: skip


@ANSWERS.to(1012, 1)
def pumps(turns: Turns) -> Rows:
    return [["号機", "軸受温度（℃）", "振動（mm/s）"], *pump_rows(turns)]


@ANSWERS.to(1012, 2)
def judged_pumps(turns: Turns) -> Rows:
    hot, shaken = fact(turns[1], "軸受温度が{}以上"), fact(turns[1], "振動が{}以上")

    def verdict(row: list[str]) -> str:
        bounds = zip(row[1:], (hot, shaken), strict=True)
        if any(value != MISSING and Fraction(value) >= bound for value, bound in bounds):
            return "要確認"
        return "再測定" if MISSING in row else "良好"

    head, *rows = pumps(turns)
    return [[*head, "判定"], *([*row, verdict(row)] for row in rows)]


EVENTS = ("古紙の回収", "公園の草取り", "防災訓練", "敬老のつどい")


def notice_rows(turns: Turns, weeding_moved: bool) -> Rows:
    text = between(turns[0], "【回覧】")
    items = {name: between(text, f"・{name}は、", "\n" if name != EVENTS[-1] else "") for name in EVENTS}
    sunday = whole(items["公園の草取り"], "{}日の日曜日")
    weekday = {day: WEEKDAYS[(day - sunday - 1) % 7] for day in range(1, 32)}
    ordinal = whole(items["古紙の回収"], "第{}土曜日")
    days = {
        "古紙の回収": [day for day in weekday if weekday[day] == "土"][ordinal - 1],
        "公園の草取り": sunday + (7 if weeding_moved else 0),
        "防災訓練": sunday + whole(items["防災訓練"], "予定日の{}日後"),
        "敬老のつどい": whole(items["敬老のつどい"], "{}日の休日"),
    }
    said(text, "雨のときは、次の日曜日の同じ時刻", "草取りが延びても、訓練の日は変わりません")
    return [
        [str(days[name]), weekday[days[name]], clock(items[name]), name]
        for name in sorted(EVENTS, key=days.__getitem__)
    ]


HEAD_OF_EVENTS = ["日", "曜日", "開始", "行事"]


@ANSWERS.to(1013, 1)
def events(turns: Turns) -> Rows:
    return [HEAD_OF_EVENTS, *notice_rows(turns, weeding_moved=False)]


@ANSWERS.to(1013, 2)
def events_after_rain(turns: Turns) -> tuple[Rows, int]:
    """The table, and the fee for the five."""
    said(turns[1], "七十八歳の母、七十四歳の父、四十代の夫婦、八歳の子の五人")
    text = turns[0]
    fee, free_from = whole(text, "お一人{}円"), whole(text, "{}歳以上の方")
    said(text, "小学生以下のお子さんはいただきません")
    paying = [age for age in (78, 74, 40, 40, 8) if 12 < age < free_from]
    return [HEAD_OF_EVENTS, *notice_rows(turns, weeding_moved=True)], fee * len(paying)


def ordered(text: str) -> dict[str, int]:
    """Of the first mail."""
    said(text, "ばね座金は、平座金と同じ枚数", "防錆油は、今回は見送ります", "六角ボルトはやはり一箱増やして")
    washers = whole(text, "平座金を{}枚")
    return {
        "六角ボルト": (whole(text, "（M8）を{}箱") + 1) * whole(text, "一箱{}本入り"),
        "平座金": washers,
        "ばね座金": washers,
        "Oリング": whole(text, "Ｏリングを{}ダース") * 12 - whole(text, "そこから{}個減らして"),
        "グリス": whole(text, "銘柄を{}本"),
    }


@ANSWERS.to(1014, 1)
def order(turns: Turns) -> list[dict[str, Any]]:
    return [{"品名": name, "数量": n} for name, n in ordered(between(turns[0], "【メール】", "【形】")).items()]


@ANSWERS.to(1014, 2)
def order_as_changed(turns: Turns) -> list[dict[str, Any]]:
    text = between(turns[1], "【メール】")
    said(text, "ばね座金は先にお願いした枚数のまま", "Ｏリングは、", "減らさずに", "グリスは半分で足ります")
    found = ordered(first := between(turns[0], "【メール】", "【形】"))
    found |= {
        "平座金": whole(text, "平座金を{}枚に改めます"),
        "Oリング": whole(first, "Ｏリングを{}ダース") * 12,
        "グリス": found["グリス"] // 2,
        "防錆油": whole(text, "防錆油を{}本"),
    }
    return [{"品名": name, "数量": n} for name, n in found.items()]


def measured(turns: Turns) -> list[tuple[str, str, Fraction]]:
    """(time in Japan, sensor, ℃) in order of time."""
    said(turns[0], "ERR と 999.9C は測定の失敗", "「再送」と付いた行も")
    found = []
    for line in between(turns[0], "【ログ】").strip("`\n ").split("\n"):
        moment, sensor, value, *more = line.split()
        if more or value in ("ERR", "999.9C"):
            continue
        local = datetime.fromisoformat(moment.replace("Z", "+00:00")) + timedelta(
            hours=9 if moment.endswith("Z") else 0
        )
        degrees = Fraction(value[:-1])
        celsius = {"C": degrees, "F": (degrees - 32) * 5 / 9, "K": degrees - Fraction("273.15")}[value[-1]]
        found.append((f"{local:%H:%M}", sensor, celsius))
    return sorted(found)


@ANSWERS.to(1015, 1)
def temperatures(turns: Turns) -> Rows:
    return [
        ["時刻", "センサー", "温度"],
        *([time, sensor, f"{float(value):.1f}"] for time, sensor, value in measured(turns)),
    ]


@ANSWERS.to(1015, 2)
def summary(turns: Turns) -> dict[str, dict[str, Any]]:
    said(turns[1], "小数第2位を四捨五入")
    found = {}
    for name in ("A", "B"):
        own = [(value, time) for time, sensor, value in measured(turns) if sensor == name]
        mean = sum(value for value, _ in own) / len(own)
        highest = only(one for one in own if one[0] == max(own)[0])
        tenths = (mean * 10 + Fraction(1, 2)) // 1
        found[name] = {
            "件数": len(own), "平均": tenths / 10, "最高": float(highest[0]), "最高の時刻": highest[1],
        }  # fmt: skip
    return found
