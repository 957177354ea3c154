"""How a scheduler serves: everything that may be chosen about it, in one picklable record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class SchedulerOptions:
    max_waiting: int = 64  # requests; one more is refused
    # The longest time, in milliseconds, that a prompt that is read may add between two tokens of an answer.
    stall_ms: float = 60.0
    cache_bytes: int = 512 * 1024 * 1024  # memory for prompts that were computed; 0: none is ever reused
    cache_folder: Path | None = None  # where prompts are kept across restarts as well; None: in memory alone
    cache_folder_bytes: int = 4 * 1024 * 1024 * 1024  # the most that all engines together keep in `cache_folder`
    speculation: Literal["off", "lookup", "draft"] = "off"
    draft: Path | None = None  # the GGUF of the smaller model that drafts
