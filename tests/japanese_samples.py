"""Japanese text for tests of tokenizers: our own sentences, traps, and lines of the shared corpus."""

from __future__ import annotations

import lzma
import random
from pathlib import Path

TRAPS = {
    "half-width kana": "ﾊﾝｶｸｶﾅ ﾃﾞｰﾀ ﾊﾟｿｺﾝ",
    "full-width digits": "令和８年１２月３１日（木）",
    "two kinds of circle": "〇○◯零、二〇二六年に○を付ける",
    "family emoji": "了解👍 家族は👨‍👩‍👧‍👦です",
    "rare kanji": "𠮷野家と鱻と𰻞𰻞麺、葛󠄀城市",
    "newlines": "一行目\n二行目\n\n四行目\r\n",
    "tabs": "\t字下げ\t表",
    "leading and trailing spaces": "   三つの空白  の後 ",
    "full-width spaces": "　字下げ　　二つ　",
    "empty": "",
    "a space": " ",
    "nul": "零\x00文字",
    "byte piece as text": "<0x0A> と <0xE3>",
    "combining marks": "か\u3099 は\u309a é",
    "mixed": "GPUで4bit量子化(Q4_K_M)すると約5.3GB。C++/CUDA",
    "unusual separators": "段\u2028落\x0b縦\x0c改頁",
    "long": "長い文章を繰り返すと、" * 3000,
    "long run of one character": "ー" * 5000,
}  # fmt: skip

SENTENCES = [
    "窓口で受け取った番号札は、呼ばれるまで手元に置いてください。",
    "来週の打ち合わせは火曜の午後三時からに変わりました。",
    "この関数は引数が負のとき例外を投げるので、先に確かめておく。",
    "「もう帰るの？」と妹が聞いたので、うなずいて靴を履いた。",
    "駅前の商店街では、毎月第二土曜日に朝市が開かれている。",
    "申請書は押印のうえ、二〇二六年三月末日までに提出するものとする。",
    "メモリーが足りないときは、文脈の長さを半分にすると動くことがある。",
    "雨がやむと、田んぼの蛙がいっせいに鳴きはじめた。",
    "見積もりには送料と消費税（10%）が含まれておりません。",
    "ﾌﾟﾘﾝﾀの電源を入れなおしても直らなければ、保守係へ電話する。",
    "彼女は、昨日買ったばかりの本をもう読み終えたらしい。",
    "サーバーの負荷が高いあいだは、応答が返るまで数秒かかります。",
    "第3条　利用者は、自らの責任において端末を管理しなければならない。",
    "おばあちゃんの作る味噌汁は、具がたくさん入っていておいしい。",
    "The server listens on 127.0.0.1, 日本語の文字も途中で切れません。",
    "for i in range(10): print(f'{i}番目')",
]


def sampled_lines(shared: Path, count: int, seed: int = 20261121) -> list[str]:
    """`count` lines of the held-out corpus, drawn with a fixed seed."""
    lines: list[str] = []
    for name in ("aozora-heldout", "statutes-heldout"):
        text = lzma.decompress((shared / "corpus" / f"{name}.txt.xz").read_bytes()).decode()
        lines += [line for line in text.split("\n") if line.strip("\x0c")]
    return random.Random(seed).sample(lines, count)
