"""`/v1/models` and `/health`."""

from __future__ import annotations

from typing import Literal

from edgellm.records.base import Record


class Model(Record):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "edgellm"
    loaded: bool
    context_tokens: int | None  # known once it is loaded


class ModelList(Record):
    object: Literal["list"] = "list"
    data: list[Model]


class Health(Record):
    """Whether the server answers, and how busy it is."""

    status: Literal["ok", "loading", "restarting", "failed", "draining"]
    model: str
    running: int
    waiting: int
    sequences: int
    batch_invariant: bool  # whether an answer is the same alone and in company
    steps: int
    widest_step: int  # the most requests that one step has served
    prompt_tokens: int
    completion_tokens: int
    failed_steps: int
