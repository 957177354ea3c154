"""What a judge is asked about two answers, in our words; and how its choice is read."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

Choice = Literal["first", "second", "tie"]

SYSTEM = (
    "あなたは日本語の文章を公平に評価する審査員です。二つの回答を比べ、利用者の役に立つのはどちらかを判断します。"
    "回答の長さや、示された順番や、書き手が誰であるかには左右されず、中身だけを見てください。"
)
_TASK = """\
次の依頼に対する二つの回答を比べてください。

まず、依頼の条件を満たしているか、事実や計算に誤りがないか、日本語として自然で読みやすいか、必要なことが過不足なく\
書かれているかの順に、それぞれの回答を確かめます。そのうえで、どちらが優れているかを決めてください。\
優劣をつけるほどの差がないときは、無理に選ばず「同等」としてください。"""
_LATER = (
    "やりとりは複数回にわたります。比べるのは最後の回答ですが、それまでの流れと合っているかも考えに入れてください。"
)
_AS_TEXT = """\
判断の理由を二、三文で述べ、最後の行に結論だけを次のいずれかの形で書いてください。
回答Aが優れている: [[A]]
回答Bが優れている: [[B]]
同等: [[C]]"""
_AS_JSON = (
    "JSONで答えてください。`explanation` に判断の理由を二、三文で、`better` に結論を書きます。"
    "回答Aが優れていれば \"A\"、回答Bが優れていれば \"B\"、同等なら \"C\" です。"
)  # fmt: skip
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"explanation": {"type": "string"}, "better": {"type": "string", "enum": ["A", "B", "C"]}},
    "required": ["explanation", "better"],
    "additionalProperties": False,
}
_CHOICES: dict[str, Choice] = {"A": "first", "B": "second", "C": "tie"}
_CHOICE = re.compile(r"\[\[\s*([ABC])\s*\]\]")


def prompt(questions: Sequence[str], first: Sequence[str], second: Sequence[str], *, structured: bool) -> str:
    """`questions`: the user's messages; `first` and `second`: the answers to each of them, in the order shown."""
    parts = [_TASK if len(questions) == 1 else f"{_TASK}{_LATER}"]
    if len(questions) == 1:
        parts.append(_block("依頼", questions[0]))
        parts += [_block("回答A", first[0]), _block("回答B", second[0])]
    else:
        for name, answers in (("A", first), ("B", second)):
            for turn, (question, answer) in enumerate(zip(questions, answers, strict=True), 1):
                parts += [_block(f"{name}とのやりとり・依頼{turn}", question), _block(f"回答{name}-{turn}", answer)]
    return "\n\n".join([*parts, _AS_JSON if structured else _AS_TEXT])


def _block(name: str, text: str) -> str:
    return f"〈{name}〉\n{text}\n〈{name}ここまで〉"


def choice_in(text: str, *, structured: bool) -> Choice | None:
    """The judge's last word, or None where there is none."""
    if structured:
        try:
            return _CHOICES.get(json.loads(text)["better"])
        except (ValueError, KeyError, TypeError):
            return None
    found = _CHOICE.findall(unicodedata.normalize("NFKC", text))
    return _CHOICES[found[-1]] if found else None
