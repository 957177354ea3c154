"""What a program needs to work out a question from its own text: numbers read out of it, and who answers what."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, TypeVar

Compute = Callable[[Sequence[str]], Any]
Program = TypeVar("Program", bound=Compute)
T = TypeVar("T")
NUMBER = r"([0-9０-９][0-9０-９,]*(?:[.．][0-9０-９]+)?|[一二三四五六七八九十百千〇]+(?:・[一二三四五六七八九]+)?)"
DIGITS = {digit: value for value, digit in enumerate("〇一二三四五六七八九")}
TENS = {"十": 10, "百": 100, "千": 1000}


class Unclear(Exception):
    """The text does not say what the program looks for, or says it more than once; or no single world fits it."""


class Answers:
    """Programs by question and turn. Each is given both turns of its question, and works out what turn's answer is."""

    def __init__(self) -> None:
        self.by_turn: dict[tuple[str, int], Compute] = {}

    def to(self, question: int, turn: int) -> Callable[[Program], Program]:
        def keep(compute: Program) -> Program:
            self.by_turn[str(question), turn] = compute
            return compute

        return keep


def number(text: str) -> Fraction:
    """１,０８０, 7.5, 三百五, 二〇四, 七・五."""
    plain = unicodedata.normalize("NFKC", text).replace(",", "")
    if re.fullmatch(r"\d+(\.\d+)?", plain):
        return Fraction(plain)
    whole, _, part = plain.partition("・")
    value = Fraction(0)
    if "".join(whole).strip("〇一二三四五六七八九"):
        digit = 0
        for sign in whole:
            if sign in DIGITS:
                digit = DIGITS[sign]
            else:
                value += (digit or 1) * TENS[sign]
                digit = 0
        value += digit
    else:
        value = Fraction("".join(str(DIGITS[sign]) for sign in whole))
    return value + Fraction(int("".join(str(DIGITS[sign]) for sign in part)), 10 ** len(part)) if part else value


def fact(text: str, around: str) -> Fraction:
    """The number that stands at `{}` in `around`; raises Unclear unless there is exactly one such place."""
    before, after = around.split("{}")
    found = {number(match) for match in re.findall(re.escape(before) + NUMBER + re.escape(after), text)}
    if len(found) != 1:
        raise Unclear(f"`{around}` is in the text {len(found)} times")
    return found.pop()


def whole(text: str, around: str) -> int:
    value = fact(text, around)
    if value.denominator != 1:
        raise Unclear(f"`{around}` is no whole number")
    return int(value)


def said(text: str, *words: str) -> None:
    """Raises Unclear unless the text says each of them, so that a program cannot outlive the text that it is of."""
    for word in words:
        if word not in text:
            raise Unclear(f"the text no longer says `{word}`")


def between(text: str, begin: str, end: str = "") -> str:
    """What stands between two marks, to the end of the text without the second."""
    said(text, begin)
    rest = text.split(begin, 1)[1]
    said(rest, end)
    return (rest.split(end, 1)[0] if end else rest).strip()


def only(found: Iterable[T]) -> T:
    """The one thing that there is; raises Unclear for none, and for several different ones."""
    different: list[T] = []
    for one in found:
        if one not in different:
            different.append(one)
    if len(different) != 1:
        raise Unclear(f"{len(different)} answers fit instead of one: {different[:5]}")
    return different[0]
