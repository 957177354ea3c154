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
    # Names of the LoRA adapters that a feed may ask for.
    adapters: tuple[str, ...] = field(default=(), kw_only=True)


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
        Row i is the distribution of the token after ids[i]. The caller owns the arrays.
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


class Builder(Protocol):
    """Turns a checkpoint folder into this engine's base artifact."""

    def convert(self, checkpoint: Path, out: Path, type_name: str) -> None:
        """Write the artifact at `out` (a file or a folder; written aside, then renamed)."""
        ...
