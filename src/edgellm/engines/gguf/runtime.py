"""A GGUF model in memory: token ids in, logits out, through llama.cpp's low-level interface.

Each sequence has its own part of the KV cache (`kv_unified` is off), so sequences never slow one another down
by the length of the others, and a copy is a copy of the whole part.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from edgellm.engines.feeds import check_number, check_prompts, checked_ids, rows_wanted
from edgellm.engines.gguf import library
from edgellm.engines.gguf.batch import Batch
from edgellm.engines.gguf.embedding import Embedder
from edgellm.engines.gguf.grouping import Grouping, bridges, companions, one_by_one
from edgellm.engines.gguf.info import GgufInfo
from edgellm.engines.gguf.prompt_reader import SHORTEST, WORTH_DEPTH, WORTH_TOKENS, PromptReader
from edgellm.engines.gguf.sequence_state import read_state, write_state
from edgellm.engines.protocol import Feed, Logits
from edgellm.engines.states import pack, unpack
from edgellm.errors import BadInput, EngineFailed, UsageError


class GgufRuntime:
    """A loaded GGUF model behind the `Runtime` protocol.

    An adapter of llama.cpp's holds for a whole decode, so that feeds with different ones never share any.
    After an EngineFailed from `step`, a model that can be cut holds what it held before; one that cannot
    (recurrent and hybrid families) has lost the sequences that were fed: they are empty.
    """

    def __init__(
        self, model: Any, context: Any, info: GgufInfo, grouping: Grouping, adapters: Mapping[str, Any]
    ) -> None:  # fmt: skip
        self.gives_company = False  # whether a token that would be decoded alone gets one beside it
        self._model = model
        self._context = context
        self._memory = llama_cpp.llama_get_memory(context)
        self._info = info
        self._adapters = adapters
        self._adapter: str | None = None  # the one that the context computes with
        self._held = [0] * info.sequences
        self._begun_with: list[str | None] = [None] * info.sequences
        self._copying: set[int] = set()  # sources and targets of copies that llama.cpp carries out with its next decode
        self._batch = Batch(info.step_tokens, info.context_tokens + 1)  # and a companion
        self._grouping = grouping
        self._reader: PromptReader | None = None
        self._embedder = Embedder(model, info.embedding_width, info.threads)
        self._no_rows = np.empty((0, info.vocab_tokens), np.float32)
        self._table = self._no_rows
        self._table_address = 0

    @property
    def info(self) -> GgufInfo:
        return self._info

    @property
    def answers_reusable(self) -> bool:
        return self._info.answers_reusable

    @answers_reusable.setter
    def answers_reusable(self, found: bool) -> None:
        self._info = replace(self._info, answers_reusable=found)

    def read_with(self, reader: PromptReader | None) -> None:
        """Read prompts with this from now on, to be closed with the runtime; None: as before."""
        if self._reader is not None and self._reader.sequence is not None:
            self._bring_home(self._reader.sequence)
        self._reader = reader

    def tell(self, words: str) -> None:
        """Add to what `info.setup` says."""
        self._info = replace(self._info, setup=f"{self._info.setup}, {words}")

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """As `Runtime.step`; see the class for what an EngineFailed leaves behind."""
        self._check_open()
        if self._are_next_tokens(feeds):
            return self._next_tokens(feeds)
        ids = checked_ids(feeds, self._held, self._info)
        self._check_adapters(feeds)
        if self._reader is not None:
            if len(feeds) == 1 and self._is_for(self._reader, feeds[0]):
                return [self._read_beside(self._reader, feeds[0], ids)]
            for feed in feeds:
                self._bring_home(feed.sequence)
        ends = list(accumulate(len(feed.ids) for feed in feeds))
        before = list(self._held)
        logits: dict[int, Logits] = {}
        groups = list(self._groups(feeds))
        for places in groups:
            group = [feeds[place] for place in places]
            self._use(group[0].adapter)
            parts = {feeds[place].sequence: ids[ends[place] - len(feeds[place].ids) : ends[place]] for place in places}
            batched = self._filled(group)
            fillers = [feed for feed in batched if feed.sequence not in parts]
            flat = np.concatenate([parts.get(feed.sequence, feed.ids) for feed in batched])
            self._batch.fill(batched, flat, self._held)
            self._decode([*feeds, *fillers], before)
            for feed in fillers:
                self._forget(feed.sequence, self._held[feed.sequence])
            rows = {feed.sequence: each for feed, each in zip(batched, self._read(batched), strict=True)}
            if places is not groups[-1]:  # the next decode writes over them
                rows = {sequence: each.copy() for sequence, each in rows.items()}
            logits |= {place: rows[feeds[place].sequence][: rows_wanted(feeds[place])] for place in places}
            for feed in group:
                self._held[feed.sequence] += len(feed.ids)
                self._begun_with[feed.sequence] = feed.adapter
        return [logits[place] for place in range(len(feeds))]

    def _are_next_tokens(self, feeds: Sequence[Feed]) -> bool:
        """Whether these are what nearly every step takes: one good token for each of some sequences in a row."""
        if not feeds or (self.gives_company if len(feeds) == 1 else self._grouping is one_by_one):
            return False
        info, adapter = self._info, self._adapter
        expected = feeds[0].sequence
        if not 0 <= expected <= info.sequences - len(feeds) or len(feeds) > info.step_tokens:
            return False
        elsewhere = None if self._reader is None else self._reader.sequence
        for feed in feeds:
            if feed.sequence != expected or len(feed.ids) != 1 or feed.logits != "last" or feed.adapter != adapter:
                return False
            token, held = feed.ids[0], self._held[expected]
            if type(token) is not int or not 0 <= token < info.vocab_tokens or held >= info.context_tokens:
                return False
            if (held and self._begun_with[expected] != adapter) or expected == elsewhere:
                return False
            expected += 1
        return True

    def _next_tokens(self, feeds: Sequence[Feed]) -> list[Logits]:
        """The step for them, with little besides the decode: after it the processor's caches hold weights, and every
        line of Python takes many times what it takes otherwise."""
        self._batch.fill_singles(feeds, self._held)
        self._decode(feeds, self._held)
        for feed in feeds:
            self._held[feed.sequence] += 1
            self._begun_with[feed.sequence] = feed.adapter
        table = self._logits_table(len(feeds))
        return [table[row : row + 1] for row in range(len(feeds))]

    def _is_for(self, reader: PromptReader, feed: Feed) -> bool:
        """Whether the reader is to take these tokens of a prompt."""
        count, held = len(feed.ids), self._held[feed.sequence]
        if feed.adapter is not None or feed.logits == "all":
            return False
        if reader.sequence == feed.sequence:
            return count >= SHORTEST
        return count >= WORTH_TOKENS and held <= WORTH_DEPTH * count

    def _read_beside(self, reader: PromptReader, feed: Feed, ids: NDArray[np.int64]) -> Logits:
        sequence = feed.sequence
        if reader.sequence != sequence:
            if reader.sequence is not None:
                self._bring_home(reader.sequence)
            if held := self._held[sequence]:
                self._finish_copies(sequence)
                if not reader.fetch(self._context, sequence, held, self._info.sequences):
                    raise EngineFailed(f"llama.cpp could not move a prompt ({library.log.reason()}); ask again")
                self._forget(sequence, 0)
                self._held[sequence] = held
        logits = reader.read(feed, ids)
        self._held[sequence] += len(feed.ids)
        self._begun_with[sequence] = None
        return logits

    def _bring_home(self, sequence: int) -> None:
        """Let the context hold a sequence that the reader holds. Raises EngineFailed, and it is empty then."""
        reader = self._reader
        if reader is None or reader.sequence != sequence:
            return
        self._finish_copies(sequence)
        if not reader.hand_over(self._context, self._info.sequences):
            self._forget(sequence, 0)
            raise EngineFailed(f"llama.cpp could not take over a prompt ({library.log.reason()}); ask again")

    def _check_adapters(self, feeds: Sequence[Feed]) -> None:
        for feed in feeds:
            begun_with = self._begun_with[feed.sequence]
            if self._held[feed.sequence] and feed.adapter != begun_with:
                raise UsageError(
                    f"sequence {feed.sequence} was begun with {_called(begun_with)} and cannot go on with "
                    f"{_called(feed.adapter)}; empty it first"
                )

    def _groups(self, feeds: Sequence[Feed]) -> Iterator[list[int]]:
        """The places of feeds that run together; those with the adapter in use first, since a change costs time."""
        for adapter in sorted(dict.fromkeys(feed.adapter for feed in feeds), key=lambda a: a != self._adapter):
            places = [place for place, feed in enumerate(feeds) if feed.adapter == adapter]
            for group in self._grouping([feeds[place] for place in places]):
                yield [places[each] for each in group]

    def _use(self, adapter: str | None) -> None:
        """Compute with this adapter, or with none, from now on."""
        if adapter == self._adapter:
            return
        chosen = [] if adapter is None else [self._adapters[adapter]]
        pointers = (llama_cpp.llama_adapter_lora_p_ctypes * len(chosen))(*chosen)
        scales = (ctypes.c_float * len(chosen))(*[1.0] * len(chosen))
        if llama_cpp.llama_set_adapters_lora(self._context, pointers, len(chosen), scales):
            raise EngineFailed(f"llama.cpp could not change to {_called(adapter)}; open the model again")
        self._adapter = adapter

    def _filled(self, group: Sequence[Feed]) -> list[Feed]:
        """A group of single tokens with tokens for other sequences, which make it faster, or its results the same as
        ever, and are forgotten after the decode; any other group as it is."""
        if not self._info.can_cut or any(len(feed.ids) > 1 for feed in group):
            return list(group)
        feeding = [feed.sequence for feed in group]
        between = [s for s in bridges(feeding) if self._held[s] < self._info.context_tokens]
        if not self.gives_company:
            filled = [*group, *(Feed(sequence, [0], "none") for sequence in between)]
        else:
            # The last layers see only tokens whose logits are wanted, and none may be alone there either.
            beside = companions(sorted([*feeding, *between]), self._info.sequences)
            filled = [*(replace(feed, logits="last") for feed in group), *(Feed(s, [0]) for s in [*between, *beside])]
        return sorted(filled, key=lambda feed: feed.sequence)

    def held(self, sequence: int) -> int:
        """As `Runtime.held`."""
        self._check_open()
        check_number(sequence, self._info.sequences)
        return self._held[sequence]

    def keep(self, sequence: int, tokens: int) -> None:
        """As `Runtime.keep`; keeping as many as are held, or more, changes nothing."""
        self._check_open()
        check_number(sequence, self._info.sequences)
        if tokens < 0:
            raise UsageError(f"a sequence cannot keep {tokens} tokens; keep 0 to empty it")
        if tokens >= self._held[sequence]:
            return
        if tokens and not self._info.can_cut:
            raise UsageError(
                f"a {self._info.architecture} model cannot forget the tail of a sequence; "
                "empty the sequence and feed it again"
            )
        if self._reader is not None and self._reader.sequence == sequence:
            self._reader.keep(tokens)
            self._held[sequence] = tokens
        else:
            self._forget(sequence, tokens)

    def copy(self, source: int, target: int) -> None:
        """As `Runtime.copy`; the data itself is copied by the next step."""
        self._check_open()
        check_number(source, self._info.sequences)
        check_number(target, self._info.sequences)
        if source == target:
            return
        self._bring_home(source)
        self.keep(target, 0)
        if self._held[source] and self._info.can_cut:
            # Whole sequences only: with separate caches any other range ends the process.
            llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)
            self._copying |= {source, target}
        elif self._held[source] and not write_state(self._context, target, read_state(self._context, source)):
            raise EngineFailed(f"llama.cpp could not copy sequence {source} ({library.log.reason()}); feed it again")
        self._held[target] = self._held[source]
        self._begun_with[target] = self._begun_with[source]

    def save(self, sequence: int) -> bytes:
        """As `Runtime.save`."""
        held = self.held(sequence)
        self._bring_home(sequence)
        self._finish_copies(sequence)
        payload = read_state(self._context, sequence) if held else np.empty(0, np.uint8)
        return pack(self._info, held, self._begun_with[sequence], payload)

    def restore(self, sequence: int, state: bytes) -> None:
        """As `Runtime.restore`."""
        self.keep(sequence, 0)
        saved = unpack(self._info, state)
        self._finish_copies(sequence)
        library.log.clear()
        if saved.tokens and not write_state(self._context, sequence, saved.payload):
            self._forget(sequence, 0)
            raise BadInput(f"llama.cpp refused a saved sequence ({library.log.reason()}); feed its tokens instead")
        self._held[sequence], self._begun_with[sequence] = saved.tokens, saved.adapter

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """As `Runtime.embed`."""
        self._check_open()
        check_prompts(prompts, self._info)
        return self._embedder.embed(prompts)

    def close(self) -> None:
        """As `Runtime.close`."""
        if self._context is not None:
            self._embedder.close()
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            llama_cpp.llama_free(self._context)
            llama_cpp.llama_model_free(self._model)
            self._context = self._memory = self._model = None  # the adapters went with the model
            self._table = self._no_rows

    def _check_open(self) -> None:
        if self._context is None:
            raise EngineFailed("this GGUF model has been closed; open it again to go on")

    def _decode(self, feeds: Sequence[Feed], before: Sequence[int]) -> None:
        """Decode the batch; if that fails, the sequences of `feeds` go back to the tokens held `before`."""
        library.log.clear()
        code = llama_cpp.llama_decode(self._context, self._batch.struct)
        self._copying.clear()
        if code == 0:
            return
        reason = library.log.reason()
        for feed in feeds:
            self._forget(feed.sequence, before[feed.sequence] if self._info.can_cut else 0)
        raise EngineFailed(_failure(code, reason, self._info.can_cut))

    def _read(self, feeds: Sequence[Feed]) -> list[Logits]:
        """The logits of the last decode where llama.cpp has them, in rows that have the order of the batch."""
        counts = [rows_wanted(feed) for feed in feeds]
        ends = list(accumulate(counts))
        if not ends[-1]:
            return [self._no_rows for _ in feeds]
        table = self._logits_table(ends[-1])
        return [table[end - count : end] for count, end in zip(counts, ends, strict=True)]

    def _logits_table(self, rows: int) -> Logits:
        """A view of llama.cpp's own rows; it is kept, since making one takes longer than all else in `_read`."""
        pointer = llama_cpp.llama_get_logits(self._context)
        address = ctypes.addressof(pointer.contents)
        if address != self._table_address or rows > len(self._table):
            self._table = np.ctypeslib.as_array(pointer, shape=(rows, self._info.vocab_tokens))
            self._table_address = address
        return self._table

    def _finish_copies(self, sequence: int) -> None:
        """Saving and restoring act at once, so copies that concern the sequence must not wait for the next decode.

        A decode it is, of one token that is forgotten again: where the sequence is full llama.cpp finds no room for
        it, but by then it has carried out the copies.
        """
        if sequence not in self._copying:
            return
        held = self._held[sequence]
        self._batch.fill([Feed(sequence, [0], "none")], np.zeros(1, np.int64), self._held)
        llama_cpp.llama_decode(self._context, self._batch.struct)
        self._copying.clear()
        self._forget(sequence, held)

    def _forget(self, sequence: int, tokens: int) -> None:
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, tokens, -1):
            raise EngineFailed(f"llama.cpp could not cut sequence {sequence} to {tokens} tokens; empty it")
        self._held[sequence] = tokens


def _called(adapter: str | None) -> str:
    return "no adapter" if adapter is None else f"the adapter {adapter!r}"


def _failure(code: int, reason: str, can_cut: bool) -> str:
    what = {
        1: "found no room in the KV cache for this step",
        2: "was told to stop in the middle of a step",
        -1: "refused the tokens of a step as malformed",
        -2: "ran out of memory in a step",
        -3: "failed while computing a step",
    }.get(code, f"ended a step with code {code}")
    after = "nothing has changed, so try again with fewer tokens" if can_cut else "feed its sequences again"
    return f"llama.cpp {what}{f' ({reason})' if reason else ''}; {after}"
