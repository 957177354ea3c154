"""Which part of an answer states its result: where it says 「答え」, else its conclusion, else its end."""

from __future__ import annotations

import re

LONGEST = 2000  # characters of a sentence; what goes on longer repeats itself
# Full-width ASCII and the signs that Japanese text writes numbers with. Not NFKC: that makes 2 of ² and 1 of ①.
_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord("\u3000"): " ", ord("￥"): "¥", ord("−"): "-", ord("‐"): "-", ord("‑"): "-", ord("–"): "-", ord("∕"): "/",
    ord("⁄"): "/", ord("〜"): "~", ord("～"): "~", ord("∼"): "~", ord("\u00a0"): " ", ord("\u202f"): " ",
}  # fmt: skip
_LATEX = (
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname|mbox)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\(?:times|cdot)"), "×"),
    (re.compile(r"\\div"), "÷"),
    (re.compile(r"\\(?:approx|fallingdotseq|doteq)"), "≒"),
    (re.compile(r"\\(?:left|right|displaystyle|quad|qquad|[,;:! ])"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\([%$#&_{}])"), r"\1"),
    (re.compile(r"\\[()\[\]]|\$\$?"), " "),
    (re.compile(r"\^\s*\{?\\circ\}?"), "°"),
)
_MARKDOWN = re.compile(r"\*\*|__|~~|`|^\s{0,3}#{1,6}\s+|^\s{0,3}>\s?", re.M)
_ITEM = re.compile(
    r"^\s*(?:[-*・•●○■◆▪]|\(?\d{1,2}[.)](?=\s|[^\d\s])|[①-⑳])\s*(?!\d)|^\s*(?:[-*・•●○■◆▪]|\(?\d{1,2}[.)])\s+"
)
_MARK = re.compile(
    r"(?:^|[\s。、*【\[(:：])(?:よって、?|したがって、?|最終的な?|正しい|正)?"
    r"(?:答え|答|解答|回答|解|正解|最終回答|最終解答|結論|結果|final answer|answer|ans)"
    r"\s*(?:】|\]|\))?\s*(?::|は、?|=|が、?|→|⇒|\n|(?<=[】\]])|(?=\s*\d))\s*",
    re.I,
)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_CONCLUDES = re.compile(
    r"したがって|従って|よって|ゆえに|故に|以上より|以上から|以上のことから|つまり|すなわち|∴|therefore", re.I
)
_ASIDE = re.compile(r"^\W*(?:なお|ただし|但し|ちなみに|補足|注意|注|※|検算|確認|参考|備考|内訳|また、)")
_SENTENCE = re.compile(r"(?<=[。!?])|\n+")


_SIGNS = {
    "㎡": "m2", "㎥": "m3", "㎝": "cm", "㎜": "mm", "㎞": "km", "㎏": "kg", "㎎": "mg", "ℓ": "L", "㍑": "リットル",
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def narrow(text: str) -> str:
    """Full-width ASCII and unit signs as ASCII; 10² becomes 10^2 and m² becomes m2."""
    text = text.translate(_ASCII)
    for sign, instead in _SIGNS.items():
        text = text.replace(sign, instead)
    text = re.sub(r"(?<=\d)[⁰¹²³⁴-⁹]+", lambda part: "^" + part[0], text).translate(_RAISED)
    return re.sub(r"(?<=m)\^\{?([23])\}?", r"\1", text)


def plain(text: str) -> str:
    """Without Markdown and LaTeX, full-width ASCII made narrow; what a box of LaTeX holds is on a line 「答え:」."""
    text = narrow(text)
    for _ in range(3):  # one may stand in the other
        for pattern, instead in _LATEX[:2]:
            text = pattern.sub(instead, text)
    text = _BOXED.sub(r"\n答え: \1\n", text)
    for pattern, instead in _LATEX:
        text = pattern.sub(instead, text)
    return _MARKDOWN.sub("", text)


def stated(text: str) -> str | None:
    """What follows the last 「答え」 of a text without Markdown, to the end of its line; None where there is none."""
    lines = text.split("\n")
    for number in range(len(lines) - 1, -1, -1):
        marks = list(_MARK.finditer(lines[number] + "\n"))
        for mark in reversed(marks):
            rest = lines[number][mark.end() :].strip(" \t:：")
            if not rest:  # a heading: the statement is the next line
                rest = next((line.strip() for line in lines[number + 1 :] if line.strip(" -=─")), "")
            rest = _ITEM.sub("", rest).strip(" \t:：")
            if rest:
                return rest[:LONGEST]
    return None


def sentences(text: str) -> list[str]:
    """Without numbers of list items."""
    return [part for piece in _SENTENCE.split(text) if (part := _ITEM.sub("", piece).strip())]


def conclusions(text: str) -> list[str]:
    """Sentences in the order in which they are to be believed: conclusions from the last, then others from the last;
    remarks beside the matter (なお、ただし) come at the end."""
    found = sentences(text)[::-1]
    asides = [one for one in found if _ASIDE.match(one)]
    rest = [one for one in found if not _ASIDE.match(one)]
    concluding = [one for one in rest if _CONCLUDES.search(one)]
    ordered = concluding + [one for one in rest if not _CONCLUDES.search(one)] + asides
    return [one[-LONGEST:] for one in ordered]
