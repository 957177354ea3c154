from __future__ import annotations

import pytest

from edgellm.evals.ifeval_ja.sentences import published_count, sentences


# Counts that ja-sentence-segmenter 0.0.2 gives, as the published program sets it.
@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("海だ。山だ。", 2),
        ("海だ。山だ", 2),
        ("海だ\n\n山だ", 2),
        ("海だ！？", 2),
        ("本当?はい!", 2),
        ("海だ｡山だ｡", 2),
        ("「海だ。山だ。」と言う。", 1),
        ("（海だ。）山だ。", 1),
        ("(a!) b!", 1),
        ("『海だ。』と言う。", 2),
        ("「海だ。", 1),
        ("私の\n海だ。", 1),
        ("私の \n海だ。", 1),
        ("の\n海だ。", 2),
        ("海だ\n の\n山だ。", 3),
        ("海だ。 \n 山だ。", 2),
        ("海だ\n \n山だ", 3),
        ("Mr. A came. He left.", 1),
        ("海だ…山だ", 1),
        ("海だ\u2028山だ", 2),
        ("∯。∯海", 1),
    ],
)
def test_sentences_are_counted_as_the_published_program_counts_them(text: str, count: int) -> None:
    assert published_count(text) == count


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("佐藤様\n海です。山です！", ["海です", "山です"]),
        ("「行く。」と言いました。", ["と言いました"]),
        ("海です（広い。）。", ["海です"]),
        ("# 題\n・海です\n1. 山です\n注意：\n", ["海です", "山です"]),
        ("\n", []),
    ],
)
def test_our_rules_take_what_ends_with_a_mark_and_otherwise_lines(text: str, found: list[str]) -> None:
    assert sentences(text) == found
