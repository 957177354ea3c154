"""Choosing one option for every group so that the costs are least and the bytes stay within a limit.

This is the multiple-choice knapsack problem. It is solved by dynamic programming over the bytes (Dudzinski and
Walukiewicz 1987 survey the problem): exactly where the sizes' common divisor allows a table of `CELLS`, and otherwise
with sizes rounded up to the table's cells, after which what was rounded away is spent on the best single changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

CELLS = 100_000


@dataclass(frozen=True)
class Option:
    bytes: int
    cost: float


def allocate(groups: Sequence[Sequence[Option]], most_bytes: int) -> list[int] | None:
    """For each group the place of its option, with the least total cost in at most `most_bytes`; None if none fit.

    The same input gives the same choice: of equal costs the one with fewer bytes is taken.
    """
    useful = [worthwhile(options) for options in groups]
    least = [options[places[0]].bytes for options, places in zip(groups, useful, strict=True)]
    room = most_bytes - sum(least)
    if room < 0:
        return None
    extras = [
        [options[p].bytes - start for p in places] for options, places, start in zip(groups, useful, least, strict=True)
    ]
    room = min(room, sum(extra[-1] for extra in extras))
    cell = max(gcd(*(e for extra in extras for e in extra)), 1)
    cell = cell if room // cell <= CELLS else -(-room // CELLS)
    costs = [[options[p].cost for p in places] for options, places in zip(groups, useful, strict=True)]
    taken = table([[-(-e // cell) for e in extra] for extra in extras], costs, room // cell)
    spend_rest(taken, extras, costs, room)
    return [places[t] for places, t in zip(useful, taken, strict=True)]


def worthwhile(options: Sequence[Option]) -> list[int]:
    """Places of the options that no smaller or equal one beats, from the smallest to the largest."""
    order = sorted(range(len(options)), key=lambda i: (options[i].bytes, options[i].cost, i))
    kept: list[int] = []
    for place in order:
        if not kept or options[place].cost < options[kept[-1]].cost:
            kept.append(place)
    return kept


def table(sizes: Sequence[Sequence[int]], costs: Sequence[Sequence[float]], room: int) -> list[int]:
    """The exact choice for sizes in cells; the first option of every group has size 0, so that one always fits."""
    best = np.zeros(room + 1)
    chosen = np.zeros((len(sizes), room + 1), np.int8)
    for row, size, cost in zip(chosen, sizes, costs, strict=True):
        found = best + cost[0]
        for place in range(1, len(size)):
            step = size[place]
            if step > room:
                break
            with_it = best[: room + 1 - step] + cost[place]
            better = with_it < found[step:]
            found[step:][better] = with_it[better]
            row[step:][better] = place
        best = found
    taken = [0] * len(sizes)
    left = room
    for group in reversed(range(len(sizes))):
        taken[group] = int(chosen[group, left])
        left -= sizes[group][taken[group]]
    return taken


def spend_rest(
    taken: list[int], extras: Sequence[Sequence[int]], costs: Sequence[Sequence[float]], room: int
) -> None:  # fmt: skip
    """Change single groups, the one that saves most first, while the bytes allow it."""
    while True:
        left = room - sum(extra[t] for extra, t in zip(extras, taken, strict=True))
        changes = [
            (cost[place] - cost[now], group, place)
            for group, (extra, cost, now) in enumerate(zip(extras, costs, taken, strict=True))
            for place in range(len(extra))
            if extra[place] - extra[now] <= left and cost[place] < cost[now]
        ]
        if not changes:
            return
        _, group, place = min(changes)
        taken[group] = place
