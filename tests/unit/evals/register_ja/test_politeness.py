"""敬体 and 常体 are told apart by how sentences end."""

from __future__ import annotations

import pytest

from edgellm.evals.register_ja.politeness import Endings, ending, endings, mixed_styles, other_style


@pytest.mark.parametrize(
    "sentence",
    [
        "雨が降ります", "昨日は晴れました", "それは本です", "行きませんでした", "お待ちください", "明日は雪でしょう",
        "ご利用いただけますか", "行きましょう", "そうですね", "少し高いですが", "承知いたしました",
        "確認をお願いいたします", "お気をつけてお越しくださいませ", "間に合いますよ", "これから出かけるところですから",
    ],
)  # fmt: skip
def test_polite_endings(sentence: str) -> None:
    assert ending(sentence + "。") == "polite"


@pytest.mark.parametrize(
    "sentence",
    [
        "雨が降る", "昨日は晴れた", "それは本である", "行かなかった", "明日は雪だろう", "これは重い", "空が暗い",
        "静かだ", "彼は来た", "窓から海を見た", "そう感じた", "値段が多い", "考えるべきだ", "理由はこれだ",
        "間違いない", "扱いやすい", "行くのだ", "読んだ", "泳ぐ", "もう帰るか", "だと思うよ",
    ],
)  # fmt: skip
def test_plain_endings(sentence: str) -> None:
    assert ending(sentence + "。") == "plain"


@pytest.mark.parametrize(
    "sentence",
    [
        "期限は三月末日", "提出すること", "以下のとおり", "よろしくお願い", "担当は佐藤さん", "注意点は二つ", "はい",
        "おはよう", "大きな違い", "ありがとう",
    ],
)  # fmt: skip
def test_endings_of_neither_style(sentence: str) -> None:
    assert ending(sentence + "。") is None


def test_what_is_quoted_listed_or_code_does_not_count() -> None:
    text = (
        "彼は「もう帰ります。」と言った。\n- 傘を持ちます。\n1. 靴を履きます。\n"
        "```\n# 印刷します。\n```\n（確かめました。）駅まで歩いた。\n見出しです"
    )
    assert endings(text) == Endings(polite=0, plain=2)


def test_a_text_that_keeps_to_a_style_is_not_mixed() -> None:
    assert not mixed_styles("雨が降ります。傘を差します。道が濡れます。駅に着きます。なんと寒い。")
    assert not mixed_styles("雨だ。")


def test_a_text_in_another_style_than_asked_for_is_found() -> None:
    plain = "雨が降る。傘を差す。道が濡れている。"
    assert other_style(plain, "polite")
    assert not other_style(plain, "plain")
    assert not other_style("一覧は次のとおり。", "polite")  # nothing to go by
