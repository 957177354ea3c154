"""How a question is put to a model: our own words."""

from __future__ import annotations

import random
from collections.abc import Sequence

from edgellm.errors import UsageError
from edgellm.evals.choice.items import ChoiceItem

WORDING = 1  # raised when any word below changes, so that results with other words are never compared

INTRODUCTION = "次の問題を読み、選択肢の中から正しいものを一つ選んでください。\n\n"
LETTER_ONLY = "最後の行に「答え：」と書き、続けて選んだ選択肢の記号を一つだけ書いてください。"
ANSWER = "答え："


def listed(item: ChoiceItem) -> str:
    choices = "\n".join(f"{item.label(i)}. {choice}" for i, choice in enumerate(item.choices))
    return f"問題：{item.question}\n選択肢：\n{choices}\n"


def likelihood_prompt(item: ChoiceItem, shots: Sequence[ChoiceItem] = ()) -> str:
    """The text that a choice's own words follow; solved examples first. It names every choice, since many questions
    ("which of these is wrong") cannot be answered without seeing the others."""
    solved = "".join(f"{listed(shot)}{ANSWER}{shot.choices[shot.answer]}\n\n" for shot in shots)
    return f"{INTRODUCTION}{solved}{listed(item)}{ANSWER}"


def chat_prompt(item: ChoiceItem, shots: Sequence[ChoiceItem] = ()) -> str:
    """One user message that asks for a label; solved examples first."""
    solved = "".join(f"{listed(shot)}{ANSWER}{shot.label(shot.answer)}\n\n" for shot in shots)
    return f"{INTRODUCTION}{solved}{listed(item)}\n{LETTER_ONLY}"


class Examples:
    """The solved examples that stand before an item: the same for all items, but never the item itself.

    `count` + 1 items are drawn by the seed; an item that is one of them gets the others. So nearly all prompts begin
    alike, and what they share need not be computed again.
    """

    def __init__(self, items: Sequence[ChoiceItem], count: int, seed: int) -> None:
        """Raises UsageError where the file has too few different questions."""
        different = list({item.question: item for item in items}.values())
        if count < 0:
            raise UsageError(f"--shots is {count}; give 0 or more")
        if count and len(different) <= count:
            raise UsageError(
                f"--shots {count} needs at least {count + 1} different questions and the file has {len(different)}; "
                "ask for fewer"
            )
        self.count = count
        self.drawn = random.Random(f"shots {seed}").sample(different, count + 1) if count else []

    def of(self, item: ChoiceItem) -> list[ChoiceItem]:
        """Never one with the question of `item`, which a file may hold twice."""
        return [shot for shot in self.drawn if shot.question != item.question][: self.count]
