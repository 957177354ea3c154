"""The contract between 源内 (Gennai), the government's AI platform, and an application that answers for it.

Upstream calls it provisional, and its documents differ: files have their data in `content` or in `contents`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from edgellm.records.base import Record
from edgellm.records.openai.base import Body, Sparse

Progress = Literal["PENDING", "IN_PROGRESS", "COMPLETED", "ERROR"]


class File(Body):
    """`content` or `contents`: the bytes in base64."""

    filename: str = Field(min_length=1, max_length=1024)
    content: str | None = None
    contents: str | None = None

    @model_validator(mode="after")
    def _has_one_content(self) -> File:
        if (self.content is None) == (self.contents is None):
            raise ValueError("a file has its data in content or in contents, one of them")
        return self

    @property
    def base64(self) -> str:
        return self.content if self.content is not None else self.contents or ""


class FileGroup(Body):
    """The files of one input field of the platform's form."""

    key: str = ""
    files: list[File]


class Turn(Body):
    role: Literal["system", "user", "assistant"]
    content: str


class Inputs(Body):
    """`conversation_history`: the earlier turns, oldest first; also as JSON text, as which form fields come."""

    question: str = Field(min_length=1)
    files: list[FileGroup] = Field(default_factory=list)
    conversation_history: list[Turn] | str = Field(default_factory=list)


class InvokeRequest(Body):
    """`sessionId` changes nothing: a conversation comes whole with each request."""

    inputs: Inputs
    sessionId: str | None = None  # noqa: N815


class Tokens(Record):
    inputTokens: int  # noqa: N815
    outputTokens: int  # noqa: N815
    totalTokens: int  # noqa: N815


class UsageMetadata(Record):
    modelVersion: str  # noqa: N815
    requestCount: int = 1  # noqa: N815
    tokens: Tokens


class Invoked(Record):
    """The whole answer, in Markdown."""

    outputs: str
    usageMetadata: list[UsageMetadata]  # noqa: N815


class Accepted(Record):
    """The answer takes longer than the platform waits; `status_url` says when it is there."""

    outputs: str
    request_id: str
    status: Literal["PENDING"] = "PENDING"
    status_url: str


class StatusError(Record):
    message: str
    details: str


class Status(Sparse):
    """`outputs` is the answer as far as it has come. Times are ISO 8601 in UTC."""

    status: Progress
    progress: str
    request_id: str
    created_at: str
    updated_at: str
    outputs: str
    error: StatusError | None = None
    usageMetadata: list[UsageMetadata] | None = None  # noqa: N815


class GennaiError(Record):
    error: str
