from __future__ import annotations

import pytest

from edgellm.language import japanese


def test_characters_are_code_points() -> None:
    assert japanese.characters("日本") == 2
    assert japanese.characters("か\u3099") == 2
    assert japanese.characters("👨‍👩‍👧") == 5


def test_bytes_are_those_of_utf_8() -> None:
    assert japanese.utf8_bytes("日本\n") == 7


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("ひらカナ漢字々〇", 1.0),
        ("ｱｲ", 1.0),
        ("𠮷", 1.0),
        ("ab日 本", 0.5),
        ("、。「」", 0.0),
        ("", 0.0),
        (" \n　", 0.0),
    ],
)
def test_the_share_of_kana_and_kanji_leaves_white_space_out(text: str, share: float) -> None:
    assert japanese.japanese_share(text) == share
