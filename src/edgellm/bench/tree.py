"""Files that the system shows its state in, read under a root, so that a test can show another machine's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tree:
    """The files below `root`, by paths without a leading slash. What is missing or unreadable is None."""

    root: Path = Path("/")

    @property
    def is_real(self) -> bool:
        return self.root == Path("/")

    def text(self, path: str | Path) -> str | None:
        try:
            # Device-tree files end with a zero byte.
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip().rstrip("\0")
        except OSError:
            return None

    def number(self, path: str | Path) -> int | None:
        text = self.text(path)
        try:
            return None if text is None else int(text)
        except ValueError:
            return None

    def find(self, pattern: str) -> list[Path]:
        """Paths that match, in the order of their names, to be given back to the methods above."""
        try:
            return sorted(self.root.glob(pattern))
        except OSError:
            return []
