"""Whose turn it is: fair between users, first come first served within one.

Weighted fair queueing with tokens for time (Demers et al. 1989; for language models Sheng et al. 2024, "Fairness in
serving large language models"): of each user's earliest piece of work, the one comes first that would be done first
if all users had an equal share from now on.
"""

from __future__ import annotations

from collections.abc import Sequence

ANSWER_WEIGHT = 8  # a token of an answer takes about as long as so many of a prompt
SWITCHING = 512  # tokens by which another prompt must come before the one that is being read, to interrupt it


class Shares:
    """What each user who has requests here was served, in tokens of prompts.

    Whoever comes, or comes back, begins with as much as the user who was served least: nobody saves up a share by
    staying away, and nobody pays for what was served while no one else wanted it.
    """

    def __init__(self) -> None:
        self._served: dict[str, float] = {}
        self._requests: dict[str, int] = {}

    def enter(self, user: str) -> None:
        """A request of this user has come."""
        if user not in self._requests:
            self._served[user] = min(self._served.values(), default=0.0)
        self._requests[user] = self._requests.get(user, 0) + 1

    def leave(self, user: str) -> None:
        """A request of this user has ended."""
        self._requests[user] -= 1
        if not self._requests[user]:
            del self._requests[user], self._served[user]

    def serve(self, user: str, tokens: int) -> None:
        """So many tokens of this user's prompts were read; a token of an answer counts ANSWER_WEIGHT."""
        self._served[user] += tokens

    def turn(self, work: Sequence[tuple[str, int]], current: int | None = None) -> int:
        """The place in `work` of what comes next. `work` holds (user, tokens left to read), in the order in which it
        came, and is not empty; `current` is the place of what was begun."""
        first: dict[str, int] = {}
        for place, (user, _) in enumerate(work):
            first.setdefault(user, place)
        done_at = {place: self._served[user] + work[place][1] for user, place in first.items()}
        best = min(done_at, key=lambda place: (done_at[place], place))
        if current is not None and current in done_at and done_at[best] + SWITCHING > done_at[current]:
            return current
        return best
