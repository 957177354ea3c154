"""A class of machines that recipes are cut for: how much memory it has, and how much of it a model may take."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgellm.records.base import Record


class Device(Record):
    name: str = Field(description="name of the class, as `--fit` and the variants of a recipe use it")
    title: str = Field(description="one line for people, with machines of the class")
    kind: Literal["gpu", "module", "phone"] = Field(
        description="`gpu`: memory of its own; `module`: processor and accelerator share it; `phone`: the same, "
        "with other programs beside the model"
    )
    memory_bytes: int = Field(gt=0, description="memory of the class, nominal: 24 GB are 24 × 2³⁰ bytes")
    usable_share: float = Field(
        gt=0, le=1, description="share of it for weights, KV cache and buffers; the rest is the system's and others'"
    )

    @property
    def usable_bytes(self) -> int:
        return int(self.memory_bytes * self.usable_share)
