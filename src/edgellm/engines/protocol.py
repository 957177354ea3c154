"""What an engine must offer. Everything above this layer knows engines only through these shapes.

A **Builder** turns checkpoints into artifacts and may be heavy; a **Runtime** turns token ids into logits
and must be light. One contract test suite (`tests/contract/test_runtime.py`) runs over every Runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Wanted = Literal["none", "last", "all"]


@dataclass(frozen=True)
class RuntimeInfo:
    """Facts about a loaded model that schedulers, benches and fidelity measures need."""

    engine: str  # "gguf", "onnx", …
    architecture: str
    vocab_tokens: int
    context_tokens: int  # of one sequence
    sequences: int  # how many can be held at once; valid sequence numbers are 0 … sequences − 1
    step_tokens: int  # the most tokens that one `step` takes, all feeds together
    can_cut: bool  # whether `keep` can drop the tail of a sequence (recurrent models cannot)
    batch_invariant: bool  # whether a sequence gets the same logits whatever other sequences a step feeds
    build: str  # engine and version, for result files
    setup: str = field(default="", kw_only=True)  # in words: context, KV cache, what computes
    gpu_share: float = field(default=0.0, kw_only=True)  # of the layers, the output counted as one, that a GPU computes
    # Names of the LoRA adapters that a feed may ask for.
    adapters: tuple[str, ...] = field(default=(), kw_only=True)
    # Whether what follows stays the same, where it is `batch_invariant`, when tokens that were fed one by one are kept
    # as part of the next prompt instead of being read again with it.
    answers_reusable: bool = field(default=True, kw_only=True)
    # What must agree between the runtime that saves a sequence and the one that restores it, as 64 hex digits.
    state_digest: str = field(default="0" * 64, kw_only=True)
    # The shortest piece of a prompt that costs no more a token than longer ones do.
    piece_tokens: int = field(default=16, kw_only=True)
    # Whether `embed` gives vectors, and of how many numbers.
    embedding_width: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class Feed:
    """The part of one step that belongs to one sequence: the tokens that follow those it already holds."""

    sequence: int
    ids: Sequence[int]
    logits: Wanted = "last"
    adapter: str | None = None  # the LoRA adapter to compute with; a sequence keeps to one until it is empty


class Runtime(Protocol):
    """A loaded model: token ids in, logits out, several sequences at a time. Not thread-safe."""

    @property
    def info(self) -> RuntimeInfo: ...

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """Append each feed's ids to its sequence in one pass and give logits, one float32 array a feed.

        Shapes: (0, vocab_tokens) for "none", (1, vocab_tokens) for "last", (len(ids), vocab_tokens) for "all".
        Row i is the distribution of the token after ids[i]. The arrays are the runtime's own and hold until it
        is told to do anything but `keep`: whoever wants them longer copies them, and nobody writes to them.
        Raises UsageError for an empty feed, a sequence number out of range or named twice, ids outside the
        vocabulary, more than `step_tokens` tokens, a sequence that would outgrow `context_tokens`, an unknown
        adapter or one with which the sequence was not begun: nothing has changed then.
        Raises EngineFailed if the library refuses.
        """
        ...

    def held(self, sequence: int) -> int:
        """How many tokens the sequence holds."""
        ...

    def keep(self, sequence: int, tokens: int) -> None:
        """Forget all but the first `tokens` tokens of a sequence; 0 empties it.

        Raises UsageError if the model cannot cut and 0 < tokens < held.
        """
        ...

    def copy(self, source: int, target: int) -> None:
        """Make `target` hold what `source` holds, in place of what it held."""
        ...

    def save(self, sequence: int) -> bytes:
        """What a sequence holds, for `restore` in a runtime of the same artifact and options."""
        ...

    def restore(self, sequence: int, state: bytes) -> None:
        """Make a sequence hold what `save` gave, in place of what it held: as many tokens, with the same adapter.

        Raises BadInput for bytes that are not such a state, whatever they are: the sequence is empty then.
        """
        ...

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Vectors of whole texts, of shape (len(prompts), embedding_width), each of length 1. Sequences do not change.

        Raises UsageError if `embedding_width` is 0 or a prompt is empty or longer than the context.
        """
        ...

    def close(self) -> None:
        """Free the model; further calls raise EngineFailed. Closing twice is fine."""
        ...


@dataclass(frozen=True)
class RuntimeOptions:
    """How a model is loaded; every engine takes these."""

    context_tokens: int = 0  # of one sequence; 0: what the model declares, at most 4,096
    sequences: int = 1
    threads: int = 0  # 0: one per core that this process may use
    # Asks for logits that do not depend on company; `RuntimeInfo.batch_invariant` says whether they are to be had.
    batch_invariant: bool = False
    adapters: Mapping[str, Path] = field(default_factory=dict)  # LoRA adapters in the engine's format, by name
    # llama.cpp's own settings; an engine that has no such thing raises UsageError for another value than the default.
    gpu_layers: int | None = None  # layers on the accelerator; None: as many as there is room for, all where it fits
    cpu_moe: bool = False  # keep the expert weights in the machine's memory
    type_k: str = "f16"  # of the KV cache
    type_v: str = "f16"
    flash_attention: bool | None = None  # None: where the engine finds that it can
    # Prompts are read with a second set of weights, as the file holds them; None: where that is found to be faster.
    second_weights: bool | None = False


class Builder(Protocol):
    """Turns a checkpoint folder into this engine's base artifact."""

    def convert(self, checkpoint: Path, out: Path, type_name: str) -> None:
        """Write the artifact at `out` (a file or a folder; written aside, then renamed)."""
        ...
