"""How much each part of a model suffers from each type, and the choice of types that was made from it."""

from __future__ import annotations

from pydantic import Field

from edgellm.records.base import Record

MIXED = "mixed-"


def mixture_name(bits_per_weight: float) -> str:
    """The type, in a manifest, of an artifact whose tensors' types were chosen for a size."""
    return f"{MIXED}{bits_per_weight:.2f}bpw"


class TypeCost(Record):
    """What one type would cost a group of tensors."""

    type: str
    bytes: int = Field(description="of the group in the file, with the padding between tensors")
    kld: float = Field(description="mean KL divergence, in nats a token, with this group alone in this type")
    measured: bool = Field(description="false: taken from the group's error curve or from its neighbours' layers")


class GroupSensitivity(Record):
    """Tensors that get one type together: one role in one layer, or one that stands outside the layers."""

    name: str
    tensors: list[str]
    types: list[TypeCost]


class Sensitivity(Record):
    tokens: int = Field(description="positions that each mean is over")
    groups: list[GroupSensitivity]


class Choice(Record):
    """Why a group has its type: what it adds, and what one type more or less would have changed."""

    group: str
    tensors: list[str]
    type: str
    bytes: int
    predicted_kld: float
    measured: bool
    others: list[TypeCost]


class Solution(Record):
    """Types for all groups, chosen for the least predicted divergence within a size."""

    schema_version: int = 1
    asked: str = Field(description="the size in words, as it was asked for")
    file_type: str = Field(description="what the file calls itself: the file type that it is nearest to")
    most_bytes: int = Field(description="what the file may take")
    size_bytes: int = Field(description="what it takes, to the byte")
    bits_per_weight: float
    predicted_mean_kld: float = Field(description="sum over the groups, in nats a token")
    measured_on_tokens: int
    choices: list[Choice]
    fixed: dict[str, str]

    @property
    def type(self) -> str:
        """The name of the mixture."""
        return mixture_name(self.bits_per_weight)

    @property
    def tensor_types(self) -> dict[str, str]:
        return {name: c.type for c in self.choices for name in c.tensors} | self.fixed
