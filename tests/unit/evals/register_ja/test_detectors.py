"""Signs of broken Japanese are found, and correct Japanese raises no alarm."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edgellm.evals.register_ja import detectors
from edgellm.evals.register_ja.faults import Asked, faults
from edgellm.store.catalogue import TEXTS, read_documents
from japanese_samples import SENTENCES, sampled_lines

ASKED = Asked("x", "any", "", None, 0, 1_000_000)
CORRECT = [
    "人々は、日々の暮らしの中で佐々木さんの営む〆鯖の店に通う。",
    "コーヒーとケーキをください。すごーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーーい！",
    "德川家康と黑澤明、髙橋さん、﨑山さん、𠮷野家、塡補、剝離、頰、𠮟責。",
    "舊字體で書かれた『國語辭典』は、圖書館の閉架に在る。學校の先生に聽いた。",
    "Microsoft Office 365 Professional Plus と Adobe Acrobat Pro DC を Windows Server 2025 に入れる。",
    "Retrieval Augmented Generation Large Language Model Fine Tuning という言葉をよく聞く。",
    "次の関数を使います。\n```python\n# this is a comment of the program and it is not a mistake\n"
    "for i in range(10): print(i)\n```\n実行すると数が並びます。",
    "`the value of the key is not in the map` という文が出たら、設定を確かめてください。",
    "詳しくは https://example.com/this/is/the/page/of/the/manual-and-it-is-long をご覧ください。",
    "| 方法 | 利点 | 欠点 |\n|---|---|---|\n| 電車 | 速い | 混む |\n| 自転車 | 安い | 雨に弱い |",
    "----------------------------------------------------------------\n＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝＝",
    "わーい(*´∀｀*) やったー！ ( ´Д`)ﾉ ヽ(=´▽`=)ﾉ ｷﾀ━━━(ﾟ∀ﾟ)━━━!!",
    "角度θと円周率π、抵抗はΩ、微小量はΔxで表す。α線とβ線、γ線。",
    "春はあけぼの。やうやう白くなりゆく山ぎは、すこし明かりて、紫だちたる雲のほそくたなびきたる。",
    "令和八年度一般会計補正予算案概要説明資料 是正措置完了報告書 具体的目的及効果的方法一覧",
    "ﾊﾝｶｸｶﾅ ﾃﾞｰﾀ ﾊﾟｿｺﾝ、か\u3099 と は\u309a も文字である。",
    "令和８年１２月３１日（木）　午後３：３０～５：００　①受付　②開会　㈱山田　㌔",
    "家族は👨‍👩‍👧‍👦です。葛󠄀城市。了解👍",
]  # fmt: skip


@pytest.mark.parametrize("text", CORRECT, ids=lambda text: text[:12])
def test_correct_japanese_raises_no_alarm(text: str) -> None:
    found = faults(text, ASKED)
    found.pop("little_japanese", None)  # a list of names or a rule has little, rightly
    assert not found


def test_our_own_japanese_texts_raise_no_alarm() -> None:
    for name, kinds in {"calibration": ("administration", "business", "everyday", "technical"),
                        "verification": ("business", "essays", "stories", "technical")}.items():  # fmt: skip
        for kind in kinds:
            for document in read_documents(TEXTS / name / f"{kind}.txt"):
                assert not faults(document, ASKED), document[:40]


def test_sentences_of_many_kinds_raise_no_alarm() -> None:
    for sentence in SENTENCES[:-2]:  # the last two are English and code on purpose
        assert not faults(sentence, ASKED), sentence


def test_literature_and_statutes_raise_no_alarm_of_script(shared: Path) -> None:
    whole = "\n".join(sampled_lines(shared, 1500))
    for detect in (detectors.chinese, detectors.korean, detectors.other_scripts, detectors.broken_characters,
                   detectors.leaked_tokens, detectors.english_sentences):  # fmt: skip
        assert not detect(whole), detect.__name__


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chinese", "会議の时間は三時です。"),
        ("chinese", "この问题を解決します。"),
        ("chinese", "手続きは你が行います。"),
        ("chinese", "はい。我們是一個很好的公司這是我的意見。"),
        ("korean", "今日は좋은天気です。"),
        ("korean", "ᄒだった。"),
        ("other_scripts", "グルクозеを測る。"),
        ("other_scripts", "料金はสองร้อย円です。"),
        ("other_scripts", "これはاختبارです。"),
        ("english_sentences", "手順は次のとおりです。First, you need to open the settings of the device."),
        ("english_sentences", "雨です。However, the weather in the afternoon will be fine."),
        ("broken_characters", "今日は晴\ufffd\ufffdです。"),
        ("broken_characters", "制御\x90文字が残った。"),
        ("broken_characters", "私用\ue000領域の字。"),
        ("broken_characters", "ã\x81\x93ã\x82\x93ã\x81«ã\x81¡ã\x81¯"),
        ("broken_characters", "縺薙ｓ縺ｫ縺｡縺ｯ繧医≧縺薙◎"),
        ("leaked_tokens", "文の途中に<0xE3><0x81>が出る。"),
        ("leaked_tokens", "以上です。<|im_end|>"),
        ("leaked_tokens", "終わり</s>"),
        ("leaked_tokens", "▁次の▁文"),
        ("cut_character", "最後の文字が切れ\ufffd"),
        ("little_japanese", "I am a language model. 私です。"),
        ("loops", "お問い合わせは窓口まで。" * 5),
        ("mixed_styles", "雨が降りました。傘を差した。道は濡れている。駅に着きました。電車は遅れた。帰りました。"),
    ],
)
def test_a_sign_is_found(name: str, text: str) -> None:
    assert name in faults(text, ASKED)


def test_every_pair_of_broken_and_whole_text_is_told_apart() -> None:
    """A fault is found wherever it stands in a good text."""
    good = "".join(SENTENCES[:4])
    for place, sign in itertools.product((0, len(good) // 2, len(good)), ("\ufffd", "这", "한국", "<0xE3>")):
        assert faults(good[:place] + sign + good[place:], ASKED)


def test_the_simplified_characters_are_those_that_no_japanese_standard_has() -> None:
    assert len(detectors.simplified()) == 2617
    assert set("们这说时经为吗问东车语让谢动") <= detectors.simplified()
    assert not set("国学点体会来断乱与万号画台糸虫余德黑") & detectors.simplified()


def test_the_lines_of_a_table_are_not_counted_against_its_words() -> None:
    assert not faults(
        "| 甲 | 乙 | 丙 |\n|-------|-------|-------|\n| 良 | 可 | 不可 |\n| 10 | 20 | 30 |\n合計です。", ASKED
    )


def test_a_style_or_length_other_than_asked_for_is_a_fault() -> None:
    polite = "雨が降ります。傘を持って行きます。"
    assert "wrong_style" in faults(polite, Asked("x", "c", "", "plain", 0, 100))
    assert "wrong_style" not in faults(polite, Asked("x", "c", "", "polite", 0, 100))
    assert "wrong_length" in faults(polite, Asked("x", "c", "", None, 50, 100))
    assert "wrong_length" in faults(polite, Asked("x", "c", "", None, 0, 10))
