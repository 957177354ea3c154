"""M-IFEval's rules, with the oddities of the published program that decide verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from edgellm.evals.ifeval_ja.registry import PUBLISHED, instruction

FEWER, AT_LEAST = "未満", "以上"

# rule, arguments, text, verdict
CASES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("combination:repeat_prompt", {"prompt_to_repeat": " 海の話を。 "}, "\n海の話を。それは", True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "海の話を。"}, "はい。海の話を。", False),
    ("combination:two_responses", {}, "甲\n******\n乙", True),
    ("combination:two_responses", {}, "******甲******乙******", True),
    ("combination:two_responses", {}, "甲****** ******乙", False),
    ("combination:two_responses", {}, "甲******甲 ", False),
    ("combination:two_responses", {}, "甲******乙******丙", False),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[名][日]", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[名\n][日]", False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "本文\np. s. また", True),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "本文\nPS また", False),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "本文 P. P. S", True),
    # Not one of the two spellings above, so it stands for itself, without spaces between its letters.
    ("detectable_content:postscript", {"postscript_marker": "P.P.S."}, "本文 P. P. S.", False),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S."}, "本文 p.p.s.", True),
    ("detectable_content:postscript", {"postscript_marker": "追伸"}, "なお追伸です", True),
    ("detectable_format:constrained_response", {}, "答えは、はい、そうです。以上", True),
    ("detectable_format:constrained_response", {}, "はい、そうです", False),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', True),
    ("detectable_format:json_format", {}, "3", True),
    ("detectable_format:json_format", {}, "NaN", True),
    ("detectable_format:json_format", {}, '以下です\n{"a": 1}', False),
    ("detectable_format:json_format", {}, "[" * 100_000, False),
    ("detectable_format:multiple_sections", {"section_spliter": "章", "num_sections": 2}, "第1章 一\n第２章 二", True),
    ("detectable_format:multiple_sections", {"section_spliter": "章", "num_sections": 2}, "第一章 一\n第2章 二", False),
    ("detectable_format:multiple_sections", {"section_spliter": "章", "num_sections": 1}, "第1章 第2章 第3章", True),
    ("detectable_format:nominal_ending", {"count": 2}, "夏の海。冬の山！", True),
    ("detectable_format:nominal_ending", {"count": 2}, "夏の海。冬の山です。", False),
    ("detectable_format:nominal_ending", {"count": 1}, "彼は「夏の海。」と言った。", False),
    ("detectable_format:nominal_ending", {"count": 1}, "夏の海", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "・甲\n  ・乙\n- 丙", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "・・甲", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "・\n甲", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "甲・乙", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "《要点》", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "《 》《\n》", False),
    ("detectable_format:number_numbered_lists", {"num_items": 2}, "1. 甲\n　２. 乙", True),
    ("detectable_format:number_numbered_lists", {"num_items": 1}, "1.甲", False),
    ("detectable_format:number_numbered_lists", {"num_items": 1}, "1．甲", False),
    ("detectable_format:title", {}, "『海』", True),
    ("detectable_format:title", {}, "『 』", False),
    ("detectable_format:title", {}, "『海\nと山』", False),
    ("keywords:existence", {"keywords": ["海", "山"]}, "山と海が見えます", True),
    ("keywords:existence", {"keywords": ["海"]}, "海岸が見えます", False),  # 海岸 is a word of its own
    ("keywords:existence", {"keywords": ["海が見える"]}, "海が見える", False),  # no single word
    ("keywords:forbidden_words", {"forbidden_words": ["海"]}, "海岸が見えます", True),
    ("keywords:forbidden_words", {"forbidden_words": ["海"]}, "海が見えます", False),
    ("keywords:frequency", {"keyword": " 海 ", "frequency": 2, "relation": AT_LEAST}, "海と海", True),
    ("keywords:frequency", {"keyword": "海", "frequency": 2, "relation": FEWER}, "海と海", False),
    ("keywords:letter_frequency", {"letter": "か", "let_frequency": 2, "let_relation": AT_LEAST}, "かカ", True),
    ("keywords:letter_frequency", {"letter": "か", "let_frequency": 2, "let_relation": FEWER}, "かｶ", True),
    ("keywords:letter_frequency", {"letter": "か", "let_frequency": 2, "let_relation": FEWER}, "かカ", False),
    ("language:response_language", {"language": "fr"}, "Bonjour, comment allez-vous ce matin ?", True),
    ("language:response_language", {"language": "fr"}, "おはようございます。", False),
    ("language:response_language", {"language": "fr"}, "123", True),  # nothing to tell it by
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "海"},
        "山は\n\n『海は",
        True,
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "海"},
        "山は\n\n\n\n海は",  # the second part is blank
        False,
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "Sea"},
        "Sea is",  # the word is lowered, the text is not
        False,
    ),
    ("length_constraints:number_letters", {"num_letters": 3, "relation": AT_LEAST}, "海\n ", True),
    ("length_constraints:number_letters", {"num_letters": 3, "relation": FEWER}, "海山川", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\n甲\n***\n乙\n***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "甲\n******\n乙", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, "甲\n\n乙", True),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": AT_LEAST}, "海だ。山だ", True),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": FEWER}, "海だ。山だ", False),
    ("letters:furigana", {}, "海（うみ）と山（やま）", True),
    ("letters:furigana", {}, "海（ウミ）", False),
    ("letters:furigana", {}, "うみ", True),
    ("letters:hiragana_only", {}, "うーみ、1！😀", True),
    ("letters:hiragana_only", {}, "ゔ", False),
    ("letters:hiragana_only", {}, "うみa", False),
    ("letters:kanji", {"kanji_limit": 2, "relation": FEWER}, "人々は", True),  # 々 is no kanji here
    ("letters:kanji", {"kanji_limit": 2, "relation": AT_LEAST}, "海山", True),
    ("letters:kanji", {"kanji_limit": 2, "relation": AT_LEAST}, "海は", False),
    ("letters:kansuuji", {}, "三つ", True),
    ("letters:kansuuji", {}, "３つ", False),
    ("letters:katakana_only", {}, "ウミ・ー、ｳﾐ１", True),
    ("letters:katakana_only", {}, "ヴ", False),
    ("letters:katakana_only", {}, "ウみ", False),
    ("letters:no_hiragana", {}, "海ー", True),
    ("letters:no_hiragana", {}, "海ゖ", False),
    ("letters:no_katakana", {}, "らーめん・そば", True),
    ("letters:no_katakana", {}, "ﾗ", False),
    ("punctuation:no_comma", {}, "海,山，川", True),
    ("punctuation:no_comma", {}, "海、山", False),
    ("punctuation:no_period", {}, "海.山｡", True),
    ("punctuation:no_period", {}, "海。", False),
    ("startend:end_checker", {"end_phrase": "終わり。"}, "「これで終わり。」\n", True),
    ("startend:end_checker", {"end_phrase": "「終わり」"}, "これで「終わり", True),
    ("startend:end_checker", {"end_phrase": "終わり。"}, "終わり。以上", False),
    ("startend:quotation", {}, " 「海」\n", True),
    ("startend:quotation", {}, "「", False),
    ("startend:sentence_unified_end", {"ending": "です"}, "海です。山です！", True),
    ("startend:sentence_unified_end", {"ending": "です"}, "海です。\n", False),  # the line break is a sentence
    ("startend:sentence_unified_end", {"ending": "です"}, "「行く。」が口癖です。", True),
]


@pytest.mark.parametrize(("rule", "arguments", "text", "verdict"), CASES)
def test_a_rule_gives_the_published_verdict(rule: str, arguments: dict[str, Any], text: str, verdict: bool) -> None:
    assert instruction(f"ja:{rule}", arguments).followed(text) is verdict


def test_every_published_rule_has_cases_of_both_verdicts() -> None:
    assert len(PUBLISHED) == 33
    assert {(f"ja:{rule}", verdict) for rule, _, _, verdict in CASES} == {
        (rule, verdict) for rule in PUBLISHED for verdict in (True, False)
    }


@pytest.mark.parametrize("rule", ["ja:punctuation:no_comma", "ja:letters:no_hiragana", "ja:letters:kansuuji"])
def test_a_blank_answer_follows_nothing(rule: str) -> None:
    assert not instruction(rule, {}).followed(" \n")


def test_a_null_argument_is_as_if_it_were_not_there() -> None:
    read = instruction("ja:detectable_format:number_bullet_lists", {"num_bullets": 2, "keywords": None})
    assert read.arguments == {"num_bullets": 2}


@pytest.mark.parametrize(
    ("rule", "arguments", "said"),
    [
        ("ja:letters:runes", {}, "there is no rule"),
        ("ja:letters:kanji", {"kanji_limit": 3}, "needs relation"),
        ("ja:letters:kanji", {"kanji_limit": 3, "relation": "以下"}, "must be 未満 or 以上"),
        ("ja:letters:kanji", {"kanji_limit": -1, "relation": FEWER}, "whole number"),
        ("ja:letters:kanji", {"kanji_limit": True, "relation": FEWER}, "whole number"),
        ("ja:keywords:letter_frequency", {"letter": "ア", "let_frequency": 1, "let_relation": FEWER}, "hiragana"),
        ("ja:keywords:existence", {"keywords": []}, "list of texts"),
        ("ja:startend:quotation", {"ending": "です"}, "takes no ending"),
        ("ja:detectable_format:multiple_sections", {"section_spliter": "(", "num_sections": 1}, "章"),
    ],
)
def test_an_instruction_that_cannot_be_checked_is_refused_with_its_reason(
    rule: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        instruction(rule, arguments)
