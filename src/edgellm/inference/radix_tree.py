"""A radix tree over token ids: which of many entries begins as a prompt does, in time of the prompt's length.

An edge carries a run of ids; every node but the root has an entry or at least two children, so that the tree has no
more nodes than twice its entries.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
E = TypeVar("E", bound=Hashable)


def common_length(one: Ids, other: Ids) -> int:
    """How many tokens two runs of ids begin with alike."""
    shorter = min(len(one), len(other))
    different = one[:shorter] != other[:shorter]
    return int(different.argmax()) if different.any() else shorter


@dataclass(eq=False)
class Node(Generic[E]):
    edge: Ids  # from the parent to here
    depth: int  # tokens from the root to here
    parent: Node[E] | None = None
    children: dict[int, Node[E]] = field(default_factory=dict)  # by the first id of their edge
    entries: dict[E, None] = field(default_factory=dict)  # in the order in which they came

    def subtree(self) -> Iterator[E]:
        """The entries here and below."""
        nodes = [self]
        while nodes:
            node = nodes.pop()
            yield from node.entries
            nodes += node.children.values()


class RadixTree(Generic[E]):
    """Entries by their token ids. An entry stands in it once; several may have the same ids."""

    def __init__(self) -> None:
        self._root: Node[E] = Node(np.empty(0, np.int32), 0)
        self._nodes: dict[E, Node[E]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, entry: E) -> bool:
        return entry in self._nodes

    def insert(self, ids: Ids, entry: E) -> None:
        node = self._root
        while node.depth < len(ids):
            child = node.children.get(int(ids[node.depth]))
            if child is None:
                child = Node(ids[node.depth :], len(ids), node)
                node.children[int(ids[node.depth])] = child
            else:
                child = self._split(child, common_length(child.edge, ids[node.depth :]))
            node = child
        node.entries[entry] = None
        self._nodes[entry] = node

    def remove(self, entry: E) -> None:
        node = self._nodes.pop(entry)
        del node.entries[entry]
        while node.parent is not None and not node.entries and len(node.children) < 2:
            parent = node.parent
            if node.children:
                self._join(node)
                return
            del parent.children[int(node.edge[0])]
            node = parent

    def like(self, ids: Ids) -> tuple[int, Iterator[E]]:
        """The most tokens with which any entry begins as `ids` does, and the entries that begin with these."""
        node, common = self._root, 0
        while common == node.depth and common < len(ids) and int(ids[common]) in node.children:
            node = node.children[int(ids[common])]
            common += common_length(node.edge, ids[common:])
        return common, node.subtree()

    def prefixes(self, ids: Ids) -> Iterator[tuple[int, E]]:
        """The entries that `ids` begins with as a whole, with their tokens; the longest first."""
        node, found = self._root, [self._root]
        while (child := node.children.get(int(ids[node.depth])) if node.depth < len(ids) else None) is not None:
            if common_length(child.edge, ids[node.depth :]) < len(child.edge):
                break
            node = child
            found.append(node)
        return ((node.depth, entry) for node in reversed(found) for entry in node.entries)

    def own_tokens(self, entry: E) -> int:
        """How many of an entry's tokens no other entry begins with: those at its end that only it has."""
        node = self._nodes[entry]
        return 0 if node.children or len(node.entries) > 1 else len(node.edge)

    def step_tokens(self, entry: E) -> int:
        """By how many tokens an entry is longer than the next shorter one that it begins with."""
        node = self._nodes[entry]
        if len(node.entries) > 1:
            return 0
        above = node.parent
        while above is not None and not above.entries:
            above = above.parent
        return node.depth - (above.depth if above is not None else 0)

    def _split(self, node: Node[E], length: int) -> Node[E]:
        """The node after the first `length` ids of the edge to `node`, made where there is none."""
        if length == len(node.edge):
            return node
        parent = node.parent
        assert parent is not None
        upper = Node(node.edge[:length], parent.depth + length, parent, {int(node.edge[length]): node})
        parent.children[int(node.edge[0])] = upper
        node.edge, node.parent = node.edge[length:], upper
        return upper

    def _join(self, node: Node[E]) -> None:
        """Take out a node without entries that has one child."""
        (child,) = node.children.values()
        parent = node.parent
        assert parent is not None
        child.edge, child.parent = np.concatenate([node.edge, child.edge]), parent
        parent.children[int(child.edge[0])] = child
