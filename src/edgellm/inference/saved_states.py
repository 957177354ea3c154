"""What was computed and is no longer held by any sequence: states in memory and in files, the worthiest of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgellm.inference.radix_tree import Ids, RadixTree
from edgellm.inference.state_folder import StateFolder


@dataclass(eq=False)
class Known:
    """Tokens that need not be computed: a sequence holds them, or a state in memory, or a file, or both of these."""

    ids: Ids
    home: RadixTree[Known]
    group: str  # digest of the model and of whoever may share it
    sequence: int | None = None
    state: bytes | None = None
    file: Path | None = None
    uses: int = 1
    clock: float = 0.0


class Worth:
    """What is kept and what goes: greedy dual size frequency (Cherkasova 1998, HP Labs report 98-69).

    worth = clock at the last use + uses × tokens saved / size. The clock is set to the worth of whatever goes, so that
    what was useful long ago falls behind what was used lately.
    """

    def __init__(self) -> None:
        self._clock = 0.0

    def use(self, entry: Known) -> None:
        entry.uses += 1
        entry.clock = self._clock

    def enter(self, entry: Known) -> None:
        entry.clock = self._clock

    def of(self, entry: Known, tokens: int, size: int) -> float:
        return entry.clock + entry.uses * tokens / size

    def gone(self, worth: float) -> None:
        self._clock = max(self._clock, worth)


class SavedStates:
    """States within a number of bytes of memory, and in a folder where there is one."""

    def __init__(self, limit_bytes: int, folder: StateFolder | None, saving: Callable[[Known], int]) -> None:
        """`saving` tells how many tokens are computed again if an entry goes."""
        self._limit_bytes = limit_bytes
        self._folder = folder
        self._saving = saving
        self._worth = Worth()
        self._in_memory: dict[Known, int] = {}  # bytes of each
        self._filed: deque[Known] = deque()  # those with files, which any engine may have deleted since
        self._bytes = 0
        self._too_many_tokens = math.inf  # whose state was larger than all of the memory

    def have_room_for(self, tokens: int) -> bool:
        """False if a state of as many tokens was found to be too large: it need not even be made."""
        return self._folder is not None or tokens < self._too_many_tokens

    def add(self, entry: Known, state: bytes, *, wait: bool = False) -> None:
        """Keep a state, which may send others away; `wait` for a slow disk."""
        if len(state) > self._limit_bytes:
            self._too_many_tokens = min(self._too_many_tokens, len(entry.ids))
            if self._folder is None:
                return
        if self._folder is not None:
            entry.file = self._folder.path_of(entry.group, entry.ids)
            self._folder.write(entry.file, entry.ids, state, wait=wait)
            self._look_after_files()
            self._filed.append(entry)
        entry.home.insert(entry.ids, entry)
        self._worth.enter(entry)
        self._hold(entry, state)

    def found(self, entry: Known) -> None:
        """An entry that lies in a file from before."""
        entry.home.insert(entry.ids, entry)
        self._filed.append(entry)

    def take(self, entry: Known) -> bytes | None:
        """The state of an entry, which counts as a use; None, and the entry is gone, where its file is."""
        state = entry.state
        if state is None and self._folder is not None and entry.file is not None:
            state = self._folder.read(entry.file)
        if state is None:
            entry.home.remove(entry)
            return None
        self._worth.use(entry)
        if entry.state is None:
            self._hold(entry, state)
        return state

    def drop(self, entry: Known, reason: str) -> None:
        """Forget an entry whose state is of no use."""
        self._bytes -= self._in_memory.pop(entry, 0)
        if self._folder is not None and entry.file is not None:
            self._folder.drop(entry.file, reason)
        if entry in entry.home:
            entry.home.remove(entry)

    def close(self) -> None:
        if self._folder is not None:
            self._folder.close()

    def _look_after_files(self) -> None:
        """Forget entries whose files are gone: two are looked at for each that comes, so that no more are known than
        twice what the folder holds."""
        for _ in range(min(2, len(self._filed))):
            entry = self._filed.popleft()
            assert entry.file is not None
            if entry not in entry.home:
                continue
            if entry.state is not None or entry.file.exists():
                self._filed.append(entry)
            else:
                entry.home.remove(entry)

    def _hold(self, entry: Known, state: bytes) -> None:
        """Keep it in memory, unless it alone is too large for that."""
        if len(state) > self._limit_bytes:
            return
        entry.state = state
        self._in_memory[entry] = len(state)
        self._bytes += len(state)
        while self._bytes > self._limit_bytes:
            worths = {each: self._worth.of(each, self._saving(each), size) for each, size in self._in_memory.items()}
            least = min(worths, key=worths.__getitem__)
            self._worth.gone(worths[least])
            self._bytes -= self._in_memory.pop(least)
            least.state = None
            if least.file is None:
                least.home.remove(least)
