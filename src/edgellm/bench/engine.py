"""Engine speed as llama-bench defines it: prompt processing (pp) and token generation (tg), tokenization and
sampling excluded, one warm-up that is not counted.

Unlike llama-bench, which feeds random tokens, the tokens are those of real Japanese text, so characters per
second can be given beside tokens per second. Which tokens are fed does not change the work of a dense model.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgellm.engines.protocol import Feed, Runtime
from edgellm.errors import UsageError
from edgellm.language.tokenizer import Tokenizer
from edgellm.measures.statistics import spread
from edgellm.records.bench import EngineTest


@dataclass(frozen=True)
class EngineLoad:
    """What to time. `parallel`: how many sequences are processed together, one row each for prompt and decode."""

    prompt_tokens: int = 512
    decode_tokens: int = 128
    depth: int = 0  # tokens already in the KV cache before the timed part
    parallel: Sequence[int] = (1,)
    repeat: int = 5

    @property
    def context_tokens(self) -> int:
        """The room that one sequence needs."""
        return self.depth + max(self.prompt_tokens, self.decode_tokens)


def text_ids(tokenizer: Tokenizer, documents: Sequence[str], wanted: int) -> list[int]:
    """`wanted` ids of real text, repeated from the start where the text is too short."""
    ids: list[int] = []
    for document in documents:
        ids += tokenizer.encode(document)
        if len(ids) >= wanted:
            return ids[:wanted]
    if not ids:
        raise UsageError("the benchmark text encodes to no token; give a text with content")
    return (ids * (wanted // len(ids) + 1))[:wanted]


def random_ids(vocab_tokens: int, wanted: int) -> list[int]:
    """The same `wanted` ids every time, for a model without a vocabulary: what they stand for is not known."""
    return random.Random(0).choices(range(vocab_tokens), k=wanted)


def bench_engine(
    runtime: Runtime, tokenizer: Tokenizer | None, documents: Sequence[str], load: EngineLoad,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[EngineTest]:  # fmt: skip
    """Time prompt processing and decoding for every parallel count; rates are of all sequences together.

    Without a tokenizer the tokens are random and no characters are counted.

    Raises UsageError if the runtime has too little context or too few sequences for the load.
    """
    check_room(runtime, load)
    wanted = load.context_tokens
    ids = text_ids(tokenizer, documents, wanted) if tokenizer else random_ids(runtime.info.vocab_tokens, wanted)
    tests: list[tuple[str, int, Callable[[int], float]]] = []
    if load.prompt_tokens:
        tests.append(("pp", load.prompt_tokens, lambda n: time_prompt(runtime, ids, load, n)))
    if load.decode_tokens:
        tests.append(("tg", load.decode_tokens, lambda n: time_decode(runtime, ids, load, n)))
    rows, done, total = [], 0, len(tests) * len(load.parallel) * (load.repeat + 1)
    for parallel in load.parallel:
        for name, tokens, timed in tests:
            seconds = []
            for _ in range(load.repeat + 1):
                seconds.append(timed(parallel))
                done += 1
                if on_progress:
                    on_progress(done, total)
            rates = [parallel * tokens / s for s in seconds[1:]]
            timed_ids = ids[load.depth : load.depth + tokens]
            characters_per_token = len(tokenizer.decode(timed_ids)) / tokens if tokenizer else None
            rows.append(row(f"{name}{tokens}", load.depth, parallel, rates, characters_per_token))
    for sequence in range(max(load.parallel)):
        runtime.keep(sequence, 0)
    return rows


def row(name: str, depth: int, parallel: int, rates: Sequence[float], characters_per_token: float | None) -> EngineTest:
    name += f"@d{depth}" if depth else ""
    name += f"x{parallel}" if parallel > 1 else ""
    rate = spread(rates)
    characters = None if characters_per_token is None else rate.median * characters_per_token
    return EngineTest(test=name, tokens_per_s=rate, characters_per_s=characters)


def check_room(runtime: Runtime, load: EngineLoad) -> None:
    info = runtime.info
    if not load.context_tokens:
        raise UsageError("there is nothing to time; give --prompt-tokens or --decode-tokens above 0")
    if load.context_tokens > info.context_tokens:
        raise UsageError(
            f"the benchmark needs {load.context_tokens} tokens of context and the model has {info.context_tokens}; "
            "lower --prompt-tokens, --decode-tokens or --depth"
        )
    if max(load.parallel) > info.sequences:
        raise UsageError(
            f"--parallel {max(load.parallel)} needs that many sequences and the runtime holds {info.sequences}"
        )


def fill(runtime: Runtime, ids: Sequence[int], depth: int, parallel: int) -> None:
    """Empty every sequence, then let it hold the first `depth` ids."""
    for sequence in range(parallel):
        runtime.keep(sequence, 0)
        for i in range(0, depth, runtime.info.step_tokens):
            runtime.step([Feed(sequence, ids[i : min(depth, i + runtime.info.step_tokens)], "none")])


def time_prompt(runtime: Runtime, ids: Sequence[int], load: EngineLoad, parallel: int) -> float:
    """Seconds to take in the prompt of every sequence, logits of the last token included."""
    fill(runtime, ids, load.depth, parallel)
    prompt = ids[load.depth : load.depth + load.prompt_tokens]
    room = max(1, runtime.info.step_tokens // parallel)
    began = time.perf_counter()
    for i in range(0, len(prompt), room):
        last = i + room >= len(prompt)
        runtime.step([Feed(s, prompt[i : i + room], "last" if last else "none") for s in range(parallel)])
    return time.perf_counter() - began


def time_decode(runtime: Runtime, ids: Sequence[int], load: EngineLoad, parallel: int) -> float:
    """Seconds to decode one token at a time in every sequence."""
    fill(runtime, ids, load.depth, parallel)
    began = time.perf_counter()
    for i in range(load.depth, load.depth + load.decode_tokens):
        runtime.step([Feed(s, ids[i : i + 1]) for s in range(parallel)])
    return time.perf_counter() - began
