"""What `show` tells of a model without loading it."""

from __future__ import annotations

from typing import Literal

from edgellm.records.base import Record


class TensorEntry(Record):
    """`shape` has rows before columns, whatever the format's own order."""

    name: str
    type: str
    shape: list[int]


class TokenizerFacts(Record):
    kind: str  # "unigram", "bpe", …; for a vocabulary that the engine reads, its name in the file
    source: str  # "tokenizer.json", "tokenizer.model", "gguf" (rebuilt), "engine"; "" where none can be used
    reason: str  # why this one, or why none
    tokens: int
    special: dict[str, int]  # role → id
    stop_ids: list[int]
    adds_bos: bool
    chat_template: bool


class Inspection(Record):
    """A number is None where the target does not tell it: a folder of tokenizer files has no parameters."""

    schema_version: Literal[1] = 1
    name: str
    kind: str
    architecture: str | None = None
    parameters: int | None = None
    active_parameters: int | None = None  # that take part in one token
    context_tokens: int | None = None
    vocab_tokens: int | None = None
    size_bytes: int | None = None
    bits_per_weight: float | None = None
    tensors: tuple[TensorEntry, ...] = ()
    tokenizer: TokenizerFacts | None = None
    type: str | None = None  # of a bundle
    licence: str | None = None
    passed: bool | None = None  # the bundle's verdict
