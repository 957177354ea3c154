"""Prefix reuse: what was computed for one prompt is not computed again for another that begins with the same tokens.

A prompt may be continued from three places: from the sequence that it is given, from another sequence (even one whose
answer is under way), and from a state that was saved when a sequence was needed for something else. One radix tree for
each pair of cache scope and adapter finds the longest match, so that nothing is ever shared across either.

Models that cannot be cut (recurrent and hybrid ones) go on only from exactly where a state was taken. Theirs are taken
on the way, at `pause`s: where the request says, where its prompt parts from an earlier one, and at its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from edgellm.engines.protocol import Runtime
from edgellm.errors import BadInput, EdgellmError
from edgellm.inference.generation import Request
from edgellm.inference.radix_tree import Ids, RadixTree, common_length
from edgellm.inference.saved_states import Known, SavedStates, Worth
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.state_folder import StateFolder
from edgellm.store.digest import of_value

WORTHWHILE = 16  # tokens: fewer are computed sooner than copied, restored or saved
SHORTEST_REST = 2  # tokens that are always read: engines compute a single one in another way than several
CROWD_MEMORY = 32  # requests over which the most that ran at once is remembered


class PrefixCache:
    """What every sequence of a runtime holds, and what is saved beside. For the thread that drives the runtime."""

    def __init__(self, runtime: Runtime, options: SchedulerOptions) -> None:
        """Raises NotWritable as `StateFolder`."""
        self._runtime = runtime
        self._info = runtime.info
        self._on = options.cache_bytes > 0
        folder = None
        if self._on and options.cache_folder is not None:
            folder = StateFolder(options.cache_folder, options.cache_folder_bytes)
        self._folder = folder
        self._saved = SavedStates(options.cache_bytes, folder, self._saving)
        self._trees: dict[tuple[str, str | None], RadixTree[Known]] = {}
        self._live: list[Known | None] = [None] * self._info.sequences
        self._pauses: list[list[int]] = [[] for _ in range(self._info.sequences)]
        self._worth = Worth()
        self._crowds: deque[int] = deque(maxlen=CROWD_MEMORY)

    def acquire(self, request: Request, free: Sequence[int]) -> int:
        """The free sequence that the request should get: one that holds the beginning of its prompt and nothing else
        of worth, or else the one whose content is worth least, the lowest number of several.

        Only the lowest numbers are given out, as many as were needed at once of late: sequences whose numbers lie
        apart are slower to compute together than any copy is.
        """
        self._crowds.append(self._info.sequences - len(free) + 1)
        near = [sequence for sequence in free if sequence < max(self._crowds)] or [min(free)]
        if not self._on:
            return min(near)
        ids, tree = _array(request.ids), self._tree(request)

        def cost(sequence: int) -> tuple[float, int, int]:
            own = self._live[sequence]
            if own is None:
                return 0.0, 0, sequence
            kept = self._kept(own, ids) if own.home is tree else 0
            lost = self._lost(own, kept)
            worth = self._worth.of(own, lost, len(own.ids)) if lost >= WORTHWHILE else 0.0
            return worth, -kept if kept >= WORTHWHILE else 0, sequence

        chosen = min(near, key=cost)
        self._worth.gone(cost(chosen)[0])
        return chosen

    def reuse(self, sequence: int, request: Request) -> int:
        """Make `sequence` hold the longest known beginning of the prompt, and give its tokens; the last ones of a
        prompt are always left to read. To be called before anything of the prompt is fed.

        Raises EngineFailed.
        """
        if not self._on:
            self._runtime.keep(sequence, 0)
            return 0
        ids, tree = _array(request.ids), self._tree(request)
        parting, _ = tree.like(ids)
        while (tokens := self._bring(sequence, ids, tree)) is None:
            pass  # what was chosen turned out to be damaged, and is gone
        if not self._info.can_cut:
            places = {*(request.checkpoints or (len(ids) - 1,)), parting}
            self._pauses[sequence] = sorted(p for p in places if tokens + WORTHWHILE <= p < len(ids))
        return tokens

    def pause(self, sequence: int, held: int) -> int | None:
        """Where reading a prompt must stop next for `remember`, in tokens; None: nowhere before its end."""
        return next((place for place in self._pauses[sequence] if place > held), None)

    def remember(self, sequence: int, ids: Sequence[int], request: Request) -> None:
        """The sequence holds `ids`, the prompt alone or with its answer: to be called where the reading paused, when
        the prompt has been read, and when the answer has ended."""
        if not self._on:
            return
        held = _array(ids)[: self._runtime.held(sequence)]
        if self._info.can_cut:
            # An answer counts only where it leaves the same bits behind as the same tokens in a prompt.
            self._settle(sequence, held if self._info.answers_reusable else held[: len(request.ids)], request)
        elif len(held) in self._pauses[sequence]:
            self._save(sequence, held, request)
        elif len(held) > len(request.ids):
            self._settle(sequence, held, request)

    def forget(self, sequence: int) -> None:
        """Nobody knows what the sequence holds."""
        own, self._live[sequence] = self._live[sequence], None
        self._pauses[sequence] = []
        if own is not None:
            own.home.remove(own)

    def close(self) -> None:
        """Save to the folder, if there is one, what is in sequences alone; the runtime must still be open."""
        if self._folder is not None:
            with suppress(EdgellmError):  # an engine that has failed has nothing left to save
                for sequence in range(self._info.sequences):
                    self._leave(sequence, 0, wait=True)
        self._saved.close()

    def _tree(self, request: Request) -> RadixTree[Known]:
        key = request.cache_scope, request.adapter
        tree = self._trees.get(key)
        if tree is None:
            tree = self._trees[key] = RadixTree()
            group = self._group(request)
            for path, ids in self._folder.entries(group) if self._folder is not None else ():
                self._saved.found(Known(ids, tree, group, file=path))
        return tree

    def _group(self, request: Request) -> str:
        digest = of_value([self._info.state_digest, request.cache_scope, request.adapter])
        return digest.removeprefix("sha256:")

    def _bring(self, sequence: int, ids: Ids, tree: RadixTree[Known]) -> int | None:
        """Put the best there is into the sequence, and give its tokens; None if that failed, and must be tried again
        without it."""
        own = self._live[sequence]
        best, tokens = self._best(ids, tree, own)
        state = None
        if best is not None and best.sequence is None:
            state = self._saved.take(best)
            if state is None:
                return None
        self._leave(sequence, tokens if best is own else 0)
        if best is None:
            self._runtime.keep(sequence, 0)
            return 0
        if state is not None:
            try:
                self._runtime.restore(sequence, state)
            except BadInput as error:
                self._saved.drop(best, str(error))
                return None
        elif best.sequence is not None and best is not own:
            self._worth.use(best)
            self._runtime.copy(best.sequence, sequence)
        self._runtime.keep(sequence, tokens)
        return tokens

    def _best(self, ids: Ids, tree: RadixTree[Known], own: Known | None) -> tuple[Known | None, int]:
        """What to go on from, and how many of its tokens; `own` is what the sequence itself holds."""
        if own is None or own.home is not tree:
            own = None
        kept = 0 if own is None else self._kept(own, ids)
        if not self._info.can_cut:
            found = [(tokens, each) for tokens, each in tree.prefixes(ids[:-1]) if tokens >= WORTHWHILE]
            longest = [each for tokens, each in found if tokens == found[0][0]]
            if not found or kept == found[0][0]:
                return (own, kept) if kept else (None, 0)
            return min(longest, key=_effort), found[0][0]
        common, entries = tree.like(ids[:-SHORTEST_REST])
        if common - kept >= WORTHWHILE:
            return min(entries, key=_effort), common
        return (own, kept) if kept else (None, 0)

    def _kept(self, own: Known, ids: Ids) -> int:
        """How many tokens of what a sequence holds are of use to a prompt."""
        common = common_length(own.ids, ids)
        if self._info.can_cut:
            return max(0, min(common, len(ids) - SHORTEST_REST))
        return common if common == len(own.ids) < len(ids) else 0

    def _lost(self, own: Known, kept: int) -> int:
        """How many tokens would have to be computed again if a sequence kept only so many."""
        return min(self._saving(own), len(own.ids) - kept)

    def _saving(self, entry: Known) -> int:
        """How many tokens only this entry saves."""
        return entry.home.own_tokens(entry) if self._info.can_cut else entry.home.step_tokens(entry)

    def _leave(self, sequence: int, kept: int, *, wait: bool = False) -> None:
        """The sequence goes on to something else after its first `kept` tokens; saves what is lost if it is of use."""
        own = self._live[sequence]
        if own is None:
            return
        state = None
        if self._lost(own, kept) >= WORTHWHILE and self._saved.have_room_for(len(own.ids)):
            self._runtime.keep(sequence, len(own.ids))  # it may hold an answer beyond
            state = self._runtime.save(sequence)
        self.forget(sequence)  # first: beside a sequence that holds the same a state would be worth nothing
        if state is not None:
            self._saved.add(Known(own.ids, own.home, own.group, uses=own.uses), state, wait=wait)

    def _settle(self, sequence: int, ids: Ids, request: Request) -> None:
        """The sequence holds at least these tokens until it is given to another request."""
        earlier = self._live[sequence]
        self.forget(sequence)
        if len(ids):
            entry = Known(ids, self._tree(request), self._group(request), sequence)
            entry.uses = earlier.uses if earlier is not None else 1
            self._worth.enter(entry)
            entry.home.insert(ids, entry)
            self._live[sequence] = entry

    def _save(self, sequence: int, ids: Ids, request: Request) -> None:
        """Save a checkpoint, unless there is one of the same tokens."""
        tree = self._tree(request)
        if next((tokens for tokens, _ in tree.prefixes(ids)), 0) < len(ids) and self._saved.have_room_for(len(ids)):
            self._saved.add(Known(ids, tree, self._group(request)), self._runtime.save(sequence))


def _array(ids: Sequence[int]) -> Ids:
    return np.asarray(ids, np.int32)


def _effort(entry: Known) -> tuple[int, int]:
    """A sequence is copied sooner than a state restored, and that sooner than a file read."""
    place = 0 if entry.sequence is not None else 1 if entry.state is not None else 2
    return place, len(entry.ids)
