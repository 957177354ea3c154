"""Ids in, text out, as they come: no half characters, and no space that the model did not mean.

SentencePiece puts a dummy space in front of every stretch of text; what it adds on the way in is taken off
on the way out, once at the start and once after each special token.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer


class StreamingDetokenizer:
    """Turns a stream of ids into pieces of text whose concatenation is `Tokenizer.decode` of all of them.

    Bytes that begin a character are held back until the character is whole; bytes that can no longer become
    one come out as U+FFFD, one for each maximal ill-formed part (Unicode 16, section 3.9, as Python does it).
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip = tokenizer.prefix != "none"

    def feed(self, token: int) -> str:
        """The text that is certain now. Raises UsageError for an id outside the vocabulary."""
        if self._tokenizer.is_special(token):
            text = self.finish()
            self._strip = self._tokenizer.prefix == "segment"
            return text if self._skip_special else text + self._tokenizer.token(token)
        data = self._tokenizer.token_bytes(token)
        if self._strip and self._tokenizer.token(token).startswith("▁"):
            data = data[1:]
        self._strip = False
        return self._utf8.decode(data)

    def finish(self) -> str:
        """What was held back, now that nothing follows: U+FFFD for a character that was cut short."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text
