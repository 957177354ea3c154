"""What an answer must look like, and the test of each token against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgellm.engines.protocol import Logits


@dataclass(frozen=True)
class Constraint:
    """A grammar that the ids of an answer follow, as llguidance reads it."""

    grammar: str


class Matcher(Protocol):
    """Follows one answer through its grammar. A token costs microseconds, a mask of the whole vocabulary more, so
    a token is drawn first and only if it is refused drawn again with `mask`."""

    def allows(self, token: int) -> bool: ...

    def mask(self, logits: Logits) -> None:
        """Put −inf wherever the grammar refuses the token, in logits of shape (vocab_tokens,)."""
        ...

    def take(self, token: int) -> None:
        """The token was drawn; it must be one that `allows`."""
        ...
