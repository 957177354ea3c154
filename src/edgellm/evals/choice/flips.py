"""Flips: items that one model has right and the other wrong, which a mean hides when they cancel.

Two models of the same accuracy may disagree on many items. Counting those is what shows a quantization's damage
first (Dutta et al. 2024, "Accuracy is Not All You Need", which calls them so). Our own 100 items in `data/items.jsonl`
are for this: they show flips between a quantization and its original, and are far too few and too easy to rank models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgellm.errors import UsageError
from edgellm.evals.choice.items import OWN_ITEMS, ChoiceItem
from edgellm.evals.choice.likelihood import chosen_by, scored
from edgellm.evals.model import Model
from edgellm.records.evals import ItemRecord


@dataclass(frozen=True)
class Flips:
    """What changed from one model to another on the same items."""

    items: int  # that both have a score of
    right_before: int
    right_after: int
    to_wrong: tuple[str, ...]  # ids of items that were right and are wrong
    to_right: tuple[str, ...]
    other_answers: int  # items with another answer than before, the changes between two wrong ones included
    p: float  # McNemar, exact, two-sided

    @property
    def count(self) -> int:
        return len(self.to_wrong) + len(self.to_right)

    @property
    def percent(self) -> float:
        return 100.0 * self.count / self.items


def mcnemar(one_way: int, other_way: int) -> float:
    """Exact two-sided p of McNemar's test: how often a fair coin splits `one_way + other_way` flips this unevenly.

    min(1, 2 · Σ_{k ≤ min} C(n, k) / 2ⁿ) (McNemar 1947, with the binomial in place of the normal approximation).
    """
    n = one_way + other_way
    tail = sum(math.comb(n, k) for k in range(min(one_way, other_way) + 1))
    return min(1.0, float(2 * tail / 2**n))


def flips(before: Sequence[ItemRecord], after: Sequence[ItemRecord]) -> Flips:
    """The flips between the records of two results on the same items; right is a score of 1.

    Items that either result could not score are left out. Raises UsageError where the results have other items, or
    none with a score in both.
    """
    first, second = (keyed(records) for records in (before, after))
    if first.keys() != second.keys():
        (lone, *_) = sorted(first.keys() ^ second.keys())
        raise UsageError(f"the two results are not of the same items ({lone[0]} is in one alone); run both on one file")
    both = [key for key in first if first[key].score is not None and second[key].score is not None]
    if not both:
        raise UsageError("no item has a score in both results, so there is no flip to count; run both again")
    right = [(key[0], first[key].score == 1, second[key].score == 1) for key in both]
    to_wrong = tuple(name for name, was, now in right if was and not now)
    to_right = tuple(name for name, was, now in right if now and not was)
    return Flips(
        items=len(both),
        right_before=sum(was for _, was, _ in right),
        right_after=sum(now for _, _, now in right),
        to_wrong=to_wrong,
        to_right=to_right,
        other_answers=sum(answered(first[key]) != answered(second[key]) for key in both),
        p=mcnemar(len(to_wrong), len(to_right)),
    )


def keyed(records: Sequence[ItemRecord]) -> dict[tuple[str, int, int], ItemRecord]:
    return {(record.id, record.repeat, record.turn): record for record in records}


def answered(record: ItemRecord) -> object:
    """What a suite found to be the answer, else the words themselves."""
    return record.detail.get("chosen", record.answer)


def own_items() -> list[ChoiceItem]:
    """The items that ship with edgellm, for flips alone."""
    from edgellm.evals.choice.files import read_items

    return read_items(OWN_ITEMS)


def flips_of(
    reference: Model,
    artifacts: Mapping[str, Model],
    items: Sequence[ChoiceItem] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Flips]:
    """How often each artifact answers otherwise than the reference, by likelihood, without examples before an item.

    `items`: our own by default. The chosen answer is the likeliest per character, the main measure of the suite
    `choice`. `on_progress` hears (items asked of all models, of how many). Raises what `Model.likelihoods` raises.
    """
    items = own_items() if items is None else items
    asked = 0

    def answers(model: Model) -> list[ItemRecord]:
        nonlocal asked
        found = []
        for item in items:
            chosen = chosen_by(scored(model, item))["character"]
            found.append(ItemRecord(id=item.id, score=float(chosen == item.answer), detail={"chosen": chosen}))
            asked += 1
            if on_progress:
                on_progress(asked, len(items) * (1 + len(artifacts)))
        return found

    own = answers(reference)
    return {name: flips(own, answers(model)) for name, model in artifacts.items()}
