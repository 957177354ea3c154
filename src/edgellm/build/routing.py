"""How evenly the experts of a file of random weights are used: a router that sends all tokens to the same few experts
would leave the others unread, and the file's speed would be that of a smaller one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgellm.bench.engine import random_ids
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.imatrix import CHUNK_TOKENS, collect, expert_tokens
from edgellm.engines.memory import free_memory_bytes
from edgellm.errors import UsageError
from edgellm.stages import Progress, labelled

ROOM = 1.15  # of the file's size, in free memory: its weights, and what is computed


@dataclass(frozen=True)
class Routing:
    """Over all layers, of `tokens` random tokens that were read together."""

    tokens: int
    experts: int  # of a layer
    used: int  # by one token
    touched_share: float  # of the experts, by any of the tokens: the layer with the fewest
    most_over_mean: float  # tokens of the busiest expert over those of the average one: the layer with the most
    evenness: float  # entropy of the choice over that of an even one: the layer with the least

    @property
    def words(self) -> str:
        return (
            f"{self.tokens} random tokens touch {self.touched_share:.1%} of {self.experts} experts or more in every "
            f"layer, the busiest gets at most {self.most_over_mean:.1f} times the average, and the choice is "
            f"{self.evenness:.3f} of an even one"
        )


def measured_routing(
    path: Path, tokens: int = CHUNK_TOKENS, *, must: bool = False, progress: Progress | None = None
) -> Routing | None:
    """Read random tokens with a model and count which experts they are sent to; None for one without experts.

    Where there is not the memory to load it, None as well, with a note; if it `must` be, UsageError is raised.
    """
    header = read_header(path)
    experts, used = header.of_architecture("expert_count"), header.of_architecture("expert_used_count")
    if not experts or not used:
        return None
    if free_memory_bytes() < ROOM * header.size_bytes:
        sentence = f"{path} takes more memory than is free: its routing was not measured; make fewer --layers"
        if must:
            raise UsageError(sentence)
        if progress:
            progress.note(sentence)
        return None
    with labelled(progress, "measure the routing") as on_progress:
        found = expert_tokens(collect(path, [random_ids(header.vocab_tokens, tokens)], on_progress))
    return of_counts(found, tokens, used)


def of_counts(counts: Mapping[int, Sequence[int]], tokens: int, used: int) -> Routing:
    """counts: by layer, the tokens of each expert."""
    layers = list(counts.values())
    experts = len(layers[0])
    return Routing(
        tokens, experts, used,
        touched_share=min(sum(n > 0 for n in layer) / experts for layer in layers),
        most_over_mean=max(max(layer) * experts / sum(layer) for layer in layers),
        evenness=min(entropy(layer) / math.log(experts) for layer in layers),
    )  # fmt: skip


def entropy(counts: Sequence[int]) -> float:
    total = sum(counts)
    return -sum(n / total * math.log(n / total) for n in counts if n)
