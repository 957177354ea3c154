"""The allocator against trying everything."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from edgellm.measures import allocation
from edgellm.measures.allocation import Option, allocate


def random_groups(seed: int) -> list[list[Option]]:
    """Up to 6 groups of up to 5 options; sizes in any number of bytes, more of them mostly better."""
    rng = np.random.default_rng(seed)
    unit = int(rng.choice([1, 32, 700]))
    return [
        [
            Option(int(rng.integers(1, 60)) * unit, float(rng.exponential()))
            for _ in range(rng.integers(1, 6))
        ]
        for _ in range(rng.integers(1, 7))
    ]  # fmt: skip


def total(groups: Sequence[Sequence[Option]], places: Sequence[int]) -> tuple[int, float]:
    taken = [options[p] for options, p in zip(groups, places, strict=True)]
    return sum(o.bytes for o in taken), sum(o.cost for o in taken)


def by_trying_all(groups: Sequence[Sequence[Option]], most_bytes: int) -> float | None:
    every = (total(groups, places) for places in itertools.product(*(range(len(g)) for g in groups)))
    return min((cost for size, cost in every if size <= most_bytes), default=None)


@pytest.mark.parametrize("seed", range(60))
def test_the_choice_costs_as_little_as_the_best_of_all_and_fits(seed: int) -> None:
    groups = random_groups(seed)
    smallest, largest = (sum(pick(o.bytes for o in g) for g in groups) for pick in (min, max))
    for most in np.linspace(smallest - 1, largest + 1, 9).astype(int):
        best, found = by_trying_all(groups, int(most)), allocate(groups, int(most))
        if best is None:
            assert found is None
            continue
        assert found is not None
        size, cost = total(groups, found)
        assert size <= most
        assert cost == pytest.approx(best)


def test_with_too_few_cells_the_choice_still_fits_and_is_nearly_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "CELLS", 50)
    rng = np.random.default_rng(1)
    groups = [
        [Option(int(b * 100_003 * w), float(w * 4.0**-b)) for b in (2, 3, 4, 5, 6, 8)] for w in rng.uniform(0.5, 3, 6)
    ]
    most = sum(g[2].bytes for g in groups)
    best, found = by_trying_all(groups, most), allocate(groups, most)
    assert best is not None
    assert found is not None
    size, cost = total(groups, found)
    assert size <= most
    assert cost <= 1.25 * best


def test_of_equal_costs_the_smaller_option_is_taken() -> None:
    assert allocate([[Option(9, 1.0), Option(5, 1.0), Option(7, 1.0)]], 100) == [1]
