"""Whether a second set of weights reads prompts sooner on this machine, and as well."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from edgellm.engines.gguf.prompt_reader import WORD, WORTH_TOKENS, PromptReader
from edgellm.engines.protocol import Feed, Logits
from edgellm.engines.states import unpack
from edgellm.errors import EngineFailed

if TYPE_CHECKING:
    from edgellm.engines.gguf.runtime import GgufRuntime

TIMED_TOKENS = 128
TRIED_TOKENS = WORTH_TOKENS + TIMED_TOKENS + 1
# Of the deviation from the mean: kernels round differently, and what was moved to a wrong place has nothing in common.
CLOSE = 0.2


def gain_of(runtime: GgufRuntime, reader: PromptReader) -> float | None:
    """How many times as fast the reader reads a prompt; None where what it hands over gives other results.

    The runtime must hold TRIED_TOKENS; it holds nothing before and afterwards, and has no reader.
    """
    sequence = runtime.info.sequences - 1
    ids = [(i * 7919) % runtime.info.vocab_tokens for i in range(1, TRIED_TOKENS + 1)]
    taken, rows = [], []
    try:
        if not _states_agree(runtime, reader, Feed(sequence, ids[:WORTH_TOKENS], "none")):
            return None
        for each in (None, reader):
            runtime.read_with(each)
            runtime.step([Feed(sequence, ids[:WORTH_TOKENS], "none")])  # all weights have been touched then
            runtime.save(sequence)  # has it brought back, so that the next piece takes it there once more
            began = perf_counter()
            runtime.step([Feed(sequence, ids[WORTH_TOKENS:-1], "none")])
            taken.append(perf_counter() - began)
            rows.append(runtime.step([Feed(sequence, ids[-1:])])[0][0].copy())
            runtime.keep(sequence, 0)
    except EngineFailed:
        return None
    finally:
        reader.keep(0)
        runtime.read_with(None)
        runtime.keep(sequence, 0)
    return taken[0] / taken[1] if _alike(*rows) else None


def _states_agree(runtime: GgufRuntime, reader: PromptReader, feed: Feed) -> bool:
    """Whether the same tokens make states that differ by the numbers of streams alone: models with two kinds of memory
    have two, and llama.cpp may end the process over a state that it takes for another."""
    runtime.step([feed])
    state = unpack(runtime.info, runtime.save(feed.sequence)).payload
    runtime.keep(feed.sequence, 0)
    reader.read(feed, np.array(feed.ids))
    mine = reader.state_bytes()
    reader.keep(0)
    return len(state) - mine == WORD.itemsize * (runtime.info.sequences - 1)


def _alike(one: Logits, other: Logits) -> bool:
    return bool(np.linalg.norm(one - other) <= CLOSE * np.linalg.norm(one - one.mean()))
