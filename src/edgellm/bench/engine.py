"""Engine speed as llama-bench defines it: prompt processing (pp) and token generation (tg), tokenization and
sampling excluded, one warm-up that is not counted.

Unlike llama-bench, which feeds random tokens, the tokens are those of real Japanese text, so characters per
second can be given beside tokens per second. Every sequence gets another part of it: were all fed the same, a mixture
of experts would read only the experts of one token. Which tokens are fed does not change the work of a dense model.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgellm.bench.energy_sum import EnergySum, reading
from edgellm.engines.protocol import Feed, Runtime
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer
    from edgellm.records.bench import EnergyUse


Kind = Literal["pp", "tg"]
PP: Kind = "pp"
TG: Kind = "tg"


@dataclass(frozen=True)
class Case:
    """One thing to time: `tokens` of each of `parallel` sequences together, behind `depth` that each holds."""

    kind: Kind
    tokens: int
    depth: int = 0
    parallel: int = 1

    @property
    def name(self) -> str:
        """As llama-bench writes it, with the depth and the number of sequences: `tg128@d512x8`."""
        at = f"@d{self.depth}" if self.depth else ""
        return f"{self.kind}{self.tokens}{at}{f'x{self.parallel}' if self.parallel > 1 else ''}"

    @property
    def all_tokens(self) -> int:
        return self.parallel * self.tokens

    @property
    def mean_depth(self) -> float:
        """How many tokens of its own sequence a timed token has before it, on average."""
        return self.depth + (self.tokens - 1) / 2


@dataclass(frozen=True)
class EngineLoad:
    """What to time. `parallel`: how many sequences are processed together, one row each for prompt and decode."""

    prompt_tokens: Sequence[int] = (512,)  # 0: no such test
    decode_tokens: Sequence[int] = (128,)
    depth: Sequence[int] = (0,)  # tokens already in the KV cache before the timed part
    parallel: Sequence[int] = (1,)
    repeat: int = 5

    @property
    def cases(self) -> list[Case]:
        return [
            Case(kind, tokens, depth, parallel)
            for depth in self.depth
            for parallel in self.parallel
            for kind, lengths in ((PP, self.prompt_tokens), (TG, self.decode_tokens))
            for tokens in lengths
            if tokens
        ]

    @property
    def context_tokens(self) -> int:
        """The room that one sequence needs."""
        return max(self.depth) + max([*self.prompt_tokens, *self.decode_tokens])


@dataclass(frozen=True)
class Timed:
    """What was found for a case; seconds are those of whole runs."""

    case: Case
    first_s: float  # the warm-up
    seconds: tuple[float, ...]
    characters_per_token: float | None  # of the text that was fed; None where the tokens are random
    energy: tuple[EnergyUse, ...] = ()


def text_ids(tokenizer: Tokenizer, documents: Sequence[str], wanted: int) -> list[int]:
    """At most `wanted` ids of real text; fewer where there is no more. Raises UsageError for a text of no token."""
    ids: list[int] = []
    for document in documents:
        ids += tokenizer.encode(document)
        if len(ids) >= wanted:
            return ids[:wanted]
    if not ids:
        raise UsageError("the benchmark text encodes to no token; give a text with content")
    return ids


def random_ids(vocab_tokens: int, wanted: int) -> list[int]:
    """The same `wanted` ids every time, for a model without a vocabulary: what they stand for is not known."""
    return random.Random(0).choices(range(vocab_tokens), k=wanted)


def ids_of_sequences(ids: Sequence[int], sequences: int, each: int) -> list[list[int]]:
    """`each` ids for every sequence: evenly spread beginnings in `ids`, which goes on from its start at its end."""
    begins = [len(ids) * sequence // sequences for sequence in range(sequences)]
    return [[ids[(begin + i) % len(ids)] for i in range(each)] for begin in begins]


def bench_engine(
    runtime: Runtime, tokenizer: Tokenizer | None, documents: Sequence[str], load: EngineLoad,
    on_progress: Callable[[int, int], None] | None = None, energy: EnergySum | None = None,
) -> list[Timed]:  # fmt: skip
    """Time every case of the load, after one run of it that is not counted.

    Without a tokenizer the tokens are random and no characters are counted.
    Raises UsageError if the runtime has too little context or too few sequences for the load.
    """
    check_room(runtime, load)
    bench = Bench(runtime, tokenizer, documents, load)
    found, done, total = [], 0, len(load.cases) * (load.repeat + 1)

    def count() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(done, total)

    for case in load.cases:
        found.append(bench.timed(case, load.repeat, count, energy))
    bench.clear()
    return found


class Bench:
    """A runtime and the text that its sequences are fed."""

    def __init__(
        self, runtime: Runtime, tokenizer: Tokenizer | None, documents: Sequence[str], load: EngineLoad
    ) -> None:
        self.runtime, self.tokenizer = runtime, tokenizer
        each, sequences = load.context_tokens, max(load.parallel)
        wanted = each * sequences
        ids = text_ids(tokenizer, documents, wanted) if tokenizer else random_ids(runtime.info.vocab_tokens, wanted)
        self.ids = ids_of_sequences(ids, sequences, each)

    def timed(
        self, case: Case, repeat: int, count: Callable[[], None], energy: EnergySum | None = None
    ) -> Timed:  # fmt: skip
        first = self.run(case)
        count()
        # Without a depth nothing happens between the runs, and one long reading is more exact than several short ones.
        around_all, around_each = (energy, None) if not case.depth else (None, energy)
        seconds = []
        with reading(around_all):
            for _ in range(repeat):
                seconds.append(self.run(case, around_each))
                count()
        return Timed(case, first, tuple(seconds), self.characters_per_token(case), energy.take() if energy else ())

    def run(self, case: Case, energy: EnergySum | None = None) -> float:
        """Seconds of one run; what comes before the timed part is brought into the KV cache first."""
        self.fill(case)
        timed = time_prompt if case.kind == "pp" else time_decode
        pieces = [ids[case.depth : case.depth + case.tokens] for ids in self.ids[: case.parallel]]
        with reading(energy):
            return timed(self.runtime, pieces)

    def fill(self, case: Case) -> None:
        """Let each sequence of the case hold the first `depth` of its ids, and every other one nothing.

        What a sequence holds is always a beginning of its ids, so a model that can forget the tail reads nothing twice.
        """
        runtime, step_tokens = self.runtime, self.runtime.info.step_tokens
        for sequence in range(runtime.info.sequences):
            depth = case.depth if sequence < case.parallel else 0
            held = runtime.held(sequence)
            if held > depth:
                runtime.keep(sequence, depth if runtime.info.can_cut else 0)
            for begin in range(runtime.held(sequence), depth, step_tokens):
                end = min(depth, begin + step_tokens)
                # Logits of the last piece: whoever reads them waits for a GPU that would else go on into what is timed.
                wanted: Literal["last", "none"] = "last" if end == depth else "none"
                runtime.step([Feed(sequence, self.ids[sequence][begin:end], wanted)])

    def clear(self) -> None:
        for sequence in range(self.runtime.info.sequences):
            self.runtime.keep(sequence, 0)

    def characters_per_token(self, case: Case) -> float | None:
        if self.tokenizer is None:
            return None
        texts = [self.tokenizer.decode(ids[case.depth : case.depth + case.tokens]) for ids in self.ids[: case.parallel]]
        return sum(map(len, texts)) / case.all_tokens


def check_room(runtime: Runtime, load: EngineLoad) -> None:
    info = runtime.info
    if not load.cases:
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


def time_prompt(runtime: Runtime, prompts: Sequence[Sequence[int]]) -> float:
    """Seconds to take in prompts of one length, one for each sequence, logits of the last token included."""
    length = len(prompts[0])
    room = max(1, runtime.info.step_tokens // len(prompts))
    began = time.perf_counter()
    for i in range(0, length, room):
        wanted: Literal["last", "none"] = "last" if i + room >= length else "none"
        runtime.step([Feed(s, prompt[i : i + room], wanted) for s, prompt in enumerate(prompts)])
    return time.perf_counter() - began


def time_decode(runtime: Runtime, answers: Sequence[Sequence[int]]) -> float:
    """Seconds to decode the tokens of each sequence, one a step."""
    began = time.perf_counter()
    for i in range(len(answers[0])):
        runtime.step([Feed(s, ids[i : i + 1]) for s, ids in enumerate(answers)])
    return time.perf_counter() - began
