"""How much a model's predictions suffer when one group of tensors alone is stored in a type.

For small errors the divergence is a quadratic form in them, so it grows in proportion to their squares: the share of
a group's energy that a type loses, times a factor that belongs to the group. Types that were not tried follow from
those that were by that rule (`on_curve`), layers that were not tried from those beside them (`between`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgellm.engines.protocol import Logits, Runtime
from edgellm.measures.fidelity import divergences, predictions
from edgellm.store.disk import filling, need_space

LEAST_KLD = 1e-9  # float32 shows nothing below; logarithms need something


@dataclass(frozen=True)
class Reference:
    """What the unchanged model predicts: log-probabilities of shape (tokens, vocab) for each window, on disk."""

    windows: Sequence[Sequence[int]]
    rows: Sequence[Logits]

    @classmethod
    def of(cls, runtime: Runtime, windows: Sequence[Sequence[int]], folder: Path) -> Reference:
        """Kept in `folder`, since a large vocabulary makes them larger than memory; raises NoSpace."""
        what = "what the unchanged model predicts"
        need_space(folder, reference_bytes(sum(map(len, windows)), runtime.info.vocab_tokens), what)
        rows: list[Logits] = []
        with filling(folder, what):
            for number, window in enumerate(windows):
                found, path = predictions(runtime, window), folder / f"reference-{number}"
                # Writing through a map instead would end the process where the disk becomes full.
                path.write_bytes(found.data)
                rows.append(np.memmap(path, np.float32, "r", shape=found.shape))
        return cls(windows, rows)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.windows))

    def mean_kld(self, runtime: Runtime) -> float:
        """KL(reference ‖ runtime) per position, in nats."""
        total = sum(
            float(divergences(rows, predictions(runtime, window)).sum())
            for window, rows in zip(self.windows, self.rows, strict=True)
        )
        return total / self.tokens


def reference_bytes(tokens: int, vocab_tokens: int) -> int:
    """What a reference over so many tokens takes on the disk."""
    return 4 * tokens * vocab_tokens


def spread_places(count: int, most: int) -> list[int]:
    """At most `most` of the places 0 … count − 1: the first, the last, and evenly between them."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count // 2]
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def on_curve(measured: Mapping[float, float], error: float) -> float:
    """The divergence for an error of a group where those for other errors are known.

    Between two measured errors a straight line in logarithms; beyond them in proportion to the error.
    """
    if error <= 0:
        return 0.0
    errors = sorted(e for e in measured if e > 0)
    if not errors:
        return 0.0  # what is all zeros loses nothing in any type
    if error <= errors[0] or error >= errors[-1]:
        nearest = errors[0] if error <= errors[0] else errors[-1]
        return measured[nearest] * error / nearest
    logs = [math.log(max(measured[e], LEAST_KLD)) for e in errors]
    return math.exp(float(np.interp(math.log(error), [math.log(e) for e in errors], logs)))


def between(known: Mapping[int, float], layer: int) -> float:
    """The divergence for a layer from those of layers beside it: a straight line in its logarithm."""
    layers = sorted(known)
    logs = [math.log(max(known[n], LEAST_KLD)) for n in layers]
    return math.exp(float(np.interp(layer, layers, logs)))


def measured_curve(errors: Mapping[str, float], tried: Mapping[str, float]) -> dict[str, float]:
    """The divergence of each type of a group: as measured where it was tried, else from the curve of those.

    errors: type → share of the group's energy that is lost; tried: type → mean KL divergence, at least one.
    """
    curve = {errors[name]: kld for name, kld in tried.items()}
    return {name: tried[name] if name in tried else on_curve(curve, error) for name, error in errors.items()}
