"""`/tokenize` and `/detokenize`, in the shapes of llama.cpp's server, with the names that vLLM gives the text."""

from __future__ import annotations

from pydantic import Field, model_validator

from edgellm.records.base import Record
from edgellm.records.openai.base import Body, Many
from edgellm.records.openai.completion import TokenId


class TokenizeRequest(Body):
    """The text is `content` (llama.cpp) or `prompt` (vLLM). It never becomes a special token, whatever it spells."""

    model: str | None = None
    content: str | None = None
    prompt: str | None = None
    add_special: bool = False  # begin with BOS where the model was trained with it
    with_pieces: bool = False

    @model_validator(mode="after")
    def _one_text(self) -> TokenizeRequest:
        if (self.content is None) == (self.prompt is None):
            raise ValueError("give the text as content, or as prompt")
        return self

    @property
    def text(self) -> str:
        return self.content or self.prompt or ""


class Piece(Record):
    """A token and its text: as bytes where these alone are no text in UTF-8."""

    id: int
    piece: str | list[int]


class Tokenized(Record):
    tokens: list[int] | list[Piece]
    count: int
    max_model_len: int  # tokens of context


class DetokenizeRequest(Body):
    model: str | None = None
    tokens: Many[TokenId] = Field(default_factory=list)


class Detokenized(Record):
    """The text under both names."""

    content: str
    prompt: str
