"""`/v1/embeddings`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.openai.base import Body, Many
from edgellm.records.openai.completion import TokenId


class EmbeddingsRequest(Body):
    """One text, several, or token ids. `dimensions` must be what the model gives."""

    model: str | None = None
    input: str | Many[str] | Many[TokenId] | Many[Many[TokenId]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1, le=2**31 - 1)


class Embedding(Record):
    """base64 is that of little-endian float32 numbers."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(Record):
    prompt_tokens: int
    total_tokens: int


class Embeddings(Record):
    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: EmbeddingsUsage
