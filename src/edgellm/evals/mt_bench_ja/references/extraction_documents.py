"""Extraction, second half: programs that read a roll, a chronicle, rules with their amendment, shifts and a product."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from edgellm.evals.mt_bench_ja.references.extraction import FIRST_YEARS, Rows
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


def joined(numbers: Sequence[str]) -> str:
    return "-".join(str(int(number(one))) for one in numbers)


def block(text: str) -> tuple[str, str]:
    """(town and what is before it, block numbers) of an address in whatever spelling."""
    forms = (rf"^(.*?町){NUMBER}丁目{NUMBER}番地?{NUMBER}号?", rf"^(.*?町){NUMBER}の{NUMBER}の{NUMBER}")
    found = only(match for form in forms if (match := re.match(form, text)))
    return found[1], joined(found.groups()[1:])


def roll(turns: Turns) -> list[dict[str, str]]:
    people: list[dict[str, str]] = []
    for line in between(turns[0], "【名簿】").split("\n"):
        text = unicodedata.normalize("NFKC", line)[2:]
        reading = re.match(r"(\S+)\((..+?)・(..+?)\)", text)
        if reading:  # the reading tells where the given name begins; of these two names the family name is known by it
            family = {"やまぐち": "山口", "ささき": "佐々木"}[reading[2]]
            name = f"{family} {reading[1].removeprefix(family)}"
        else:
            name = " ".join(re.match(r"(\S+) (\S+)", text).groups())  # type: ignore[union-attr]
        codes = re.findall(r"(?<!\d)(\d{3})-?(\d{4})(?!\d)", text.split("TEL")[0].split("携帯")[0])
        code = people[-1]["code"] if "〒同上" in text else "-".join(only(codes))
        town, numbers = block(re.search(r"(?:青空県)?若葉市.*", text)[0])  # type: ignore[index]
        people.append({"name": name, "code": code, "town": "青空県" + town.removeprefix("青空県"), "numbers": numbers})
        people[-1]["phone"] = phone(text, people)
    return people


def phone(text: str, people: Sequence[dict[str, str]]) -> str:
    if "電話なし" in text:
        return ""
    if "市外局番と局番が田中さんと同じ" in text:
        digits = only(re.findall("末尾の四桁が([〇一二三四五六七八九]{4})", text))
        first = people[0]["phone"].rsplit("-", 1)[0]
        return first + "-" + "".join(str("〇一二三四五六七八九".index(one)) for one in digits)
    return "-".join(re.findall(r"(0\d{2,3})[-( ]*(\d{2,4})[-) ]*(\d{4})$", text.strip())[0])


@ANSWERS.to(1016, 1)
def people(turns: Turns) -> Rows:
    rows = [[own["name"], own["code"], own["town"] + own["numbers"], own["phone"]] for own in roll(turns)]
    return [["氏名", "郵便番号", "住所", "電話"], *rows]


@ANSWERS.to(1016, 2)
def people_of_one_town(turns: Turns) -> list[str]:
    said(turns[1], "港町に住む人だけ", "氏名 電話の末尾4桁")
    here = [own for own in roll(turns) if own["town"].endswith("港町")]
    here.sort(key=lambda own: [int(part) for part in own["numbers"].split("-")])
    return [f"{own['name']} {own['phone'][-4:]}" for own in here]


def chronicle(turns: Turns) -> dict[str, int]:
    text = between(turns[0], "【沿革】")
    opened = FIRST_YEARS["昭和"] - 1 + whole(text, "昭和{}年に町が開いた")
    said(
        text,
        "平成元年には移動図書館の車が町内を走り始めた",
        "その前の年には貸し出しの電算化",
        "元号が令和に改まった年",
        "休館は足かけ",
    )
    buses, again = FIRST_YEARS["平成"], FIRST_YEARS["令和"]
    return {
        "読書室の開設": opened,
        "新館の完成": opened + whole(text, "その{}年後には"),
        "電算化の完了": buses - 1,
        "移動図書館の開始": buses,
        "移動図書館の廃止": buses + whole(text, "走り始めてから{}年後"),
        "改修後の再開": again,
        "休館の開始": again - whole(text, "足かけ{}年") + 1,  # 足かけ counts the first and the last year as years
    }


def by_year(years: dict[str, int]) -> list[str]:
    return sorted(years, key=years.__getitem__)


@ANSWERS.to(1017, 1)
def chronicle_lines(turns: Turns) -> list[str]:
    years = chronicle(turns)
    asked = between(turns[0], "出来事：", "\n").split("、")
    return [f"{years[name]}：{name}" for name in by_year({name: years[name] for name in asked})]


@ANSWERS.to(1017, 2)
def chronicle_with_counts(turns: Turns) -> list[str]:
    said(turns[1], "「休館の開始」を加えて", "読書室を開設した年を1年目")
    years = chronicle(turns)
    return [f"{years[name]}：{name}（{years[name] - years['読書室の開設'] + 1}年目）" for name in by_year(years)]


HEAD_OF_LOANS = ["利用者", "資料", "上限", "貸出日数", "延長日数"]


def loans(text: str) -> Rows:
    """The table that a text of the rules comes to."""
    days = whole(text, "第四条　貸出期間は、貸出しの日の翌日から起算して{}日以内")
    longer = whole(text, "一回に限り、{}日を超えない")
    short_for, short = only(re.findall(rf"ただし、(\S+?)については、{NUMBER}日以内", text))
    never = only(re.findall(r"ただし、(\S+?)については、この限りでない", text)).split("及び")
    rows = []
    for material, most in re.findall(rf"^　[一二三四]　(\S+?)　{NUMBER}[冊点]$", text, re.M):
        own_days = int(number(short)) if material in short_for.split("及び") else days
        rows.append(["個人", material, number(most), own_days, 0 if material in never else longer])
    said(text, "前二条の規定にかかわらず図書に限る", "前条第二項の規定を準用する")
    groups = fact(text, "その数は{}冊以内"), fact(text, "貸出期間は貸出しの日の翌日から起算して{}日以内")
    rows.append(["団体", "図書", *groups, 0 if "図書" in never else longer])
    return [HEAD_OF_LOANS, *([str(cell) for cell in row] for row in rows)]


@ANSWERS.to(1018, 1)
def loan_table(turns: Turns) -> Rows:
    return loans(between(turns[0], "【規程】"))


@ANSWERS.to(1018, 2)
def amended_loan_table(turns: Turns) -> Rows:
    """The amendment carried out on the text of the rules, sentence by sentence."""
    said(
        turns[1], "第三条第二号中「五冊」を「三冊」に改め、同条中第三号を第四号とし、第二号の次に次の一号を加える",
        "第四条第一項ただし書中「視聴覚資料」を「紙芝居及び視聴覚資料」に改め",
        "同条第二項ただし書中「雑誌」を「雑誌及び視聴覚資料」に改める",
        "第五条中「百冊」を「五十冊」に、「三十日」を「二十八日」に改める",
    )  # fmt: skip
    third, rest = between(turns[0], "【規程】").split("第四条", 1)
    fourth, fifth = rest.split("第五条", 1)
    third = third.replace("　二　雑誌　五冊", "　二　雑誌　三冊").replace("　三　視聴覚資料", "　四　視聴覚資料")
    new = only(re.findall(r"^　三　.*$", turns[1], re.M))
    third = third.replace("　二　雑誌　三冊\n", f"　二　雑誌　三冊\n{new}\n")
    first, second = fourth.split("２　")
    first = first.replace("ただし、視聴覚資料", "ただし、紙芝居及び視聴覚資料")
    second = second.replace("ただし、雑誌", "ただし、雑誌及び視聴覚資料")
    fifth = fifth.replace("百冊", "五十冊").replace("三十日", "二十八日")
    return loans(f"{third}第四条{first}２　{second}第五条{fifth}")


SHIFTS = ("早番", "遅番")
# What was settled in the talk, by the words that settle it: (day, shift) → who.
SWAPS = {
    "石田「月曜の遅番、": {},
    "上野「私が入りましょう。その代わり、水曜の早番をお願いできますか。」": {("月", "遅番"): "上野"},
    "石田「承知しました。": {("水", "早番"): "石田"},
    "上野「それなら、私の金曜の遅番と入れ替えましょうか。」": {},
    "江口「ぜひお願いします。」": {("木", "早番"): "上野", ("金", "遅番"): "江口"},
    "店長「では、そのように決めます。」": {},
}
LATER = {
    "上野さんとの交代は、取り消しても": {},
    "上野「もちろんです。それなら、水曜も元どおり私が入ります。」": {("月", "遅番"): "石田", ("水", "早番"): "上野"},
    "火曜の早番には本店の岡さんが来てくれる": {("火", "早番"): "岡"},
}


def shifts(turns: Turns) -> dict[tuple[str, str], str]:
    given = re.findall(r"^(.)曜　早番 (\S+)　遅番 (\S+)$", between(turns[0], "【もとの勤務表】", "【やり取り】"), re.M)
    found = {(day, shift): name for day, *names in given for shift, name in zip(SHIFTS, names, strict=True)}
    for words, change in SWAPS.items():
        said(turns[0], words)
        found |= change
    return found


@ANSWERS.to(1019, 1)
def shift_table(turns: Turns) -> Rows:
    found = shifts(turns)
    return [["曜日", *SHIFTS], *([day, *(found[day, shift] for shift in SHIFTS)] for day in "月火水木金")]


@ANSWERS.to(1019, 2)
def shifts_by_person(turns: Turns) -> dict[str, list[str]]:
    found = shifts(turns)
    for words, change in LATER.items():
        said(turns[1], words)
        found |= change
    people_: dict[str, list[str]] = {}
    for (day, shift), name in sorted(found.items(), key=lambda one: "月火水木金".index(one[0][0])):
        people_.setdefault(name, []).append(day + shift[0])
    return people_


def product(turns: Turns) -> dict[str, Any]:
    text = between(turns[0], "【説明】", "【形】")
    said(text, "防水の等級は公表されていない", "重さは電池を含めて")
    values: dict[str, Fraction] = {
        "幅_mm": fact(text, "幅{}センチ") * 10,
        "奥行き_mm": fact(text, "奥行き{}ミリ"),
        "高さ_mm": fact(text, "高さ{}センチ") * 10,
        "重さ_g": fact(text, "重さは電池を含めて{}キロ") * 1000,
        "電池容量_mAh": fact(text, "容量は{}ミリアンペア時"),
        "動作日数": fact(text, "なら{}日間動く"),
        "最低温度_℃": -fact(text, "氷点下{}度から"),
        "最高温度_℃": fact(text, "度から{}度まで"),
    }
    return {**whole_numbers(values), "防水等級": None}


def whole_numbers(values: dict[str, Fraction]) -> dict[str, int]:
    if any(value.denominator != 1 for value in values.values()):
        raise Unclear(f"not all of {values} are whole numbers")
    return {name: int(value) for name, value in values.items()}


@ANSWERS.to(1020, 1)
def older_product(turns: Turns) -> dict[str, Any]:
    return product(turns)


@ANSWERS.to(1020, 2)
def newer_product(turns: Turns) -> dict[str, Any]:
    text, old = between(turns[0], "【説明】", "【形】"), product(turns)
    said(text, "電池の容量は変わらない", "そのほかの点は三型と同じ")
    new = old | whole_numbers(
        {
            "高さ_mm": old["高さ_mm"] * (1 - fact(text, "高さを{}割抑え") / 10),
            "重さ_g": fact(text, "ちょうど{}キロ") * 1000,
            "動作日数": old["動作日数"] * (1 + fact(text, "三型より{}割長く") / 10),
        }
    )
    return new | {"三型と違う項目": [name for name in new if new[name] != old[name]]}
