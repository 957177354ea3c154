"""Where the names of points go, so that none covers a point, a bar or another name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

CHARACTER_WIDTH = 8.6  # of a capital letter or digit at the font size of plots, in the plot's pixels
HEIGHT = 14.0
# Directions in order of preference: beside, above and below, then the diagonals.
DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))
DISTANCES = (7.0, 16.0, 24.0, 32.0, 42.0, 56.0)


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: Box) -> bool:
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True)
class Placed:
    """A name's box and, where it stands away from its point, the line (x1, y1, x2, y2) that joins them."""

    box: Box
    leader: tuple[float, float, float, float] | None


def place(names: Sequence[str], points: Sequence[tuple[float, float]], area: Box, taken: Sequence[Box]) -> list[Placed]:
    """A place in `area` for each name near its point, clear of `taken` and of other names and their leaders.

    `taken` holds each point's own box first, in the order of the points. Names are placed in order, each at
    the nearest place that nothing else needs, or else where it is least in the way.
    """
    occupied, result = list(taken), []
    for i, (name, (x, y)) in enumerate(zip(names, points, strict=True)):
        choices = [beside(name, x, y, d, r) for r, d in product(DISTANCES, DIRECTIONS)]
        others = [box for box in occupied if box is not taken[i]]
        clashes = [
            100 * (not area.holds(c.box))
            + sum(c.box.meets(box) for box in occupied)
            + sum(crosses(c.leader, box) for box in others)
            for c in choices
        ]
        chosen = choices[clashes.index(min(clashes))]
        occupied.append(chosen.box)
        result.append(chosen)
    return result


def beside(name: str, x: float, y: float, direction: tuple[int, int], distance: float) -> Placed:
    """`name` with its nearest edge or corner `distance` from the point in each direction."""
    width = CHARACTER_WIDTH * len(name)
    across, down = direction
    left = x + distance if across > 0 else x - distance - width if across < 0 else x - width / 2
    top = y + distance if down > 0 else y - distance - HEIGHT if down < 0 else y - HEIGHT / 2
    box = Box(left, top, left + width, top + HEIGHT)
    if distance == DISTANCES[0]:
        return Placed(box, None)
    return Placed(box, (x, y, x + across * distance, y + down * distance))


def crosses(leader: tuple[float, float, float, float] | None, box: Box) -> bool:
    """Whether a leader passes through a box, tried at points one pixel or less apart."""
    if leader is None:
        return False
    x1, y1, x2, y2 = leader
    if not Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)).meets(box):
        return False
    steps = int(max(abs(x2 - x1), abs(y2 - y1))) + 1
    spots = ((x1 + (x2 - x1) * i / steps, y1 + (y2 - y1) * i / steps) for i in range(steps + 1))
    return any(box.left < x < box.right and box.top < y < box.bottom for x, y in spots)
