"""Disk that a build takes after its base: known in part before the long work, when true sizes are not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgellm.build.order import Plan
from edgellm.families import family_of
from edgellm.inference.target import Target
from edgellm.measures.sensitivity import reference_bytes
from edgellm.measures.sizing import size_of
from edgellm.stages.convert import FLOAT_BYTES
from edgellm.stages.sensitivity import Effort
from edgellm.store.checkpoint import open_checkpoint
from edgellm.store.disk import amount, standing
from edgellm.store.work import WorkFolder


@dataclass(frozen=True)
class Room:
    """At least these bytes."""

    artifacts: int  # the artifact and its parts
    search: int  # while types are searched, before there is an artifact: a copy of the base, and what the base predicts
    out: int  # the bundle
    one_disk: bool

    @property
    def work(self) -> int:
        return max(self.artifacts, self.search)

    @property
    def beside_base(self) -> int:
        """What the disk of the work folder must hold besides the base artifact."""
        return max(self.search, self.artifacts + (self.out if self.one_disk else 0))

    @property
    def words(self) -> str:
        return f"then at least {amount(self.work)} there, and {amount(self.out)} for the bundle"


def room_of(source: Target, plan: Plan, work: WorkFolder, out: Path, *, parts: bool) -> Room:
    """From headers alone; raises BadInput where they are damaged."""
    if source.kind == "checkpoint":
        parameters = open_checkpoint(source.path).parameters
    else:
        parameters = size_of(source.path, "gguf").parameters
    least = least_bytes(parameters, plan)
    search = search_bytes(source) if plan.goal else 0
    one_disk = standing(work.root).stat().st_dev == standing(out).stat().st_dev
    return Room((2 if parts else 1) * least, search, least, one_disk)


def search_bytes(source: Target) -> int:
    """For a copy of the base, and for what it predicts where the text is not shorter than what is measured."""
    from edgellm.engines.gguf.header import read_header

    if source.kind == "gguf":
        header = read_header(source.path)
        return header.size_bytes + reference_bytes(Effort.tokens, header.vocab_tokens)
    checkpoint = open_checkpoint(source.path)
    vocab_tokens = family_of(checkpoint.architecture).sizes(checkpoint.config).vocab_tokens
    return checkpoint.parameters * FLOAT_BYTES["F32"] + reference_bytes(Effort.tokens, vocab_tokens)


def least_bytes(parameters: int, plan: Plan) -> int:
    """What the artifact surely needs."""
    from edgellm.engines.gguf.tensor_groups import SMALLEST
    from edgellm.engines.gguf.types import TENSOR_TYPES, file_type, tensor_type

    least = TENSOR_TYPES[SMALLEST] if plan.goal else TENSOR_TYPES[file_type(plan.type).default]
    types = [least, *map(tensor_type, plan.tensor_types.values())]
    # Some mixtures give single tensors the next smaller type: IQ3_XXS at most 16 % less (IQ2_S).
    return int(0.8 * parameters * min(t.bits_per_weight for t in types) / 8)
