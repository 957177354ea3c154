"""The radix tree against a list of all entries, compared one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.inference.radix_tree import RadixTree, common_length

IDS = st.lists(st.integers(0, 2), max_size=8)


def array(ids: list[int]) -> np.ndarray:
    return np.array(ids, np.int32)


def shared(one: list[int], other: list[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(IDS, st.booleans()), max_size=20), IDS)
def test_the_tree_finds_what_a_list_of_all_entries_does(
    changes: list[tuple[list[int], bool]], prompt: list[int]
) -> None:
    tree: RadixTree[int] = RadixTree()
    held: dict[int, list[int]] = {}
    for number, (ids, removes) in enumerate(changes):
        if removes and held:
            oldest = next(iter(held))
            tree.remove(oldest)
            del held[oldest]
        else:
            tree.insert(array(ids), number)
            held[number] = ids
    assert len(tree) == len(held)
    common, entries = tree.like(array(prompt))
    assert common == max((shared(ids, prompt) for ids in held.values()), default=0)
    assert set(entries) == {n for n, ids in held.items() if shared(ids, prompt) == common}
    prefixes = list(tree.prefixes(array(prompt)))
    assert {n for _, n in prefixes} == {n for n, ids in held.items() if prompt[: len(ids)] == ids}
    assert [tokens for tokens, _ in prefixes] == sorted((len(held[n]) for _, n in prefixes), reverse=True)
    for number, ids in held.items():
        others = [other for n, other in held.items() if n != number]
        assert tree.own_tokens(number) == len(ids) - max((shared(ids, other) for other in others), default=0)
        shorter = [len(other) for other in others if ids[: len(other)] == other]
        assert tree.step_tokens(number) == len(ids) - max(shorter, default=0)


def test_the_common_length_ends_at_the_first_difference_or_with_the_shorter() -> None:
    assert common_length(array([1, 2, 3]), array([1, 2, 4, 5])) == 2
    assert common_length(array([1, 2]), array([1, 2, 4])) == 2
    assert common_length(array([]), array([1])) == 0
