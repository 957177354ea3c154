"""Stop strings in a text that comes in pieces: found across their borders, never shown in part."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Passes text through until one of the strings is complete; `hit` is true from then on."""

    def __init__(self, strings: Sequence[str]) -> None:
        self.hit = False
        self._strings = [string for string in strings if string]
        self._held = ""

    def feed(self, text: str) -> str:
        """The text that is certain to come before any stop string; nothing more after a hit."""
        if self.hit:
            return ""
        self._held += text
        found = [place for string in self._strings if (place := self._held.find(string)) >= 0]
        if found:
            self.hit = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        keep = self._unfinished()
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """What was held back, once it is certain that no more text comes."""
        shown, self._held = self._held, ""
        return shown

    def _unfinished(self) -> int:
        """The length of the longest end of the held text that begins a stop string."""
        longest = max((len(string) - 1 for string in self._strings), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(string.startswith(end) for string in self._strings):
                return length
        return 0
