"""What a model family is: facts and small functions, the same for every engine.

A family says which checkpoint classes it covers, how big their parts are, which of the checkpoint's tensors
make up which weight of an artifact, and which configurations would be computed wrongly and must be refused.
The names of weights and metadata are llama.cpp's, the most widespread vocabulary for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgellm.errors import BadInput

Config = Mapping[str, Any]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Value = bool | int | float | str | Sequence[int]
FLOAT32_LEAST, FLOAT32_MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Sizes:
    """How big the parts of a model are; widths in numbers, context and vocabulary in tokens."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocab_tokens: int
    context_tokens: int
    tied: bool  # the output matrix is the embedding
    experts: int = 0
    experts_used: int = 0


@dataclass(frozen=True)
class Weight:
    """One weight of an artifact and the checkpoint tensors it is made of.

    `shape` is NumPy's (rows before columns). Several `sources` are stacked along a new first axis.
    `arrange` is applied to each whole source in float32 (or, where source and weight have three axes, to one matrix of
    it after the other, of shape (1, rows, columns)); None leaves the values alone. `taken_from` is the shape of
    each source where `arrange` changes it. `type` is the one in which engines want this weight whatever the rest of
    the file is in (`F32` for a router, say); None leaves it to the file: vectors F32, all else the type asked for.
    """

    name: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    arrange: Callable[[Floats], Floats] | None = None
    taken_from: tuple[int, ...] | None = None
    type: str | None = None

    @property
    def inputs(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of every checkpoint tensor that it is made of."""
        shape = self.taken_from or (self.shape if len(self.sources) == 1 else self.shape[1:])
        return tuple((source, shape) for source in self.sources)


@dataclass(frozen=True)
class PackedWeight:
    """A weight that the checkpoint holds quantized already, and whose blocks are taken over bit for bit.

    `shape` counts weights, as in `Weight`: (experts, rows, columns). `inputs` are tensors of bytes with the experts
    along the first axis. `arrange(parts, first)` takes some experts' part of each in this order, from number `first`
    on, and gives the bytes of the blocks of `type` as engines hold them: (experts, rows, bytes of a row).
    """

    name: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    shape: tuple[int, ...]
    type: str
    arrange: Callable[[Sequence[Bytes], int], Bytes]


@dataclass(frozen=True)
class Family:
    name: str
    classes: tuple[str, ...]  # values of `architectures[0]` in config.json
    gguf_architecture: str
    sizes: Callable[[Config], Sizes]
    check: Callable[[Config], None]  # raises UsageError for what would be computed wrongly without a word
    metadata: Callable[[Config], dict[str, Value]]  # keys without the architecture's prefix
    weights: Callable[[Config], Iterable[Weight | PackedWeight]]  # one by one: a config.json may claim a billion layers
    tables: Callable[[Config], dict[str, Floats]] = lambda config: {}  # tensors computed from the configuration alone
    ignored: tuple[str, ...] = ()  # ends of names of checkpoint tensors that hold no weights
    # Why the checkpoint tensor of a name goes nowhere, as a note to the user; None for one that does not.
    left_out: Callable[[Config, str], str | None] = lambda config, name: None
    tensor_types: Mapping[str, str] = field(default_factory=dict)  # recipe default: pattern of names → type


def number(config: Config, key: str, default: int | None = None, least: int = 1) -> int:
    """A whole number from `least` up (and within 31 bits, as engines count) from config.json, where null counts as
    absent.

    Raises BadInput without one.
    """
    value = stated(config, key, default)
    if type(value) is not int or not least <= value < 1 << 31:
        raise wrong(key, value, f"a whole number from {least} to 2,147,483,647")
    return value


def decimal(config: Config, key: str, default: float | None = None) -> float:
    """A number above 0 that float32 can hold, as engines do, from config.json, where null counts as absent.

    Raises BadInput without one.
    """
    value = stated(config, key, default)
    if type(value) not in (int, float) or not FLOAT32_LEAST <= value <= FLOAT32_MOST:
        raise wrong(key, value, "a number above 0 within the range of float32")
    return float(value)


def with_defaults(config: Config, defaults: Config) -> Config:
    """The configuration with what its class takes for the keys that are absent or null."""
    return {**defaults, **{key: value for key, value in config.items() if value is not None}}


def stated(config: Config, key: str, default: Any) -> Any:
    value = config.get(key)
    return default if value is None else value


def wrong(key: str, value: Any, wanted: str) -> BadInput:
    found = "is missing" if value is None else f"is {value!r}"
    return BadInput(f'"{key}" {found} in config.json but must be {wanted}; give the original file')
