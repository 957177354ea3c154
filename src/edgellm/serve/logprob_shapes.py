"""Log probabilities as the two interfaces word them."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

from edgellm.inference.chat import TokenLogprob
from edgellm.language.tokenizer import Tokenizer
from edgellm.records.openai.chat import ChatLogprobs, ContentLogprob, TopLogprob
from edgellm.records.openai.completion import CompletionLogprobs

LOWEST = -9999.0  # OpenAI's number for a token that could not be; JSON has no infinity


def text_of(tokenizer: Tokenizer, token: int) -> str:
    """The text of one token: its name if it is special, and with U+FFFD for a part of a character."""
    if tokenizer.is_special(token):
        return tokenizer.token(token)
    return tokenizer.token_bytes(token).decode("utf-8", "replace")


def spelled(tokenizer: Tokenizer, tokens: Sequence[TokenLogprob], text: str) -> list[bytes]:
    """What each token adds to the text that they spell together: without the dummy space of a SentencePiece
    vocabulary, which stands before the first word and is no part of the text."""
    parts = [tokenizer.token_bytes(each.token) for each in tokens]
    if parts and parts[0].startswith(b" ") and not text.startswith(" "):
        parts[0] = parts[0][1:]
    return parts


def chat_logprobs(
    tokenizer: Tokenizer, pieces: Iterable[str], tokens: Iterable[Sequence[TokenLogprob]]
) -> ChatLogprobs | None:
    """Of pieces of content, each with its tokens; None where the request asked for none."""
    found = [
        each
        for piece, spelling in zip(pieces, tokens, strict=True)
        for each in content_logprobs(tokenizer, piece, spelling)
    ]
    return ChatLogprobs(content=found) if found else None


def content_logprobs(tokenizer: Tokenizer, text: str, tokens: Sequence[TokenLogprob]) -> list[ContentLogprob]:
    """Of one piece of content and its tokens."""
    return [
        ContentLogprob(
            token=data.decode("utf-8", "replace"),
            logprob=max(each.logprob, LOWEST),
            bytes=list(data) if data else None,
            top_logprobs=[top_logprob(tokenizer, *pair) for pair in each.top],
        )
        for each, data in zip(tokens, spelled(tokenizer, tokens, text), strict=True)
    ]


def top_logprob(tokenizer: Tokenizer, token: int, logprob: float) -> TopLogprob:
    data = tokenizer.token_bytes(token)
    return TopLogprob(
        token=text_of(tokenizer, token), logprob=max(logprob, LOWEST), bytes=list(data) if data else None
    )  # fmt: skip


class TextLogprobs:
    """The tokens of one answer of `/v1/completions`, which tells where in the text each begins."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._offset = 0  # characters so far

    def next(self, pieces: Iterable[str], tokens: Iterable[Sequence[TokenLogprob]]) -> CompletionLogprobs | None:
        """Of the next pieces of the answer, each with its tokens; None if there are no tokens."""
        found = CompletionLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
        for piece, spelling in zip(pieces, tokens, strict=True):
            self._add(found, piece, spelling)
        return found if found.tokens else None

    def _add(self, found: CompletionLogprobs, piece: str, tokens: Sequence[TokenLogprob]) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        inside = 0
        for each, data in zip(tokens, spelled(self._tokenizer, tokens, piece), strict=True):
            found.tokens.append(data.decode("utf-8", "replace"))
            found.token_logprobs.append(max(each.logprob, LOWEST))
            top = {text_of(self._tokenizer, token): max(logprob, LOWEST) for token, logprob in reversed(each.top)}
            found.top_logprobs.append(dict(reversed(top.items())))
            found.text_offset.append(self._offset + min(inside, len(piece)))
            inside += len(decode(data))
        self._offset += len(piece)
