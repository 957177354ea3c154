"""The ONNX runtime: an exported decoder on onnxruntime, several sequences each with a KV cache of its own.

Importing this module loads neither torch nor optimum nor onnx; only exporting needs those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from edgellm.engines.cores import threads_in_words, usable_cores
from edgellm.engines.feeds import check_number, check_prompts, checked_ids, rows_wanted
from edgellm.engines.onnx.folder import DEFAULT_CONTEXT_LIMIT, ModelFacts, graph_path, read_facts
from edgellm.engines.onnx.graph import Graph, Past
from edgellm.engines.protocol import Feed, Logits, RuntimeInfo, RuntimeOptions
from edgellm.engines.states import file_marks, pack, unpack
from edgellm.errors import EngineFailed, UsageError
from edgellm.store.digest import of_value

DEFAULTS = RuntimeOptions()
LLAMA_CPP_OPTIONS = {
    "gpu_layers": "--gpu-layers", "cpu_moe": "--cpu-moe", "type_k": "--cache-type-k", "type_v": "--cache-type-v",
    "flash_attention": "--flash-attention", "second_weights": "--second-weights",
}  # fmt: skip


@dataclass(frozen=True)
class OnnxOptions(RuntimeOptions):
    """What can be chosen for this engine beyond what every engine takes."""

    step_tokens: int = 512  # the graph computes the logits of every token it is fed: this bounds their memory
    provider: str = "CPUExecutionProvider"  # onnxruntime's name of what computes


def open_runtime(artifact: Path, options: RuntimeOptions) -> OnnxRuntime:
    """Load an exported folder, or the .onnx file in it; `options` may be an `OnnxOptions`.

    Raises BadInput for a file that is missing, damaged or no decoder with a past, UsageError for options that
    cannot be met, MissingExtra where onnxruntime is not installed.
    """
    chosen = options if isinstance(options, OnnxOptions) else OnnxOptions(**asdict(options))
    _check_options(chosen)
    if chosen.adapters:
        raise UsageError("an ONNX model takes no LoRA adapters; serve the GGUF of it")
    path = graph_path(artifact)
    facts = read_facts(path)
    context_tokens = _context_tokens(path, facts, chosen.context_tokens)
    threads = chosen.threads or usable_cores()
    graph = Graph(path, threads=threads, provider=chosen.provider)
    info = RuntimeInfo(
        engine="onnx",
        architecture=facts.architecture,
        vocab_tokens=graph.vocab_tokens or facts.vocab_tokens,
        context_tokens=context_tokens,
        sequences=chosen.sequences,
        step_tokens=chosen.step_tokens,
        can_cut=True,
        batch_invariant=chosen.sequences == 1,  # onnxruntime chooses kernels by the size of the batch
        build=graph.build,
        setup=f"{chosen.sequences} × {context_tokens} tokens of context, {threads_in_words(threads)}",
        state_digest=_state_digest(path, chosen, graph.build),
    )
    return OnnxRuntime(graph, info)


class OnnxRuntime:
    """A loaded graph and what each sequence holds (see `engines.protocol.Runtime`)."""

    def __init__(self, graph: Graph, info: RuntimeInfo) -> None:
        self._graph: Graph | None = graph
        self._info = info
        self._pasts = [graph.empty] * info.sequences

    @property
    def info(self) -> RuntimeInfo:
        return self._info

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """As `Runtime.step`; after an EngineFailed every sequence holds what it held before."""
        graph = self._open_graph()
        flat = checked_ids(feeds, [past.tokens for past in self._pasts], self._info)
        ends = list(accumulate(len(feed.ids) for feed in feeds))
        ids = [flat[end - len(feed.ids) : end] for feed, end in zip(feeds, ends, strict=True)]
        results: dict[int, Logits] = {}
        grown: dict[int, Past] = {}
        for group in self._groups(feeds, graph):
            pasts = [self._pasts[feeds[i].sequence] for i in group]
            logits, longer = graph.run(np.stack([ids[i] for i in group]), pasts)
            for i, rows, past in zip(group, logits, longer, strict=True):
                wanted = rows[len(rows) - rows_wanted(feeds[i]) :]
                results[i] = wanted.astype(np.float32)  # a copy: the caller owns it, and the rest is freed
                grown[feeds[i].sequence] = past
        for sequence, past in grown.items():
            self._pasts[sequence] = past
        return [results[i] for i in range(len(feeds))]

    def _groups(self, feeds: Sequence[Feed], graph: Graph) -> list[list[int]]:
        """Which feeds run together, by their place in the step: those of one length, so all that decode."""
        if not graph.batches:
            return [[place] for place in range(len(feeds))]
        groups: dict[tuple[int, int], list[int]] = {}
        for place, feed in enumerate(feeds):
            past_length = 0 if graph.pads else self._pasts[feed.sequence].tokens
            groups.setdefault((len(feed.ids), past_length), []).append(place)
        return list(groups.values())

    def held(self, sequence: int) -> int:
        """As `Runtime.held`."""
        self._open_graph()
        check_number(sequence, self._info.sequences)
        return self._pasts[sequence].tokens

    def keep(self, sequence: int, tokens: int) -> None:
        """As `Runtime.keep`; keeping as many as are held, or more, changes nothing."""
        graph = self._open_graph()
        check_number(sequence, self._info.sequences)
        if tokens < 0:
            raise UsageError(f"a sequence cannot keep {tokens} tokens; keep 0 to empty it")
        if tokens < self._pasts[sequence].tokens:
            self._pasts[sequence] = graph.cut(self._pasts[sequence], tokens)

    def copy(self, source: int, target: int) -> None:
        """As `Runtime.copy`; costs nothing, for a past is never changed once made."""
        self._open_graph()
        check_number(source, self._info.sequences)
        check_number(target, self._info.sequences)
        self._pasts[target] = self._pasts[source]

    def save(self, sequence: int) -> bytes:
        """As `Runtime.save`."""
        tokens = self.held(sequence)
        return pack(self._info, tokens, None, self._open_graph().packed(self._pasts[sequence]))

    def restore(self, sequence: int, state: bytes) -> None:
        """As `Runtime.restore`."""
        self.keep(sequence, 0)
        saved = unpack(self._info, state)
        self._pasts[sequence] = self._open_graph().unpacked(saved.tokens, saved.payload)

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """As `Runtime.embed`, which always refuses: an exported decoder gives logits alone."""
        self._open_graph()
        check_prompts(prompts, self._info)
        return np.empty((0, 0), np.float32)

    def close(self) -> None:
        """As `Runtime.close`."""
        self._graph = None
        self._pasts = []

    def _open_graph(self) -> Graph:
        if self._graph is None:
            raise EngineFailed("this ONNX model has been closed; open it again to go on")
        return self._graph


def _check_options(options: OnnxOptions) -> None:
    if options.sequences < 1 or options.step_tokens < 1:
        raise UsageError("sequences and step_tokens must be at least 1")
    if options.context_tokens < 0 or options.threads < 0:
        raise UsageError("context_tokens and threads cannot be negative; 0 chooses a default")
    for name, option in LLAMA_CPP_OPTIONS.items():
        if getattr(options, name) not in (getattr(DEFAULTS, name), None):
            raise UsageError(f"{option} is a setting of llama.cpp, which an ONNX model does without; leave it out")


def _state_digest(graph: Path, options: OnnxOptions, build: str) -> str:
    """What must agree between the runtime that saves a sequence and the one that restores it."""
    return of_value([file_marks(graph.parent), options.provider, build]).removeprefix("sha256:")


def _context_tokens(path: Path, facts: ModelFacts, asked: int) -> int:
    if asked > facts.context_tokens:
        raise UsageError(f"{path} holds at most {facts.context_tokens} tokens of context, not {asked}; ask for less")
    return asked or min(facts.context_tokens, DEFAULT_CONTEXT_LIMIT)
