"""Multiple choice by likelihood: which choice's words the model finds likeliest after the question.

Four ways to rank them, all from the same sums of log-probabilities:

- `raw`: Σ log p of the choice; what lm-evaluation-harness calls `acc`. Prefers short choices.
- `token`: per token. Depends on how a vocabulary happens to cut a word, so two models are not ranked alike.
- `byte`: per UTF-8 byte, lm-evaluation-harness's `acc_bytes`. A kana or kanji has three bytes and a Latin letter one,
  so that mixed choices are weighed unevenly.
- `character`: per Unicode code point, lm-evaluation-harness's `acc_norm`. **The main one**: it removes the preference
  for short choices, does not depend on the vocabulary, and weighs one written character as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgellm.evals.choice.items import ChoiceItem
from edgellm.evals.choice.prompts import likelihood_prompt
from edgellm.evals.model import Model

MAIN = "character"


@dataclass(frozen=True)
class Lengths:
    """Of one choice, with how likely it is."""

    nats: float
    tokens: int
    utf8_bytes: int
    characters: int


def scored(model: Model, item: ChoiceItem, shots: Sequence[ChoiceItem] = ()) -> list[Lengths]:
    """Each choice's log-probability after the question, in nats. Raises what `Model.likelihoods` raises."""
    found = model.likelihoods(likelihood_prompt(item, shots), item.choices)
    return [
        Lengths(one.nats, one.tokens, one.utf8_bytes, len(choice))
        for one, choice in zip(found, item.choices, strict=True)
    ]  # fmt: skip


def chosen_by(choices: Sequence[Lengths]) -> dict[str, int]:
    """The index of the likeliest choice in each of the four ways; the first of equals, as in the harness."""
    ways = {
        "raw": [one.nats for one in choices],
        "token": [one.nats / one.tokens for one in choices],
        "byte": [one.nats / one.utf8_bytes for one in choices],
        "character": [one.nats / one.characters for one in choices],
    }
    return {way: max(range(len(values)), key=values.__getitem__) for way, values in ways.items()}
