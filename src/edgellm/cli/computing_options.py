"""Options of `serve`: how requests are computed, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgellm.cli.option_groups import byte_count, option_group
from edgellm.cli.serving_options import FILE

if TYPE_CHECKING:
    from edgellm.inference.scheduler_options import SchedulerOptions


@dataclass(frozen=True)
class Computing:
    max_stall_ms: float
    cache_scope: Literal["key", "all"]
    cache_memory: int
    cache_folder: Path | None
    cache_folder_size: int
    speculation: Literal["off", "lookup", "draft"]
    draft: Path | None

    def options(self, max_queue: int) -> SchedulerOptions:
        from edgellm.errors import UsageError
        from edgellm.inference.scheduler_options import SchedulerOptions

        if (self.speculation == "draft") != (self.draft is not None):
            raise UsageError("--speculation draft and --draft GGUF go together; give both, or neither")
        return SchedulerOptions(
            max_waiting=max_queue, stall_ms=self.max_stall_ms, cache_bytes=self.cache_memory,
            cache_folder=self.cache_folder, cache_folder_bytes=self.cache_folder_size,
            speculation=self.speculation, draft=self.draft,
        )  # fmt: skip


computing_options = option_group("computing", Computing, [
    click.option(
        "--max-stall-ms", type=click.FloatRange(1), default=60.0, show_default=True, metavar="MS",
        help="Longest time that reading a prompt may add between two tokens of an answer. Of a crowd of prompts each "
        "may add it for each of them, and one that has waited for others a quarter of that time.",
    ),
    click.option(
        "--cache-scope", type=click.Choice(["key", "all"]), default="key", show_default=True,
        help="Whose prompts are reused for a request: those of the same key, or everybody's.",
    ),
    click.option(
        "--cache-memory", type=byte_count, default="512MiB", show_default=True, metavar="BYTES",
        help="Memory for prompts that were computed; 0: none is reused.",
    ),
    click.option(
        "--cache-folder", type=FILE, metavar="FOLDER", help="Keep computed prompts there too, across restarts."
    ),
    click.option(
        "--cache-folder-size", type=byte_count, default="4GiB", show_default=True, metavar="BYTES",
        help="The most that is kept in the folder.",
    ),
    click.option(
        "--speculation", type=click.Choice(["off", "lookup", "draft"]), default="off", show_default=True,
        help="Guess several tokens at once: from the text itself, or by a smaller model; every answer stays as likely.",
    ),
    click.option("--draft", type=FILE, metavar="GGUF", help="The smaller model, of the same vocabulary."),
])  # fmt: skip


@dataclass(frozen=True)
class Keeping:
    audit: Path | None
    audit_content: bool


keeping_options = option_group("keeping", Keeping, [
    click.option("--audit", type=FILE, metavar="FILE", help="Write a line about each request, hash-chained."),
    click.option("--audit-content", is_flag=True, help="Keep prompts and answers in those lines as well."),
])  # fmt: skip
