from __future__ import annotations

import pytest

from edgellm.errors import BadInput
from edgellm.language.encodings import decode_japanese

TEXTS = [
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "日付\t金額（円）\r\n2026/04/01\t１２，３００\r\n",
    "plain ASCII, no Japanese at all\n",
    "あ",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp932", "euc_jp"])
def test_japanese_text_is_read_as_what_it_is(text: str, encoding: str) -> None:
    assert decode_japanese(text.encode(encoding)) == text


def test_half_width_kana_among_other_text_is_text() -> None:
    text = "商品名：ﾊﾟｿｺﾝ、数量は三台で、納期は四月の末日までとします。請求書は本社の経理部あてに送ってください。"
    assert decode_japanese(text.encode("cp932")) == text


NONSENSE = {
    "control characters": b"\x00\x01\x02 text",
    "a JPEG": bytes.fromhex("ffd8ffe000104a46494600010101004800480000ffdb0043"),
    "Latin-1": "naïve café, übermäßig".encode("latin-1"),
    "GBK": "中华人民共和国国务院办公厅关于印发通知".encode("gbk"),
    "KOI8-R": "Всем привет, как дела".encode("koi8-r"),
    "UTF-8 that ends inside a character": "日本語の文章です".encode()[:-1],
    "half of a UTF-16 character": "日本".encode("utf-16")[:-1],
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_what_is_no_japanese_text_is_refused(kind: str) -> None:
    with pytest.raises(BadInput, match="UTF-8, Shift_JIS or EUC-JP"):
        decode_japanese(NONSENSE[kind])
