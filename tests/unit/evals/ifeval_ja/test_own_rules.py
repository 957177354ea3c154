"""Rules of ours: what each accepts and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from edgellm.evals.ifeval_ja.registry import OURS, instruction
from edgellm.evals.ifeval_ja.rules.own_letters import TAUGHT

TABLE = "| 甲 | 乙 |\n|---|:-:|\n| 1 | 2 |\n| 3 | 4 |"

CASES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("register:polite", {}, "佐藤様\n海です。山を見ますね。", True),
    ("register:polite", {}, "海です。山を見る。", False),
    ("register:plain", {}, "海だ。「行きます。」と言った。", True),
    ("register:plain", {}, "海だ。山を見ましょう。", False),
    ("register:honorific", {"kind": "尊敬語", "count": 2}, "社長がいらっしゃり、そうおっしゃった。", True),
    ("register:honorific", {"kind": "尊敬語", "count": 1}, "私が伺います。", False),
    ("register:honorific", {"kind": "謙譲語", "count": 2}, "私が伺い、拝見します。", True),
    ("register:honorific", {"kind": "謙譲語", "count": 1}, "先生が召し上がる。", False),
    ("words:forbidden", {"words": ["メール"]}, "手紙を送る", True),
    ("words:forbidden", {"words": ["メール"]}, "ﾒｰﾙを送る", False),
    ("words:required", {"words": ["海", "山"], "times": 2}, "海山海山", True),
    ("words:required", {"words": ["海", "山"]}, "海だけ", False),
    ("words:morae", {"pattern": [5, 7, 5]}, "いっぴょうで　あしたのまちが　かわりだす", True),
    ("words:morae", {"pattern": [5, 7, 5]}, "いっぴょうで　まちが　かわりだす", False),
    ("words:morae", {"pattern": [5]}, "一票で", False),
    ("startend:begins", {"phrase": "拝啓"}, "\n拝啓　秋", True),
    ("startend:begins", {"phrase": "拝啓"}, "秋　拝啓", False),
    ("startend:ends", {"phrase": "敬具"}, "秋　敬具\n", True),
    ("startend:ends", {"phrase": "敬具"}, "敬具。", False),
    ("punctuation:full_width", {}, "海、山（川）。5m", True),
    ("punctuation:full_width", {}, "海、山(川)。", False),
    ("letters:digit_width", {"width": "半角"}, "一つと2つ", True),
    ("letters:digit_width", {"width": "半角"}, "2つと３つ", False),
    ("letters:digit_width", {"width": "全角"}, "海", False),
    ("letters:digit_width", {"width": "漢数字"}, "三つ", True),
    ("letters:digit_width", {"width": "漢数字"}, "三つと3つ", False),
    ("letters:vertical", {}, "十二月二十日、雨", True),
    ("letters:vertical", {}, "12月", False),
    ("letters:vertical", {}, "ＡＢＣ", False),
    ("letters:kanji_share", {"percent": 50, "bound": "以下"}, "海 は\n", True),
    ("letters:kanji_share", {"percent": 49, "bound": "以下"}, "海 は\n", False),
    ("letters:kanji_share", {"percent": 60, "bound": "以上"}, "海は", False),
    ("letters:kanji_grade", {"grade": 1}, "山と川", True),
    ("letters:kanji_grade", {"grade": 1}, "山と海", False),
    ("letters:kanji_grade", {"grade": 2}, "山と海", True),
    ("letters:kanji_grade", {"grade": 1}, "やまとかわ", False),
    ("notation:era_dates", {"count": 2}, "令和元年と平成30年", True),
    ("notation:era_dates", {"count": 1}, "令和7年（2025年）", False),
    ("notation:weekdays", {"count": 2}, "4月1日（水）と4月2日（木）", True),
    ("notation:weekdays", {"count": 1}, "4月1日（水）と4月2日", False),
    ("notation:clock", {"count": 2}, "09:05から2時間、23:59まで", True),
    ("notation:clock", {"count": 1}, "09:05、午前9時5分", False),
    ("notation:clock", {"count": 1}, "24:00", False),
    ("length:characters", {"least": 2, "most": 3}, "海 山\n川", True),
    ("length:characters", {"most": 2}, "海 山\n川", False),
    ("length:characters", {"least": 4}, "海 山\n川", False),
    ("length:lines", {"count": 2}, "海\n\n山\n", True),
    ("length:lines", {"count": 2}, "海\n山\n川", False),
    ("length:line_width", {"most": 3}, "海と山\n川", True),
    ("length:line_width", {"most": 2}, "海と山\n川", False),
    ("length:sentences", {"least": 2, "most": 2}, "海だ！？山だ。", True),
    ("length:sentences", {"least": 2, "most": 3}, "海だ。", False),
    ("layout:bullets", {"marker": "・", "count": 1}, "次です\n ・海", True),
    ("layout:bullets", {"marker": "・", "count": 1}, "・海\n・山", False),
    ("layout:only_bullets", {"marker": "-", "count": 2}, "- 海\n- 山", True),
    ("layout:only_bullets", {"marker": "-", "count": 2}, "次です\n- 海\n- 山", False),
    ("layout:numbered", {"count": 2}, "手順\n1. 海\n2. 山", True),
    ("layout:numbered", {"count": 2}, "1. 海\n3. 山", False),
    ("layout:labels", {"labels": ["件名：", "本文："]}, "件名：海\n本文：山", True),
    ("layout:labels", {"labels": ["件名：", "本文："]}, "本文：山\n件名：海", False),
    ("layout:table", {"columns": 2, "rows": 2}, f"表です\n{TABLE}", True),
    ("layout:table", {"columns": 2, "rows": 3}, TABLE, False),
    ("layout:table", {"columns": 3}, TABLE, False),
    ("layout:comma_rows", {"columns": 2, "rows": 2}, "```csv\na,b\n1,2\n```", True),
    ("layout:comma_rows", {"columns": 2, "rows": 2}, "a,b\n1、2", False),
    ("layout:json_keys", {"keys": ["海", "山"]}, '```json\n{"山": 1, "海": 2}\n```', True),
    ("layout:json_keys", {"keys": ["海", "山"]}, '{"山": 1}', False),
    ("layout:json_list", {"keys": ["海"], "count": 2}, '[{"海": 1}, {"海": 2}]', True),
    ("layout:json_list", {"keys": ["海"], "count": 2}, '[{"海": 1}, {"山": 2}]', False),
    ("layout:quotations", {"count": 2}, "「海」と「山」", True),
    ("layout:quotations", {"count": 1}, "「海」と“山”", False),
    ("layout:quotations", {"count": 1}, "「海」と「山", False),
]


@pytest.mark.parametrize(("rule", "arguments", "text", "verdict"), CASES)
def test_a_rule_of_ours_holds_where_it_should(rule: str, arguments: dict[str, Any], text: str, verdict: bool) -> None:
    assert instruction(f"edgellm:{rule}", arguments).followed(text) is verdict


def test_every_rule_of_ours_has_cases_of_both_verdicts() -> None:
    assert {(f"edgellm:{rule}", verdict) for rule, _, _, verdict in CASES} == {
        (rule, verdict) for rule in OURS for verdict in (True, False)
    }


def test_the_kanji_of_the_first_two_school_years_are_all_there_once() -> None:
    assert [len(TAUGHT[year]) for year in (1, 2)] == [80, 160]
    assert len(set(TAUGHT[1] + TAUGHT[2])) == 240
