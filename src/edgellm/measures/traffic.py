"""What one pass of a model has to read from memory, and how much it computes: from shapes alone.

Both are lower bounds of what a machine does: a weight counts once a pass, a multiplication as two operations (the
usual 2 × parameters a token), and caches, activations and the KV cache's writing are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgellm.engines.gguf.header import Header

EXPERTS = "_exps."


@dataclass(frozen=True)
class Weight:
    """One tensor as it is stored."""

    name: str
    elements: int
    size_bytes: int


@dataclass(frozen=True)
class Shape:
    """What of a model decides its traffic. Sums over the layers; KV bytes and attention are those of one token held."""

    weights: Sequence[Weight]
    experts: int = 0  # of a layer
    experts_used: int = 0  # by one token
    kv_bytes: float = 0.0  # of all layers for one token of context, as the KV cache's types store it
    attention_width: int = 0  # Σ over attention layers of heads × (key + value length)
    state_bytes: float = 0.0  # of one sequence's recurrent states, which are read whole at every token

    @cached_property
    def read(self) -> Sequence[Weight]:
        """Weights that a pass reads whole: not the embedding, whose rows are looked up, unless it is the output too."""
        untied = any(weight.name == "output.weight" for weight in self.weights)
        return [w for w in self.weights if not (untied and w.name.startswith("token_embd."))]


def shape_of(header: Header, type_k: str = "f16", type_v: str = "f16") -> Shape:
    """Of a GGUF, with a KV cache of these types; raises BadInput for a header that does not tell its attention."""
    from edgellm.engines.gguf.cache_size import cache_bytes, per_layer

    cells = 256  # llama.cpp rounds up to it
    once, twice = (cache_bytes(header, n * cells, type_k=type_k, type_v=type_v) for n in (1, 2))
    heads = per_layer(header, "attention.head_count")
    kv_heads = per_layer(header, "attention.head_count_kv") or heads
    width = (header.of_architecture("embedding_length") or 0) // max(heads, default=1)
    key, value = (header.of_architecture(f"attention.{kind}_length") or width for kind in ("key", "value"))
    return Shape(
        weights=[Weight(t.name, t.elements, t.size_bytes) for t in header.weights],
        experts=header.of_architecture("expert_count") or 0,
        experts_used=header.of_architecture("expert_used_count") or 0,
        kv_bytes=(twice - once) / cells,
        attention_width=sum(n for n, kv in zip(heads, kv_heads, strict=True) if kv) * (key + value),
        state_bytes=2 * once - twice,
    )


def experts_touched(experts: int, used: int, tokens: float) -> float:
    """How many of a layer's experts a pass of so many tokens touches, if each takes `used` at random.

    E × (1 − (1 − k/E)ⁿ): an expert is missed by one token with chance 1 − k/E. Real routers are less even, so fewer.
    """
    return experts * (1 - (1 - used / experts) ** tokens) if experts else 0.0


def bytes_of_pass(shape: Shape, tokens: float, sequences: int = 1, depth: float = 0) -> float:
    """Bytes read by one pass of `tokens` tokens in all, of `sequences` sequences that hold `depth` tokens each.

    Of the embedding only the rows of the tokens; of expert weights the share that is touched.
    """
    share = experts_touched(shape.experts, shape.experts_used, tokens) / shape.experts if shape.experts else 0.0
    total = sequences * (depth * shape.kv_bytes + shape.state_bytes)
    for weight in shape.read:
        total += (share if EXPERTS in weight.name else 1) * weight.size_bytes
    return total


def flops_of_token(shape: Shape, depth: float = 0) -> float:
    """Floating-point operations for one token behind `depth` others: two for each active weight, and attention."""
    active = 0.0
    for weight in shape.read:
        if EXPERTS in weight.name:
            active += weight.elements * shape.experts_used / shape.experts
        else:
            active += weight.elements
    return 2 * active + 2 * depth * shape.attention_width


def flops_of_prompt(shape: Shape, tokens: int, depth: float = 0) -> float:
    """Floating-point operations to take in a prompt of so many tokens behind `depth` others.

    Of the output matrix only those of the last token: no other token's logits are asked for.
    """
    output = max((w.elements for w in shape.read if w.name in ("output.weight", "token_embd.weight")), default=0)
    return tokens * (flops_of_token(shape, depth + (tokens - 1) / 2) - 2 * output) + 2 * output
